"""Recorded Gemini requests → the OpenAI requests that ask for the same, as far as OpenAI's shape has words for it."""

import json
import re
from typing import Any

Json = dict[str, Any]

_SAME = {
    "temperature": "temperature",
    "topP": "top_p",
    "maxOutputTokens": "max_tokens",
    "stopSequences": "stop",
    "seed": "seed",
    "presencePenalty": "presence_penalty",
    "frequencyPenalty": "frequency_penalty",
    "responseLogprobs": "logprobs",
    "logprobs": "top_logprobs",
    "candidateCount": "n",
}


class Inexpressible(Exception):
    """No OpenAI-shaped request asks for this."""


def canonical(body: Any) -> Json:
    """A recorded body in the camelCase that the API documents; some recorders kept the SDK's snake_case."""
    if isinstance(body, str):
        try:
            body = json.loads(body)
        except ValueError:
            raise Inexpressible("the recorded body is not JSON") from None
    if not isinstance(body, dict) or not isinstance(body.get("contents"), list):
        raise Inexpressible("a shape that generateContent does not document")
    return _camel(body)


def _camel(value: Any, inside: str = "") -> Any:
    if isinstance(value, list):
        return [_camel(item, inside) for item in value]
    if not isinstance(value, dict) or inside in ("args", "response", "parameters", "parametersJsonSchema"):
        return value
    if inside in ("responseSchema", "responseJsonSchema"):
        return value
    names = {name: re.sub(r"_([a-z])", lambda m: m[1].upper(), name) for name in value}
    return {names[name]: _camel(item, names[name]) for name, item in value.items()}


def openai_request(body: Json) -> Json:
    """The OpenAI request. Raises Inexpressible."""
    if unknown := {"cachedContent", "modelArmorConfig"} & body.keys():
        raise Inexpressible(f"{', '.join(unknown)}")
    messages: list[Json] = []
    if system := body.get("systemInstruction"):
        parts = system if isinstance(system, str) else "\n\n".join(p.get("text", "") for p in _list(system["parts"]))
        messages.append({"role": "system", "content": parts})
    pending: list[tuple[str, str]] = []  # calls without an answer yet: name, id
    for n, content in enumerate(body["contents"]):
        if content.get("role") not in ("user", "model", None):
            raise Inexpressible("a role that is neither user nor model")
        messages += _model(content, n, pending) if content.get("role") == "model" else _user(content, pending)
    if pending:
        raise Inexpressible("tool calls without results")
    return {"model": "m", "messages": messages, **_settings(body.get("generationConfig") or {}), **_tools(body)}


def _list(parts: Any) -> list[Json]:
    return parts if isinstance(parts, list) else [parts]


def _model(content: Json, n: int, pending: list[tuple[str, str]]) -> list[Json]:
    texts, calls = [], []
    message: Json = {"role": "assistant"}
    for part in content.get("parts") or ():
        signature = part.get("thoughtSignature")
        match part:
            case {"thought": True}:
                message["reasoning_content"] = part.get("text", "")
            case {"text": str(text)}:
                texts.append(text)
                if signature:
                    message["extra_content"] = {"google": {"thought_signature": signature}}
            case {"functionCall": call}:
                known = call.get("id") or f"call_{n}_{len(calls)}"
                function = {"name": call["name"], "arguments": json.dumps(call.get("args") or {})}
                extra = {"extra_content": {"google": {"thought_signature": signature}}} if signature else {}
                calls.append({"id": known, "type": "function", "function": function, **extra})
                pending.append((call["name"], known))
            case _:
                raise Inexpressible("parts of Google's own tools in the history")
    message["content"] = "".join(texts) or None
    if calls:
        message["tool_calls"] = calls
    return [message]


def _user(content: Json, pending: list[tuple[str, str]]) -> list[Json]:
    results, parts = [], []
    for part in content.get("parts") or ():
        match part:
            case {"text": str(text)}:
                parts.append({"type": "text", "text": text})
            case {"functionResponse": result}:
                if "parts" in result:
                    raise Inexpressible("files inside a tool result")
                found = next((p for p in pending if p[1] == result.get("id")), None) or next(
                    (p for p in pending if p[0] == result["name"]), None
                )
                if found is None:
                    raise Inexpressible("a tool result without its call")
                pending.remove(found)
                results.append({"role": "tool", "tool_call_id": found[1], "content": json.dumps(result["response"])})
            case {"inlineData": {"mimeType": str(kind), "data": str(data)}}:
                parts.append(_file(kind, data))
            case {"fileData": {"fileUri": str(uri)}} if "/v1beta/files/" in uri or "youtu" in uri:
                parts.append({"type": "image_url", "image_url": {"url": uri}})
            case {"fileData": _}:
                raise Inexpressible("a file outside the Files API")
            case _:
                raise Inexpressible("parts of Google's own tools in the history")
    return results + ([{"role": "user", "content": parts}] if parts else [])


def _file(kind: str, data: str) -> Json:
    data = data.replace("-", "+").replace("_", "/")  # Google's SDK writes base64url
    url = f"data:{kind};base64,{data}"
    match kind.partition("/"):
        case ("image", _, "gif"):
            raise Inexpressible("GIF images")
        case ("image", _, _):
            return {"type": "image_url", "image_url": {"url": url}}
        case ("audio", _, "wav" | "mp3" as name):
            return {"type": "input_audio", "input_audio": {"data": data, "format": name}}
    return {"type": "file", "file": {"file_data": url, "filename": "f"}}


