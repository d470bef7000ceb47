"""OpenAI chat request → Gemini generateContent, streamed or whole. https://ai.google.dev/api/generate-content, google-genai 3.4.0

What differs between Gemini models is read from `to.facts`; nothing here knows a model by name.
"""

import re
from collections.abc import Callable, Collection, Mapping
from functools import partial
from typing import Any, Final

from ..common import tool_names, tools
from ..common.json_schema import Room
from ..common.tools import new_call_id
from ..contract import Call, Json, Upstream
from ..endpoints import endpoint, key_header
from ..errors import BadRequest, Unsupported
from ..models import EFFORTS, ModelFacts, nearest_effort
from .messages import contents
from .schema import clean
from .schema import parameters as tool_parameters
from .stream import State, translate

_NAME: Final = re.compile(r"[A-Za-z_][A-Za-z0-9_.:-]{0,127}")  # of a parameter, in a header
_TOOL_NAME: Final = r"[A-Za-z_][A-Za-z0-9_.:-]{0,127}"  # google-genai, FunctionDeclaration.name
_LONGEST_TOOL_NAME: Final = 100
_MODES: Final = {"auto": "AUTO", "none": "NONE", "required": "ANY"}
# OpenAI's name → Gemini's, and whether the model takes it.
_TUNING: Final[dict[str, tuple[str, Callable[[ModelFacts], bool]]]] = {
    "temperature": ("temperature", lambda facts: _samples(facts)),
    "top_p": ("topP", lambda facts: _samples(facts)),
    "top_k": ("topK", lambda facts: _samples(facts)),  # of clients of Claude
    "presence_penalty": ("presencePenalty", lambda facts: facts.penalties),
    "frequency_penalty": ("frequencyPenalty", lambda facts: facts.penalties),
    "seed": ("seed", lambda facts: True),
}
_BUDGETS: Final = {"none": 0, "minimal": 512, "low": 1024, "medium": 8192, "high": 24576}  # more: as high
_LEAST_BUDGET: Final = 128  # of models that always reason (gemini-2.5-pro)
_READ: Final = frozenset(
    {
        *("model", "messages", "stream", "stream_options", "tools", "tool_choice", "response_format", "modalities"),
        *("max_tokens", "max_completion_tokens", "stop", "n", "logprobs", "top_logprobs", "reasoning_effort"),
        *("service_tier", "audio", "web_search_options", *_TUNING),
    }
)
# What Gemini has no word for, with the values that ask for nothing: anything else is named as dropped.
_SILENT: Final[dict[str, Any]] = {"parallel_tool_calls": True, "store": False, "logit_bias": {}, "metadata": {}}


def build_request(body: Json, upstream: Upstream, new_id: Callable[[], str] = new_call_id) -> Call:
    """OpenAI chat request (validated, normalised) → Gemini call. new_id makes ids of tool calls.

    Raises Unsupported for what this model cannot do and the client would misread, BadRequest for what is wrong.
    """
    offered, choice = _offered(body, upstream) if "tools" in body or "tool_choice" in body else ({}, None)
    history = [call for message in body["messages"] if "tool_calls" in message for call in message["tool_calls"] or ()]
    names = _renamed([tools.tool_name(tool) for tool in (*offered.values(), *history)])
    room = Room(body.get("tools"), body.get("response_format"))
    config, dropped = _generation(body, upstream, bool(offered), room)
    system, turns = contents(body["messages"], upstream.facts, names)
    sent: Json = {}
    if system:
        sent["systemInstruction"] = system
    sent["contents"] = turns
    if offered:
        sent["tools"] = [{"functionDeclarations": [_declared(tool, i, names, room) for i, tool in offered.items()]}]
        if tool_config := _tool_config(offered.values(), choice, names):
            sent["toolConfig"] = tool_config
    if safety := upstream.options.get("safety_settings"):
        sent["safetySettings"] = safety
    if config:
        sent["generationConfig"] = config
    if (tier := body.get("service_tier")) in ("flex", "priority"):
        sent["serviceTier"] = tier
    state = State(
        names={theirs: ours for ours, theirs in names.items()},
        custom=frozenset([tools.tool_name(tool) for tool in offered.values() if tool["type"] == "custom"]),
        limit=config.get("maxOutputTokens"),
        new_id=new_id,
    )
    longest = config.get("maxOutputTokens") or upstream.facts.max_output
    streamed = body.get("stream") is True or longest is None or longest > upstream.facts.whole_output
    operation = "streamGenerateContent" if streamed else "generateContent"
    return Call(
        url=endpoint(upstream.host, upstream.base_url, upstream.model, operation, {"alt": "sse"} if streamed else {}),
        headers=key_header(upstream.host, upstream.api_key),
        body=sent,
        stream=streamed,
        read=partial(translate, state=state, reasoning=upstream.reasoning),
        dropped=tuple(dropped),
    )


