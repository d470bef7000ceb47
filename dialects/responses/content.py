"""Content of messages and of outputs: its parts as chat has them. Pure."""

import mimetypes
from typing import Any, Final

from providers.common.media import is_data_uri
from providers.contract import Json
from providers.errors import BadRequest, Unsupported
from providers.openai.responses.pairs import PARTS

from ..validation import TYPES, wrong_type

# Ending of a document's name → its type: what Python knows, whatever the machine's own files say, and what it does not.
_DOCUMENTS: Final = mimetypes.MimeTypes().types_map[True] | {
    ".docx": "application/vnd.openxmlformats-officedocument.wordprocessingml.document",
    ".epub": "application/epub+zip",
    ".md": "text/markdown",
    ".odt": "application/vnd.oasis.opendocument.text",
    ".pptx": "application/vnd.openxmlformats-officedocument.presentationml.presentation",
    ".rtf": "application/rtf",
    ".xlsx": "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet",
}
# Type of a part → chat's. Clients mix those of texts: any may stand in any role.
_CHAT: Final = {part: chat for chat, part in PARTS.items()} | {"output_text": "text", "text": "text"}
_THOUGHTS: Final = frozenset({"summary_text", "reasoning_text"})  # not what a message says
_KNOWN: Final = "'input_text', 'output_text', 'refusal', 'input_image', 'input_file' and 'input_audio'"
Parts = list[tuple[Json, str]]  # each with its path in the client's request


def parts(content: Any, path: str) -> Parts:
    """Return the parts of a content, a text or a list. path: the content's. Raises BadRequest, Unsupported."""
    if isinstance(content, str):
        return [({"type": "text", "text": content}, path)]
    if not isinstance(content, list):
        raise wrong_type("a string or an array of content parts", content, path)
    made = []
    for index, part in enumerate(content):
        at = f"{path}[{index}]"
        if isinstance(part, str):
            part = {"type": "text", "text": part}
        if not isinstance(part, dict):
            raise wrong_type("an object", part, at)
        if (chat := _part(part, at)) is not None:
            made.append((chat, at))
    return made


def plain(made: Parts) -> Any:
    """Return the parts as the content of a chat message: a text, where there is nothing else."""
    match made:
        case []:
            return ""
        case [({"type": "text", "text": text, **more}, _)] if not more:
            return text
    return [part for part, _ in made]


def _part(part: Json, at: str) -> Json | None:
    match _CHAT.get(part["type"]) if isinstance(part.get("type"), str) else None:
        case "text":
            marked = part.get("prompt_cache_breakpoint") not in (None, False)
            mark = {"cache_control": {"type": "ephemeral"}} if marked else {}
            return {"type": "text", "text": _text(part, "text", at), **mark}
        case "refusal":
            return {"type": "refusal", "refusal": _text(part, "refusal", at)}
        case "image_url":
            return _image(part, at)
        case "file":
            return _file(part, at)
        case "input_audio" if isinstance(part.get("input_audio"), dict):
            return {"type": "input_audio", "input_audio": part["input_audio"]}
    kind = part.get("type")
    if isinstance(kind, str) and kind in _THOUGHTS:
        return None
    shown = f"'{kind[:100]}'" if isinstance(kind, str) else TYPES.get(type(kind), "something else")
    raise BadRequest(
        f"Invalid value: {shown}. Supported values are: {_KNOWN}.", param=f"{at}.type", code="invalid_value"
    )


def _text(part: Json, name: str, at: str) -> str:
    value = part.get(name)
    if not isinstance(value, str):
        raise wrong_type("a string", value, f"{at}.{name}")
    return value


def _image(part: Json, at: str) -> Json:
    url = part.get("image_url")
    if url is None:
        raise _no_file(part, at, "image_url")
    if not isinstance(url, str):
        raise wrong_type("a string", url, f"{at}.image_url")
    image: Json = {"url": url}
    if (detail := part.get("detail")) is not None:
        image["detail"] = "high" if detail == "original" else detail
    return {"type": "image_url", "image_url": image}


def _file(part: Json, at: str) -> Json:
    data, name = part.get("file_data"), part.get("filename")
    if part.get("file_url") is not None and data is None:
        raise Unsupported(
            "Files can only be sent inline, as 'file_data'.", param=f"{at}.file_url", code="unsupported_value"
        )
    if data is None:
        raise _no_file(part, at, "file_data")
    if not isinstance(data, str):
        raise wrong_type("a string", data, f"{at}.file_data")
    named = {"filename": name} if isinstance(name, str) and name else {}
    if not is_data_uri(data):
        ending = f".{str(name or '').rpartition('.')[2].lower()}"
        kind = _DOCUMENTS.get(ending, "application/octet-stream")
        data = f"data:{kind};base64,{data}"
    return {"type": "file", "file": {**named, "file_data": data}}


def _no_file(part: Json, at: str, wanted: str) -> BadRequest:
    if part.get("file_id") is not None:
        return Unsupported(
            f"Files of another server cannot be read here: send '{wanted}' in place of 'file_id'.",
            param=f"{at}.file_id",
        )
    return BadRequest(f"Missing required parameter: '{at}.{wanted}'.", param=at, code="missing_required_parameter")
