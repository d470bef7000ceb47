"""Content blocks of Messages → content parts of a chat request.

What the hub has no part for becomes a text that a model can read, and is never refused: a client sends its whole history
with every request, so that one block that is refused would end the conversation.
"""

from collections.abc import Callable, Iterator
from html import escape
from typing import Any, Final

from providers import codec
from providers.common import media
from providers.contract import Json
from providers.errors import BadRequest

from .reading import Reading, list_at, object_at, text_at

Block = tuple[str, Json]  # with its path


def blocks_of(content: Any, path: str) -> list[Block]:
    """Return the blocks of a content, a string or blocks. Raises BadRequest for what is neither."""
    if isinstance(content, str):
        return [(path, {"type": "text", "text": content})]
    blocks = [(f"{path}.{j}", object_at(block, f"{path}.{j}")) for j, block in enumerate(list_at(content, path))]
    for at, block in blocks:
        text_at(block.get("type"), f"{at}.type")
    return blocks


def parts(at: str, block: Json, reading: Reading) -> list[Json]:
    """Return the parts that stand for a block; none where it says nothing. Raises BadRequest for a text that is none."""
    kind = block["type"]
    if kind == "text":
        words = text_at(block.get("text"), f"{at}.text")
        return [text(words, block)] if words.strip() else []
    made = _PARTS.get(kind, _omitted)(block, reading)
    if made and (mark := cache_mark(block)):
        made[-1] |= mark
    return made


def joined(made: list[Json]) -> str | list[Json]:
    """Return parts as a content: one text alone as a string."""
    match made:
        case []:
            return ""
        case [{"type": "text", "text": str(words), **more}] if not more:
            return words
    return made


def text(words: str, block: Json | None = None) -> Json:
    """Return a text part, with the cache mark of the block it stands for."""
    return {"type": "text", "text": words} | (cache_mark(block) if block else {})


def cache_mark(block: Json) -> Json:
    """Return the cache mark of a block, as a field."""
    return {"cache_control": mark} if isinstance(mark := block.get("cache_control"), dict) else {}


def result(at: str, block: Json, reading: Reading) -> str | list[Json]:
    """Return the content of a tool's result."""
    content = block.get("content")
    if content is None or isinstance(content, str):
        words = content or ""
        return _failed(words) if block.get("is_error") is True else words
    made = [part for path, inner in blocks_of(content, f"{at}.content") for part in parts(path, inner, reading)]
    if block.get("is_error") is True:
        match made:
            case [{"type": "text"} as first, *rest]:
                made = [{**first, "text": _failed(first["text"])}, *rest]
            case _:
                made = [text(_failed("")), *made]
    return joined(made)


def is_server_block(kind: str) -> bool:
    """Whether a block of this type is a call of a tool that Anthropic runs, or its result."""
    return kind in _SERVER_CALLS or (kind.endswith("_tool_result") and kind not in _QUIET)


def server_text(block: Json, reading: Reading) -> str:
    """Return what was called, or found, by a tool that Anthropic runs."""
    reading.drop("messages.server_tool")
    kind = block["type"]
    if kind in _SERVER_CALLS:
        server = f"{block['server_name']}/" if isinstance(block.get("server_name"), str) else ""
        return f"[{server}{block.get('name') or 'tool'} {codec.encode_text(block.get('input') or {})}]"
    return "\n".join(filter(None, _found(block.get("content"), reading))) or f"[{kind}]"


def _failed(words: str) -> str:
    return words if words.startswith("Error: ") else f"Error: {words}"


def _found(content: Any, reading: Reading) -> Iterator[str]:
    match content:
        case str():
            yield content
        case [*results]:
            for each in results:
                match each:
                    case {"type": "web_search_result", "url": str(url)}:
                        yield f"- {each.get('title') or url}: {url}"
                    case {"type": "text", "text": str(words)}:
                        yield words
        case {"type": "web_fetch_result", "url": str(url)}:
            yield url
            match content.get("content"):
                case {"source": {"type": "text", "data": str(words)}}:
                    yield words
        case {"stdout": out, "stderr": error} | {"encrypted_stdout": out, "stderr": error}:
            yield from (each for each in (out if "stdout" in content else "", error) if isinstance(each, str))
            yield f"[return code {content.get('return_code')}]"
        case {"tool_references": [*references]}:
            for reference in references:
                if isinstance(reference, dict):
                    yield from (part["text"] for part in _reference(reference, reading))
        case {"error_code": str(code)}:
            yield f"[{content.get('type')}: {code}]"


def _omitted(block: Json, reading: Reading) -> list[Json]:
    kind = block["type"][:100]
    reading.drop(f"messages.{kind}")
    return [text(f"[{kind} block omitted]")]


