"""What requests of every kind are checked with: JSON read strictly, and values refused in OpenAI's words."""

import json
import re
from collections.abc import Callable, Iterator, Mapping
from math import inf
from typing import Any, Final

import msgspec

from providers import density
from providers.common.turns import content_text
from providers.contract import Json
from providers.errors import BadRequest, Failure, ModelNotFound

MAX_MODEL: Final = 256  # characters of a model's name
_RESULTS: Final = ("tool", "function")  # roles of messages that may hold JSON
_SLASHES: Final = 8  # in a model's name
_HALF: Final = re.compile("[\ud800-\udfff]")
_MAX_PARAM: Final = 200  # characters of a path that is named in an error
_decode = msgspec.json.Decoder().decode
Check = Callable[[Any, str], None]


def count_and_read(data: bytes) -> Any:
    """The value of a request's body. Raises BadRequest that says where it is wrong, or that it holds too many values."""
    if len(data) > density.MOST and density.values(data, density.MOST) > density.MOST:
        raise _too_many_values()
    return read_json(data)


def read_json(data: bytes) -> Any:
    """The value of a request's body whose values have been counted. Raises BadRequest that says where it is wrong."""
    try:
        return _decode(data)
    except RecursionError:
        raise BadRequest("The request body is nested too deeply.", code="invalid_json") from None
    except UnicodeDecodeError:
        raise BadRequest(
            f"The request body is not valid UTF-8 (byte {_bad_byte(data)}).", code="invalid_json"
        ) from None
    except msgspec.DecodeError as error:
        param, what = _culprit(data) or (None, f"{error}")
        raise BadRequest(
            f"We could not parse the JSON body of your request: {what}.", param=param, code="invalid_json"
        ) from None


