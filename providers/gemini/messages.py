"""OpenAI messages → Gemini's systemInstruction and contents. https://ai.google.dev/api/generate-content

- Turns alternate, begin with the user and end with the user.
- The results of one step stand together, in the order of the calls, before anything else of their turn.
- A call's thoughtSignature goes back on its own part; from Gemini 3 the first call of a turn must carry one.
"""

from collections.abc import Iterator, Mapping
from itertools import count, groupby
from typing import Any, Final
from urllib.parse import urlsplit

from ..common import media, tools
from ..common.arguments import RAW, as_object
from ..common.turns import EMPTY, GO_ON, START, as_system, content_text, merge_turns
from ..contract import Json, Upstream
from ..errors import BadRequest, Unsupported
from ..models import ModelFacts

# base64 of "skip_thought_signature_validator": what Google documents for calls whose signature is lost.
LOST_SIGNATURE: Final = "c2tpcF90aG91Z2h0X3NpZ25hdHVyZV92YWxpZGF0b3I="
_IMAGES: Final = frozenset({"image/png", "image/jpeg", "image/webp", "image/heic", "image/heif"})
_AUDIO: Final = {f: f"audio/{f}" for f in ("wav", "mp3", "aac", "ogg", "flac", "aiff")}
_GAP: Final = "\n\n"  # between the texts of system messages
_SYSTEM: Final = ("system", "developer")
_LONGEST_URL: Final = 8192
_YOUTUBE: Final = frozenset({"youtube.com", "www.youtube.com", "m.youtube.com", "youtu.be"})


def must_inline(url: str, upstream: Upstream) -> bool:
    """Whether an image at this URL must be fetched here: Gemini itself reads only its Files API and YouTube."""
    return url[:4].lower() == "http" and not _is_googles(url)


def contents(messages: list[Json], facts: ModelFacts, names: Mapping[str, str]) -> tuple[Json | None, list[Json]]:
    """OpenAI messages → (systemInstruction or None, contents). names: the client's tool names → the upstream's.

    Raises BadRequest or Unsupported, with the part at fault as param.
    """
    lead, last = 0, len(messages) - 1
    while lead < last and messages[lead]["role"] in _SYSTEM:
        lead += 1
    said = [text for message in messages[:lead] if (text := content_text(message.get("content"), _GAP))]
    turns = list(merge_turns(_turns(list(enumerate(messages))[lead:], facts, names), "parts"))
    if not turns or turns[0]["role"] == "model":
        turns.insert(0, _said(START))
    if turns[-1]["role"] == "model":
        turns.append(_said(GO_ON))
    return {"parts": [{"text": _GAP.join(said)}]} if said else None, turns


def _turns(messages: list[tuple[int, Json]], facts: ModelFacts, names: Mapping[str, str]) -> Iterator[Json]:
    called: dict[str, tuple[int, str]] = {}  # tool call id → its place, its upstream name (Gemini answers by name)
    places = count()
    alone = len(messages) == 1
    for is_model, run in groupby(messages, key=lambda numbered: numbered[1]["role"] == "assistant"):
        if is_model:
            for _, message in run:
                for call in message.get("tool_calls") or ():
                    called[call["id"]] = next(places), names[tools.tool_name(call)]
                yield {"role": "model", "parts": _model_parts(message, facts, names)}
            continue
        results, said = [], []
        for i, message in run:
            if message["role"] == "tool":
                if message["tool_call_id"] not in called:
                    raise BadRequest("This result answers no tool call.", param=f"messages[{i}].tool_call_id")
                results.append((*called[message["tool_call_id"]], i, message))
            elif message["role"] in _SYSTEM and not alone:
                said.append({"text": as_system(content_text(message.get("content"), _GAP))})
            else:
                said += _user_parts(message.get("content"), i) or [{"text": EMPTY}]
        if results:
            results.sort(key=lambda result: result[0])
            answers = [_result(name, message, facts) for _, name, _, message in results]
            seen = [p for *_, i, message in results for p in _user_parts(message.get("content"), i) if "text" not in p]
            said = answers + seen + said
        yield {"role": "user", "parts": said}


def _said(text: str) -> Json:
    return {"role": "user", "parts": [{"text": text}]}


def _apart(content: Any) -> str:
    """The text of a result: parts are texts of their own, each on a new line unless blanks keep them apart already."""
    if not isinstance(content, list):
        return content or ""
    pieces: list[str] = []
    for text in filter(None, map(content_text, ([part] for part in content))):
        if pieces and not (pieces[-1][-1].isspace() or text[0].isspace()):
            pieces.append("\n")
        pieces.append(text)
    return "".join(pieces)