def _nothing(block: Json, reading: Reading) -> list[Json]:
    return []


def _image(block: Json, reading: Reading) -> list[Json]:
    match block.get("source"):
        case {"type": "base64", "data": str(data), **more}:
            try:
                kind = media.type_of(data, more.get("media_type") or "image/png")
            except BadRequest:
                return _omitted(block, reading)
            url = f"data:{kind};base64,{data}"
        case {"type": "url", "url": str(url)}:
            pass
        case {"type": "file", **more}:
            return _file(more, reading)
        case _:
            return _omitted(block, reading)
    reading.images = True
    return [{"type": "image_url", "image_url": {"url": url}}]


def _file(source: Any, reading: Reading) -> list[Json]:
    reading.drop("messages.file")
    return [text(f"[file {source.get('file_id')}: not available to this model]")]


def _document(block: Json, reading: Reading) -> list[Json]:
    match block.get("citations"):
        case {"enabled": True}:
            reading.drop("citations")
    title, context = (each if isinstance(each := block.get(name), str) else "" for name in ("title", "context"))
    first = f'<document title="{escape(title)}">' if title else "<document>"
    first += f"\n{context}\n" if context else ""
    match block.get("source"):
        case {"type": "base64", "data": str(data), **more}:
            declared = more.get("media_type") or "application/pdf"
            try:
                media.type_of(data, declared)
            except BadRequest:
                return _omitted(block, reading)
            url = f"data:{declared};base64,{data}"
            file = {"type": "file", "file": {"filename": title or "document.pdf", "file_data": url}}
            return [text(context), file] if context else [file]
        case {"type": "text", "data": str(words)} | {"type": "content", "content": str(words)}:
            return [text(f"{first}{words}</document>")]
        case {"type": "content", "content": [*inner]}:
            made = [
                part
                for each in inner
                if isinstance(each, dict) and isinstance(each.get("type"), str)
                for part in (_PARTS[each["type"]](each, reading) if each["type"] == "image" else _texts([each]))
            ]
            return [text(first), *made, text("</document>")]
        case {"type": "url", "url": str(url)}:
            reading.drop("messages.document")
            return [text(f"[document {url}]")]
        case {"type": "file", **more}:
            return _file(more, reading)
    return _omitted(block, reading)


def _texts(blocks: Any) -> list[Json]:
    """Return the text blocks of a list that hold something, as parts."""
    found = [block for block in blocks if isinstance(block, dict)] if isinstance(blocks, list) else []
    return [text(words) for block in found if isinstance(words := block.get("text"), str) and words.strip()]


def _search_result(block: Json, reading: Reading) -> list[Json]:
    named = " ".join(f'{name}="{escape(str(block.get(name) or ""))}"' for name in ("source", "title"))
    words = "\n".join(part["text"] for part in _texts(block.get("content")))
    return [text(f"<search_result {named}>\n{words}\n</search_result>")]


def _reference(block: Json, reading: Reading) -> list[Json]:
    name = block.get("tool_name") or block.get("name")
    if not isinstance(name, str):
        return []
    reading.loaded[name] = True
    return [text(f"Tool {name} is now available.")]


def _compaction(block: Json, reading: Reading) -> list[Json]:
    words = block.get("content")
    for change in changes if isinstance(changes := block.get("tool_changes"), list) else ():
        if isinstance(change, dict):
            _PARTS.get(str(change.get("type")), _nothing)(change, reading)
    return [text(f"<conversation_summary>{words}</conversation_summary>")] if isinstance(words, str) and words else []


def _tool_change(block: Json, reading: Reading) -> list[Json]:
    match block.get("tool"):
        case {"type": "tool_reference", "name": str(name)}:
            reading.loaded[name] = block["type"] == "tool_addition"
        case {"type": "tool_definition"}:
            reading.drop("messages.tool_definition")
    return []


def _server(block: Json, reading: Reading) -> list[Json]:
    return [text(server_text(block, reading))]


_SERVER_CALLS: Final = ("server_tool_use", "mcp_tool_use")
_QUIET: Final = ("mcp_tool_listing", "fallback", "advisor_tool_result")
_PARTS: Final[dict[str, Callable[[Json, Reading], list[Json]]]] = {
    "image": _image,
    "document": _document,
    "search_result": _search_result,
    "tool_reference": _reference,
    "compaction": _compaction,
    "tool_addition": _tool_change,
    "tool_removal": _tool_change,
    "thinking": _nothing,
    "redacted_thinking": _nothing,
    **dict.fromkeys(_SERVER_CALLS, _server),
    **dict.fromkeys(_QUIET, _nothing),
}
