"""A Responses request as a chat request. https://platform.openai.com/docs/api-reference/responses/create

What only tunes and chat cannot say is dropped, and named in ClientRequest.dropped; what would make the client misread the
answer is refused. Stored responses are put in front of `input` before (server/responses.py).
"""

from collections.abc import Mapping
from functools import partial
from typing import Any, Final

from providers.contract import Json
from providers.errors import BadRequest, Failure, Unsupported
from providers.openai.responses.pairs import PLACES, found, nested

from ..chat.request import checked
from ..contract import NO_HEADERS, ClientRequest
from ..validation import addressed, check_model, missing_code, of_type, read_json, wrong_type
from . import tools
from .items import Reader
from .params import Place, Places, within
from .wanted import Wanted

# Fields that chat has too.
_PASSED: Final = frozenset({
    "stream", "temperature", "top_p", "parallel_tool_calls", "prompt_cache_key", "prompt_cache_retention",
    "safety_identifier", "user", "service_tier",
    # not OpenAI's here: users of hosts that take them send them
    "top_k", "min_p", "top_a", "typical_p", "seed", "stop", "presence_penalty", "frequency_penalty", "logit_bias",
    "repetition_penalty", "chat_template_kwargs", "enable_thinking", "thinking_budget",
})  # fmt: skip
# Fields that are read below, that only the answer repeats, or that say nothing here.
_READ: Final = frozenset({
    "model", "input", "instructions", "include", "reasoning", "text", "tools", "tool_choice", "max_output_tokens",
    "top_logprobs", "store", "previous_response_id", "stream_options", "client_metadata", "max_tool_calls", "metadata",
    "type", "generate",
})  # fmt: skip
# Objects of one upstream, or what goes on without the client: the answer would not be what it says.
_REFUSED: Final = ("conversation", "background", "prompt", "moderation")
_DEFAULTS: Final[Json] = {"truncation": "disabled", "background": False}  # values that say nothing
_TUNING: Final = {"context": "auto", "mode": "standard"}  # of reasoning; other values are dropped
_LOGPROBS: Final = "message.output_text.logprobs"
_CARRIED: Final = "reasoning.encrypted_content"


def parse(data: bytes, headers: Mapping[str, str] = NO_HEADERS) -> ClientRequest:
    """Return the request that these bytes hold. Raises BadRequest, Unsupported, ModelNotFound, NotHere."""
    raw = read_json(data)
    if not isinstance(raw, dict):
        raise BadRequest("The request body must be a JSON object.", code="invalid_json")
    given = {name: value for name, value in raw.items() if value is not None}
    _check(given)
    reader = Reader(given.get("store"))
    items = _begin(given, reader)
    reader.read(items)
    given |= reader.changed
    dropped = dict.fromkeys(name[:64] for name in given if _is_dropped(name, given[name]))
    body: Json = {name: value for name, value in given.items() if name in _PASSED}
    body["model"] = given["model"]
    body["messages"], places, seals = reader.messages()
    lowered = _tools(given, reader, body)
    wanted = Wanted(raw, lowered.names, places=Places(places, lowered.paths))
    wanted = _settings(given, body, wanted, dropped)
    if not places:
        raise BadRequest("Missing required parameter: 'input'.", param="input", code="missing_required_parameter")
    asked = _checked(body, len(data), wanted.places)
    names = (*dropped, *reader.dropped, *lowered.dropped)
    return asked._replace(
        raw=raw,
        headers=headers,
        seals=seals,
        answer=wanted,
        dropped=tuple(dict.fromkeys(names)),
        upstream_tools=tools.upstream_tools(given),
        address=partial(within, places=wanted.places),
    )


