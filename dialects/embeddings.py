"""A client's embeddings request: from bytes to a body that every provider can rely on, or to the error OpenAI would give.

https://platform.openai.com/docs/api-reference/embeddings/create. Fields it does not know are left alone.
"""

from collections.abc import Mapping
from typing import Any, Final

from providers.errors import BadRequest

from .contract import NO_HEADERS, ClientRequest
from .validation import Check, number, of_type, one_of, read_request, wrong_type

headers: Final[frozenset[str]] = frozenset()
_MOST: Final = 2048  # inputs in one request
_MOST_TOKENS: Final = 8192  # in one input; an upstream may take fewer


def parse(data: bytes, headers: Mapping[str, str] = NO_HEADERS) -> ClientRequest:
    """Return the request that these bytes hold. Raises BadRequest with OpenAI's param and code."""
    body = read_request(data, _CHECKS, "input", "text-embedding-3-small")
    for name, value in body.items():
        if check := _CHECKS.get(name):
            check(value, name)
    if "dimensions" in body:
        body["dimensions"] = int(body["dimensions"])
    return ClientRequest(body)


def _input(value: Any, param: str) -> None:
    """A text, tokens, or a list of either."""
    if isinstance(value, list) and not (value and _are_tokens(value)):
        _sized(value, param, _MOST)
        one = _tokens if isinstance(value[0], list) else _text
        for i, each in enumerate(value):
            one(each, f"{param}[{i}]")
    elif isinstance(value, list):
        _sized(value, param, _MOST_TOKENS)
    elif isinstance(value, str):
        _text(value, param)
    else:
        raise wrong_type("a string or an array", value, param)


def _are_tokens(value: list[Any]) -> bool:
    return all(type(each) is int and each >= 0 for each in value)


def _tokens(value: Any, param: str) -> None:
    if not isinstance(value, list) or not _are_tokens(value):
        raise wrong_type("an array of tokens", value, param)
    _sized(value, param, _MOST_TOKENS)


def _text(value: Any, param: str) -> None:
    if not isinstance(value, str):
        raise wrong_type("a string", value, param)
    if not value:
        raise BadRequest(f"Invalid '{param}': a string must not be empty.", param=param, code="invalid_value")


def _sized(value: list[Any], param: str, most: int) -> None:
    if 0 < len(value) <= most:
        return
    wrong, bound, code = "empty array", "minimum length 1", "empty_array"
    if value:
        wrong, bound, code = "array too long", f"maximum length {most}", "array_above_max_length"
    raise BadRequest(
        f"Invalid '{param}': {wrong}. Expected an array with {bound}, but got an array with length {len(value)} instead.",
        param=param,
        code=code,
    )


_CHECKS: Final[dict[str, Check]] = {
    "input": _input,
    "encoding_format": one_of("float", "base64"),
    "dimensions": number(1, whole=True),
    "user": of_type(str),
}