def count(data: bytes) -> int:
    """Return how many values a request's body holds, roughly. Raises BadRequest when it holds too many."""
    values = density.values(data, min(density.MOST, len(data) // 128))
    if values > density.MOST:
        raise _too_many_values()
    return values


def count_inside(body: Json, values: int) -> int:
    """Return how many values the strings of a chat request hold that some protocols parse: arguments and results of tools.

    values: those of the body itself. Raises BadRequest when there are too many of both together.
    """
    found = 0
    for text in _texts_of_json(body.get("messages") or []):
        found += density.values(text.encode("utf-8", "surrogatepass"), 0)
        if values + found > density.MOST:
            raise _too_many_values()
    return found


def _texts_of_json(messages: list[Json]) -> Iterator[str]:
    for message in messages:
        for call in message.get("tool_calls") or ():
            arguments = call.get("function", {}).get("arguments")
            if isinstance(arguments, str):
                yield arguments
        if message.get("role") in _RESULTS:
            content = content_text(message.get("content"))
            if content.lstrip()[:1] == "{":
                yield content


def _too_many_values() -> BadRequest:
    return BadRequest(
        f"The request body holds more than {density.MOST:,} JSON values. Send fewer of them, in more requests.",
        code="too_many_values",
    )


def _bad_byte(data: bytes) -> int:
    """Where bytes stop being UTF-8; msgspec counts from the start of the string that holds them."""
    try:
        data.decode()
    except UnicodeDecodeError as error:
        return error.start
    return len(data)


_DIGITS: Final = 4300  # of an integer, as many as Python turns into text again


class _Huge(str):
    """The digits of an integer that is too long."""


def _culprit(data: bytes) -> tuple[str | None, str] | None:
    """Where, and what, is the value that only lenient JSON readers take; None when it is not JSON at all."""
    try:
        value = json.loads(data, parse_int=lambda digits: int(digits) if len(digits) <= _DIGITS else _Huge(digits))
        steps: list[str | int] = []
        what = _locate_invalid(value, steps)
    except (ValueError, RecursionError):
        return None
    path = "".join([f"[{step}]" if isinstance(step, int) else f".{step}" for step in reversed(steps)])
    return (path.removeprefix(".")[:_MAX_PARAM] or None, what) if what else None


def _locate_invalid(value: Any, steps: list[str | int]) -> str | None:
    """What is wrong with a value, or with one inside it. Adds the way to it to `steps`, the last step first."""
    if isinstance(value, _Huge):
        return f"an integer has more than {_DIGITS} digits"
    if isinstance(value, float):
        return "a number is out of range" if value in (inf, -inf) else None
    if isinstance(value, str):
        return "a string holds half of a surrogate pair" if _HALF.search(value) else None
    if isinstance(value, dict):
        if any(map(_HALF.search, value)):
            return "a key holds half of a surrogate pair"
    elif not isinstance(value, list):
        return None
    for step, each in value.items() if isinstance(value, dict) else enumerate(value):
        if (what := _locate_invalid(each, steps)) is not None:
            steps.append(step)
            return what
    return None


# Checks: each takes a value and the path that names it in the error, and raises BadRequest.


def read_request(data: bytes, known: Mapping[str, Check], required: str, example: str) -> Json:
    """Request bytes → an object that names a model and holds `required`; null for a parameter in `known` is absence.

    example: a model to name in the error. Raises BadRequest, and NoSuchModel for a name that is too long.
    """
    body = read_json(data)
    if not isinstance(body, dict):
        raise BadRequest("The request body must be a JSON object.", code="invalid_json")
    if None in body.values():
        body = {name: value for name, value in body.items() if value is not None or name not in known}
    model = body.get("model")
    if not isinstance(model, str) or not model:
        raise BadRequest(
            f"You must provide a model: a string such as '{example}'.", param="model", code=missing_code(model)
        )
    check_model(model)
    if required not in body:
        raise BadRequest(
            f"Missing required parameter: '{required}'.", param=required, code="missing_required_parameter"
        )
    return body


def check_model(name: str) -> None:
    """Raise NoSuchModel for a name that is longer than any model's, before anything is done with it."""
    if len(name) > MAX_MODEL or name.count("/") > _SLASHES:
        raise ModelNotFound(
            f"The model '{name[:100]}…' does not exist: a name has at most {MAX_MODEL} characters and {_SLASHES} slashes; "
            "GET /v1/models lists the models you can use.",
            param="model",
        )


def missing_code(value: Any) -> str:
    """The error code for a required text that is not one."""
    return "missing_required_parameter" if value is None or value == "" else "invalid_type"


TYPES: Final = {
    dict: "an object",
    list: "an array",
    str: "a string",
    bool: "a boolean",
    int: "an integer",
    float: "a decimal",
    type(None): "null",
}


def wrong_type(expected: str, value: Any, param: str) -> BadRequest:
    """The error for a value of the wrong type, in OpenAI's words."""
    got = TYPES.get(type(value), "something else")
    return BadRequest(
        f"Invalid type for '{param}': expected {expected}, but got {got} instead.", param=param, code="invalid_type"
    )


def of_type(kind: type) -> Check:
    """A value of this JSON type."""

    def check(value: Any, param: str) -> None:
        if type(value) is not kind:
            raise wrong_type(TYPES[kind], value, param)

    return check


def number(low: float, high: float | None = None, whole: bool = False) -> Check:
    """A number within its limits. whole: an integer, or a float such as 100.0."""
    kind, name = ((int,), "integer") if whole else ((int, float), "decimal")

    def check(value: Any, param: str) -> None:
        if type(value) not in kind and not (whole and type(value) is float and value.is_integer()):
            raise wrong_type("an integer" if whole else "a decimal", value, param)
        if value < low:
            side, sign, bound = "below minimum", ">=", low
        elif high is not None and value > high:
            side, sign, bound = "above maximum", "<=", high
        else:
            return
        raise BadRequest(
            f"Invalid '{param}': {name} {side} value. Expected a value {sign} {bound}, but got {value} instead.",
            param=param,
            code=f"{name}_{side.replace('minimum', 'min').replace('maximum', 'max').replace(' ', '_')}_value",
        )

    return check


def one_of(*values: str) -> Check:
    """One of these texts."""

    def check(value: Any, param: str) -> None:
        if not isinstance(value, str):
            raise wrong_type("a string", value, param)
        if value not in values:
            raise unsupported_value(value, values, param)

    return check


def unsupported_value(value: Any, values: tuple[str, ...], param: str) -> BadRequest:
    """The error for a value that is none of those known."""
    known = ", ".join(f"'{each}'" for each in values)
    shown = f"'{value[:100]}'" if isinstance(value, str) else TYPES.get(type(value), "something else")
    return BadRequest(f"Invalid value: {shown}. Supported values are: {known}.", param=param, code="invalid_value")


def addressed(failure: Failure, address: Callable[[str], str]) -> None:
    """Change a failure to name its parameter as `address` does, in its message too."""
    if (param := failure.param) is not None:
        failure.param = address(param)
        failure.message = failure.message.replace(f"'{param}'", f"'{failure.param}'")


def drop_nulls(value: Json, kept: frozenset[str] = frozenset()) -> None:
    """Remove the keys of an object that are null, and those of the objects directly inside it: null is absence.

    kept: keys that may be null. Changes `value` in place.
    """
    if None in value.values():
        for name in [name for name, inner in value.items() if inner is None and name not in kept]:
            del value[name]
    for inner in value.values():
        if type(inner) is dict and None in inner.values():
            for name in [name for name, each in inner.items() if each is None]:
                del inner[name]