def _check(given: Json) -> None:
    """Check what every request must have, whoever answers it."""
    model = given.get("model")
    if not isinstance(model, str) or not model:
        raise BadRequest("You must provide a model: a string such as 'gpt-5'.", param="model", code=missing_code(model))
    check_model(model)
    if "previous_response_id" in given and "conversation" in given:
        raise BadRequest(
            "'previous_response_id' and 'conversation' cannot be used together.",
            param="previous_response_id",
            code="invalid_value",
        )
    if "stream" in given:
        of_type(bool)(given["stream"], "stream")
    if not isinstance(given.get("input", ""), str | list):
        raise wrong_type("a string or an array of items", given["input"], "input")
    for name in _REFUSED:
        if name in given and given[name] != _DEFAULTS.get(name):
            raise Unsupported(
                f"Unsupported parameter: '{name}' needs a model served natively.",
                param=name,
                code="unsupported_parameter",
            )
    if (previous := given.get("previous_response_id")) is not None:
        raise Unsupported(
            f"Previous response with id '{str(previous)[:200]}' not found.",
            param="previous_response_id",
            code="previous_response_not_found",
        )
    if given.get("input", []) == []:
        raise BadRequest("Missing required parameter: 'input'.", param="input", code="missing_required_parameter")


def _begin(given: Json, reader: Reader) -> list[Any]:
    """Add the instructions, and an input that is a text. Return the items of any other."""
    if "instructions" in given:
        of_type(str)(given["instructions"], "instructions")
        if given["instructions"]:
            reader.add("system", given["instructions"], Place("instructions", ""))
    if isinstance(given["input"], str):
        reader.add("user", given["input"], Place("input", ""))
        return []
    items: list[Any] = given["input"]
    return items


def _is_dropped(name: str, value: Any) -> bool:
    known = name in _PASSED or name in _READ
    return not known and not (name in _DEFAULTS and value == _DEFAULTS[name])


def _tools(given: Json, reader: Reader, body: Json) -> tools.Lowered:
    listed = given.get("tools", [])
    if not isinstance(listed, list):
        raise wrong_type("an array of objects", listed, "tools")
    lowered = tools.lower([*((tool, f"tools[{n}]") for n, tool in enumerate(listed)), *reader.tools])
    if lowered.tools:
        body["tools"] = lowered.tools
    if "tool_choice" in given:
        body["tool_choice"] = tools.choice(given["tool_choice"], lowered)
    return lowered


def _settings(given: Json, body: Json, wanted: Wanted, dropped: dict[str, None]) -> Wanted:
    """Add what chat has another word for to `body`. Return `wanted` with what the answer depends on."""
    for name in "reasoning", "text":
        if name in given:
            of_type(dict)(given[name], name)
    reasoning = given.get("reasoning", {})
    renamed = {name: found(given, place) for name, place in PLACES.items() if name != "max_tokens"}
    renamed["response_format"] = _response_format(renamed["response_format"])
    body |= {name: value for name, value in renamed.items() if value is not None}
    for name, value in reasoning.items():
        if value is not None and name not in ("effort", "summary", "generate_summary") and value != _TUNING.get(name):
            dropped[f"reasoning.{name[:64]}"] = None
    include = given.get("include", [])
    if not isinstance(include, list):
        raise wrong_type("an array of strings", include, "include")
    top = given.get("top_logprobs")
    logprobs = _LOGPROBS in include or bool(top)
    if logprobs:
        body["logprobs"] = True
        if top is not None:
            body["top_logprobs"] = top
    summary = reasoning.get("summary") or reasoning.get("generate_summary")
    return wanted._replace(summary=summary not in (None, "none"), carried=_CARRIED in include, logprobs=logprobs)


def _response_format(form: Any) -> Json | None:
    at = "text.format"
    if form is None or form == {}:
        return None
    if not isinstance(form, dict):
        raise wrong_type("an object", form, at)
    match form.get("type"):
        case "text":
            return None
        case "json_schema":
            for name, kind in ("name", str), ("schema", dict):
                if form.get(name) is None:
                    raise BadRequest(
                        f"Missing required parameter: '{at}.{name}'.",
                        param=f"{at}.{name}",
                        code="missing_required_parameter",
                    )
                of_type(kind)(form[name], f"{at}.{name}")
            return nested({name: value for name, value in form.items() if value is not None})
    return dict(form)


def _checked(body: Json, size: int, places: Places) -> ClientRequest:
    """Return the request that a chat body is, checked as chat's are. Raises their errors in the client's words."""
    try:
        return checked(body, size)
    except Failure as failure:
        addressed(failure, partial(within, places=places))
        raise