def _offered(body: Json, upstream: Upstream) -> tuple[dict[int, Json], Any]:
    """Return the tools that may be called, by their place in the request, and the choice among them. Raises as build_request."""
    only, choice = tools.allowed_tools(body.get("tool_choice"))
    everything = enumerate(body.get("tools") or ())
    offered = {i: tool for i, tool in everything if only is None or tools.tool_name(tool) in only}
    if body.get("tools") and not offered:
        raise BadRequest("tool_choice allows none of the tools.", param="tool_choice.allowed_tools.tools")
    if offered and not upstream.facts.tools:
        raise Unsupported("This model takes no tools.", param="tools")
    return offered, choice


def _generation(body: Json, upstream: Upstream, with_tools: bool, room: Room) -> tuple[Json, list[str]]:
    """generationConfig, and the names of parameters that were dropped or clamped."""
    config: Json = {}
    dropped: list[str] = []
    for name, (theirs, takes) in _TUNING.items():
        if name in body:
            if takes(upstream.facts):
                config[theirs] = body[name]
            else:
                dropped.append(name)
    if stop := body.get("stop"):
        config["stopSequences"] = [stop] if isinstance(stop, str) else [text for text in stop if text]
    for name in ("max_tokens", "max_completion_tokens"):
        if name in body:
            config["maxOutputTokens"] = most = min(body[name], upstream.facts.max_output or body[name])
            dropped += [name] * (most < body[name])
    config |= _choices(body, upstream.facts) | _modalities(body)
    config |= _format(body.get("response_format"), upstream.facts, with_tools, room)
    if effort := body.get("reasoning_effort"):
        thinking, exact = _thinking(effort, upstream)
        config |= thinking
        dropped += ["reasoning_effort"] * (not exact)
    if body.get("service_tier") not in (None, "auto", "default", "flex", "priority"):
        dropped.append("service_tier")
    if not body.keys() <= _READ:
        dropped += [name for name, value in body.items() if name not in _READ and not _asks_nothing(name, value)]
    if [] in config.values():
        config = {name: value for name, value in config.items() if value != []}
    return config, dropped


def _asks_nothing(name: str, value: Any) -> bool:
    """Whether leaving this parameter out needs no mention. (What is not even a name must not get into a header.)"""
    return value is None or (name in _SILENT and value == _SILENT[name]) or not _NAME.fullmatch(name)


def _samples(facts: ModelFacts) -> bool:
    return facts.sampling in ("yes", "without_reasoning")


def _choices(body: Json, facts: ModelFacts) -> Json:
    """n, logprobs and what else changes the shape of the answer: given or refused, never ignored."""
    config: Json = {}
    if (n := body.get("n", 1)) > facts.candidates:
        raise Unsupported(f"This model gives at most {facts.candidates} answers to one request.", param="n")
    if n > 1:
        config["candidateCount"] = n
    if body.get("logprobs"):
        if not facts.logprobs:
            raise Unsupported("This model gives no log probabilities.", param="logprobs")
        config["responseLogprobs"] = True
        if top := body.get("top_logprobs"):
            config["logprobs"] = top
    if body.get("web_search_options") is not None:
        raise Unsupported("Web search is not available for this model.", param="web_search_options")
    return config