def _result(name: str, message: Json, facts: ModelFacts) -> Json:
    text = _apart(message.get("content"))
    answer: Json = {"name": name, "response": _object(text, "output")}
    return {"functionResponse": {"id": message["tool_call_id"], **answer} if facts.call_ids else answer}


def _object(text: str, key: str) -> Json:
    """Text that is a JSON object as that object, any other text under `key`: Gemini takes objects only."""
    value = as_object(text) if text.lstrip()[:1] == "{" else None
    return {key: text} if value is None else value


def _model_parts(message: Json, facts: ModelFacts, names: Mapping[str, str]) -> list[Json]:
    content = message.get("content")
    texts = [content_text([part]) for part in content] if isinstance(content, list) else [content]
    if isinstance(refusal := message.get("refusal"), str):
        texts.append(refusal)
    parts: list[Json] = [{"text": text} for text in texts if text]
    if parts and (signature := _signature(message)):
        parts[-1]["thoughtSignature"] = signature
    for place, call in enumerate(message.get("tool_calls") or ()):
        function: Json = {"name": names[tools.tool_name(call)], "args": _arguments(call)}
        part: Json = {"functionCall": {"id": call["id"], **function} if facts.call_ids else function}
        if signature := _signature(call) or (LOST_SIGNATURE if facts.signatures and place == 0 else None):
            part["thoughtSignature"] = signature
        parts.append(part)
    return parts


def _arguments(call: Json) -> Json:
    match call:
        case {"custom": {"input": text}}:
            return {"input": text}
        case {"function": {"arguments": str(text)}} if text.strip():
            return _object(text, RAW)
    return {}


def _signature(carrier: Json) -> str | None:
    """Google's own place for it in OpenAI's shape: https://ai.google.dev/gemini-api/docs/thought-signatures"""
    match carrier:
        case {"extra_content": {"google": {"thought_signature": str(signature)}}}:
            return signature or None
    return None


def _user_parts(content: Any, i: int) -> list[Json]:
    if not isinstance(content, list):
        return [{"text": content}] if content else []
    parts = (_part(part, f"messages[{i}].content[{j}]") for j, part in enumerate(content))
    return [part for part in parts if part != {"text": ""}]


def _part(part: Json, param: str) -> Json:
    match part:
        case {"type": "text", "text": str(text)} | {"type": "refusal", "refusal": str(text)}:
            return {"text": text}
        case {"type": "image_url", "image_url": {"url": str(url)}}:
            return _image(url, f"{param}.image_url.url")
        case {"type": "input_audio", "input_audio": {"data": str(data), "format": str(kind)}}:
            if kind not in _AUDIO:
                raise Unsupported(
                    f"Audio must be one of {', '.join(_AUDIO)}, not {kind!r}.", param=f"{param}.input_audio.format"
                )
            return _inline(_AUDIO[kind], data)
        case {"type": "file", "file": {"file_data": str(data)}}:
            file = media.data_uri(data, f"{param}.file.file_data")
            if not file.type:
                raise BadRequest("The data URI must name its media type.", param=f"{param}.file.file_data")
            return _inline(file.type, file.data)
        case {"type": "file", "file": {"file_id": str()}}:
            raise Unsupported(
                "This model takes files as file_data only, not as file_id.", param=f"{param}.file.file_id"
            )
    raise Unsupported(f"This model does not take content parts of type {part.get('type')!r}.", param=param)


def _image(url: str, param: str) -> Json:
    if media.is_data_uri(url):
        image = media.data_uri(url, param)
        if image.type not in _IMAGES:
            raise BadRequest(
                f"This model takes PNG, JPEG, WebP, HEIC and HEIF images, not {image.type or 'data of no type'}.",
                param=param,
                code="invalid_image_format",
            )
        return _inline(image.type, image.data)
    if _is_googles(url):
        return {"fileData": {"fileUri": url}}
    raise BadRequest("Images must be http(s) URLs or data URIs.", param=param, code="invalid_image_url")


def _inline(kind: str, data: str) -> Json:
    return {"inlineData": {"mimeType": kind, "data": data}}


def _is_googles(url: str) -> bool:
    """A file of Gemini's Files API or a YouTube video."""
    if len(url) > _LONGEST_URL:  # urlsplit keeps the last 128 texts that it was given, whatever their size
        return False
    try:
        parts = urlsplit(url)
        host = parts.hostname
    except ValueError:
        return False
    if parts.scheme != "https" or parts.username is not None:
        return False
    return host in _YOUTUBE or (host == "generativelanguage.googleapis.com" and "/files/" in parts.path)
