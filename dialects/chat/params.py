"""The parameters of a chat request: the check of each, and what they mean beside each other."""

from collections.abc import Callable
from typing import Any, Final

from providers.contract import Json
from providers.errors import BadRequest
from providers.near_words import closest

from ..validation import number, of_type, one_of, unsupported_value, wrong_type
from . import functions
from .tools import check_tool_choice, check_tools


def _stop(value: Any, param: str) -> None:
    if isinstance(value, str):
        return
    if not isinstance(value, list) or not all(isinstance(each, str) for each in value):
        raise wrong_type("a string or an array of strings", value, param)
    if len(value) > 4:
        raise BadRequest(
            f"Invalid '{param}': array too long. Expected an array with maximum length 4, but got an array with length "
            f"{len(value)} instead.",
            param=param,
            code="array_above_max_length",
        )


def _response_format(value: Any, param: str) -> None:
    match value:
        case {"type": "text" | "json_object"} | {"type": "json_schema", "json_schema": {"schema": dict() | None}}:
            return
        case {"type": "json_schema", "json_schema": {"schema": []} as named}:
            named["schema"] = {}  # PHP's empty object
            return
        case {"type": "json_schema", "json_schema": {"schema": schema}}:
            raise wrong_type("an object", schema, f"{param}.json_schema.schema")
        case {"type": "json_schema", "json_schema": dict()}:
            return
        case {"type": "json_schema"}:
            raise BadRequest(
                f"Missing required parameter: '{param}.json_schema'.",
                param=f"{param}.json_schema",
                code="missing_required_parameter",
            )
        case {"type": kind}:
            raise unsupported_value(kind, ("text", "json_object", "json_schema"), f"{param}.type")
    raise wrong_type("an object with a 'type'", value, param)


# Parameter → the check of its value, which raises BadRequest.
CHECKS: Final[dict[str, Callable[[Any, str], None]]] = {
    "temperature": number(0, 2),
    "top_p": number(0, 1),
    "frequency_penalty": number(-2, 2),
    "presence_penalty": number(-2, 2),
    "n": number(1, 128, whole=True),
    "top_logprobs": number(0, 20, whole=True),
    "max_tokens": number(1, whole=True),
    "max_completion_tokens": number(1, whole=True),
    "seed": number(-(2**63), 2**63 - 1, whole=True),
    "stop": _stop,
    "stream": of_type(bool),
    "logprobs": of_type(bool),
    "store": of_type(bool),
    "parallel_tool_calls": of_type(bool),
    "stream_options": of_type(dict),
    "logit_bias": of_type(dict),
    "metadata": of_type(dict),
    "audio": of_type(dict),
    "prediction": of_type(dict),
    "web_search_options": of_type(dict),
    "modalities": of_type(list),
    "user": of_type(str),
    "reasoning_effort": of_type(str),
    "verbosity": one_of("low", "medium", "high"),
    "service_tier": of_type(str),
    "safety_identifier": of_type(str),
    "prompt_cache_key": of_type(str),
    "response_format": _response_format,
    "tools": check_tools,
    "tool_choice": check_tool_choice,
    "functions": functions.check_functions,
    "function_call": functions.check_function_call,
}
# Parameters that are whole numbers.
WHOLE: Final = frozenset({"n", "top_logprobs", "max_tokens", "max_completion_tokens", "seed"})
# Parameters that are objects in which null is absence, as it is for the parameters themselves.
HOLDERS: Final = frozenset({"response_format", "stream_options", "web_search_options", "audio", "prediction"})
# Parameters that mean nothing, and that OpenAI refuses, without another one.
BESIDE: Final = {"tool_choice": "tools", "parallel_tool_calls": "tools", "top_logprobs": "logprobs"}
_CLIENTS_OWN: Final = frozenset({"model", "messages", "stream", "stream_options", "functions", "function_call"})


def wrong_default(name: str, value: Any) -> str:
    """What is wrong with a parameter that config.yaml adds to requests (`defaults`); "" if nothing is.

    It is held to what a client's would be. A name that is not known may be the upstream's own, unless it is nearly one
    that is.
    """
    if name in _CLIENTS_OWN:
        return "has no default: only the client can say it"
    if value is None:
        return ""
    check = CHECKS.get(name)
    if check is None:
        close = closest(name, CHECKS, 0.85)
        return f"unknown parameter; did you mean '{close}'?" if close else ""
    try:
        check(value, name)
    except BadRequest as error:
        return error.message
    return ""


def _no_empty_stops(body: Json) -> None:
    """Leave out texts to stop at that are empty, and `stop` where none is left: OpenAI refuses both. Changes `body`."""
    stops = body["stop"]
    if not stops:
        del body["stop"]
    elif type(stops) is list and "" in stops:
        body["stop"] = [text for text in stops if text]
        if not body["stop"]:
            del body["stop"]


def reconcile(body: Json) -> None:
    """Check and normalise parameters that depend on each other. Changes `body` in place."""
    if "stream_options" in body and body.get("stream") is not True:
        raise BadRequest(
            "The 'stream_options' parameter is only allowed when 'stream' is enabled.",
            param="stream_options",
            code="invalid_value",
        )
    if "max_completion_tokens" in body:
        body.pop("max_tokens", None)
    if body.get("tools") == []:
        del body["tools"]
    if "stop" in body:
        _no_empty_stops(body)
    if "tools" not in body and body.get("tool_choice") not in (None, "none", "auto"):
        raise BadRequest(
            "'tool_choice' is only allowed when 'tools' are specified.", param="tool_choice", code="invalid_value"
        )
    if body.get("top_logprobs") and not body.get("logprobs"):
        raise BadRequest(
            "'top_logprobs' is only allowed when 'logprobs' is true.", param="top_logprobs", code="invalid_value"
        )
    for name, other in BESIDE.items():
        if name in body and not body.get(other):
            del body[name]