def _modalities(body: Json) -> Json:
    """["text"] is the default; images are OpenRouter's extension, for models that draw."""
    if "modalities" not in body and "audio" not in body:
        return {}
    wanted = body.get("modalities") or ["text"]
    if body.get("audio") is not None or not {"text", "image"}.issuperset(wanted):
        raise Unsupported("This model answers in text only here.", param="audio" if "audio" in body else "modalities")
    return {"responseModalities": [kind.upper() for kind in wanted]} if "image" in wanted else {}


def _format(wanted: Json | None, facts: ModelFacts, with_tools: bool, room: Room) -> Json:
    kind = wanted["type"] if wanted else "text"
    if wanted is None or kind == "text":
        return {}
    if with_tools and not facts.json_with_tools:
        raise Unsupported(f"This model does not take response_format {kind} with tools.", param="response_format")
    config: Json = {"responseMimeType": "application/json"}
    if kind == "json_schema":
        if not facts.json_schema:
            raise Unsupported("This model does not take a JSON schema.", param="response_format")
        if schema := wanted["json_schema"].get("schema"):
            param = "response_format.json_schema.schema"
            config["responseJsonSchema"] = clean(schema, param, room)
    return config


def _thinking(effort: str, upstream: Upstream) -> tuple[Json, bool]:
    """reasoning_effort → generationConfig.thinkingConfig, and whether the model does just what was asked.

    Gemini 2.5 counts tokens (thinkingBudget), later models take a level; both in one request are refused.
    """
    if effort not in EFFORTS:
        raise BadRequest(f"reasoning_effort must be one of {', '.join(EFFORTS)}.", param="reasoning_effort")
    facts = upstream.facts
    shown = {"includeThoughts": True} if upstream.reasoning and effort != "none" else {}
    if facts.budget:
        budget = _BUDGETS.get(effort, _BUDGETS["high"])
        if facts.reasoning == "always":
            budget = max(budget, _LEAST_BUDGET)
        return {"thinkingConfig": {"thinkingBudget": budget, **shown}}, _BUDGETS.get(effort) == budget
    level = nearest_effort(effort, facts.efforts)
    if level is None:
        return {}, effort == "none" and facts.reasoning == "no"
    return {"thinkingConfig": {"thinkingLevel": level, **shown}}, level == effort


def _declared(tool: Json, i: int, names: Mapping[str, str], room: Room) -> Json:
    """A function declaration. A tool of no parameters declares none: an OBJECT without properties is refused."""
    if tool["type"] == "custom":
        return _declared_custom(tool["custom"], i, names)
    function = tool["function"]
    declared: Json = {"name": names[function["name"]]}
    if description := function.get("description"):
        declared["description"] = description
    at = f"tools[{i}].function.parameters"
    if (parameters := function.get("parameters")) and (fitted := tool_parameters(parameters, at, room)):
        declared["parametersJsonSchema"] = fitted
    return declared


def _declared_custom(tool: Json, i: int, names: Mapping[str, str]) -> Json:
    """A custom tool takes text: declared as a function with that one argument, and turned back in the answer."""
    tools.refuse_grammar(tool, f"tools[{i}]")
    said = {"description": tool["description"]} if tool.get("description") else {}
    schema = {"type": "object", "properties": {"input": {"type": "string"}}, "required": ["input"]}
    return {"name": names[tool["name"]], **said, "parametersJsonSchema": schema}


def _tool_config(offered: Collection[Json], choice: Any, names: Mapping[str, str]) -> Json | None:
    if not offered:
        return None
    strict = all(tool.get("function", {}).get("strict") for tool in offered)
    match choice:
        case dict():
            name = tools.tool_name(choice)
            config: Json = {"mode": "ANY", "allowedFunctionNames": [names.get(name, name)]}
        case None | "auto" if strict:
            config = {"mode": "VALIDATED"}
        case None:
            return None
        case _:
            config = {"mode": _MODES[choice]}
    return {"functionCallingConfig": config}


def _renamed(wanted: list[str]) -> dict[str, str]:
    """Tool names → names that Gemini takes, distinct as they were."""
    if not wanted:
        return {}
    return tool_names.fitted(wanted, _TOOL_NAME, _LONGEST_TOOL_NAME, unfit="[^A-Za-z0-9_.:-]")