def _settings(config: Json) -> Json:
    if "AUDIO" in config.get("responseModalities", ()) or "speechConfig" in config:
        raise Inexpressible("audio output")
    out: Json = {}
    for theirs, ours in _SAME.items():
        if config.get(theirs) is not None:
            out[ours] = config[theirs]
    if "IMAGE" in config.get("responseModalities", ()):
        out["modalities"] = [kind.lower() for kind in config["responseModalities"]]
    if config.get("responseMimeType") == "application/json":
        schema = config.get("responseJsonSchema") or config.get("responseSchema")
        out["response_format"] = {"type": "json_object"}
        if schema:
            out["response_format"] = {
                "type": "json_schema",
                "json_schema": {"name": "answer", "schema": _lower(schema)},
            }
    thinking = config.get("thinkingConfig") or {}
    if level := thinking.get("thinkingLevel"):
        out["reasoning_effort"] = level.lower()
    elif (budget := thinking.get("thinkingBudget")) is not None:
        out["reasoning_effort"] = "none" if budget == 0 else "low" if budget < 8192 else "high"
    return out


def _tools(body: Json) -> Json:
    tools = []
    for tool in body.get("tools") or ():
        if not isinstance(tool, dict) or set(tool) != {"functionDeclarations"}:
            raise Inexpressible("Google's own tools")
        for declared in tool["functionDeclarations"]:
            function = {"name": declared["name"], "description": declared.get("description", "")}
            if schema := declared.get("parametersJsonSchema") or declared.get("parameters"):
                function["parameters"] = _lower(schema)
            tools.append({"type": "function", "function": function})
    choice = ((body.get("toolConfig") or {}).get("functionCallingConfig") or {}) if tools else {}
    out: Json = {"tools": tools} if tools else {}
    if "mode" in choice:
        choice = {**choice, "mode": choice["mode"].upper()}
    match choice:
        case {"mode": "ANY", "allowedFunctionNames": [name]}:
            out["tool_choice"] = {"type": "function", "function": {"name": name}}
        case {"mode": "ANY", "allowedFunctionNames": [*names]}:
            listed = [{"type": "function", "function": {"name": name}} for name in names]
            out["tool_choice"] = {
                "type": "allowed_tools",
                "allowed_tools": {"mode": "required", "tools": listed},
            }
        case {"mode": str(mode)}:
            out["tool_choice"] = {"AUTO": "auto", "ANY": "required", "NONE": "none", "VALIDATED": "auto"}[mode]
    return out


def _lower(schema: Any) -> Any:
    """Gemini's older `parameters` name types in capitals (or by number, in one recorder)."""
    if isinstance(schema, list):
        return [_lower(item) for item in schema]
    if not isinstance(schema, dict):
        return schema
    kinds = {1: "string", 2: "number", 3: "integer", 4: "boolean", 5: "array", 6: "object"}
    return {
        name: (
            value.lower() if isinstance(value, str) else kinds.get(value, value) if isinstance(value, int) else value
        )
        if name == "type" and not isinstance(value, (dict, list))
        else _lower(value)
        for name, value in schema.items()
    }


def differs(recorded: Json, ours: Json, ids: bool) -> str | None:
    """Whether our contents say something else than the recorded ones, and what; None when they are the same.

    Put aside: neighbouring turns of one role, neighbouring texts of the model (one string in OpenAI's shape), empty
    texts, thoughts, made-up ids, and the signature for a lost one.
    """
    calls = [
        p.get("functionCall") or p.get("functionResponse") for c in recorded["contents"] for p in c.get("parts", ())
    ]
    ids = ids and all("id" in call for call in calls if call)  # some recorded clients sent them by halves
    left, right = _plain(recorded["contents"], ids), _plain(ours["contents"], ids)
    if left == right:
        return None
    if right[-1:] == [("user", [{"text": "Continue."}])] and left == right[:-1]:
        return "the conversation ends with the model: the user says Continue."
    if right[:1] == [("user", [{"text": "(conversation start)"}])] and left == right[1:]:
        return "the conversation starts with the model: the user comes first"
    if right[:1] == [("user", [{"text": "(empty message)"}])] and left == right[1:]:
        return "an empty user message says that it is empty"
    return "other contents"


def _plain(contents: list[Json], ids: bool) -> list[tuple[str, list[Json]]]:
    turns: list[tuple[str, list[Json]]] = []
    for content in contents:
        role = content.get("role") or "user"
        parts = [
            _bare(part, ids)
            for part in content.get("parts") or ()
            if part.get("text") != "" and not part.get("thought")
        ]
        if turns and turns[-1][0] == role:
            turns[-1][1].extend(parts)
        elif parts:
            turns.append((role, parts))
    return [(role, _joined(parts) if role == "model" else parts) for role, parts in turns]


def _joined(parts: list[Json]) -> list[Json]:
    joined: list[Json] = []
    for part in parts:
        if joined and set(part) == set(joined[-1]) == {"text"}:
            joined[-1] = {"text": joined[-1]["text"] + part["text"]}
        else:
            joined.append(part)
    return joined


def _bare(part: Json, ids: bool) -> Json:
    part = {name: value for name, value in part.items() if name not in ("mediaResolution", "videoMetadata")}
    if part.get("thoughtSignature", "").startswith("c2tpcF90"):
        del part["thoughtSignature"]
    for name in ("functionCall", "functionResponse"):
        if name in part:
            part[name] = {k: v for k, v in part[name].items() if ids or k != "id"}
    if "functionCall" in part:
        part["functionCall"].setdefault("args", {})
    if "inlineData" in part:
        part["inlineData"] = part["inlineData"]["data"].replace("-", "+").replace("_", "/")
    if "fileData" in part:
        part["fileData"] = part["fileData"]["fileUri"]
    return part
