"""Markdown → HTML, for our own documentation: headings, paragraphs, lists, tables, code; bold and links within a line.

Every character of the text is escaped before it becomes part of the HTML, and a link is one only where it leads to http(s) or
to a relative path: no text can become an element, a script or an attribute.
"""

import re
from collections.abc import Callable, Iterator
from html import escape
from typing import Final

Link = Callable[[str], str]  # a link's address → where it leads here; "" for no link

_SPAN: Final = re.compile(
    r"`(?P<code>[^`]+)`|\*\*(?P<bold>.+?)\*\*|\[(?P<text>(?:`[^`]*`|[^\]`])+)\]\((?P<to>[^()\s]+)\)|<(?P<url>https?://[^<>\s]+)>"
)
_ADDRESS: Final = re.compile(r"https?://[^\s]+|[^\s:]*")
_HEADING: Final = re.compile(r"(#{1,6}) (.*)")
_DIVIDER: Final = re.compile(r"\|(?:\s*:?-+:?\s*\|)+")
_CELL: Final = re.compile(r"(?<!\\)\|")
_BETWEEN_CJK: Final = re.compile(r"(?<=[\u3000-\u9fff\uff00-\uffef])\n(?=[\u3000-\u9fff\uff00-\uffef])")


def render(text: str, link: Link = str) -> str:
    """Return the HTML of a Markdown text. link: changes addresses; what it returns is checked."""
    return "\n".join(_block(lines, link) for lines in blocks(text)) + "\n"


def blocks(text: str) -> Iterator[list[str]]:
    """Yield the lines of each block: a fence with all it holds, or what stands between two empty lines."""
    block: list[str] = []
    fence = ""
    for line in text.splitlines():
        if fence:
            block.append(line)
            if line == fence:
                yield block
                block, fence = [], ""
        elif line.startswith("```") or _HEADING.match(line) or not line.strip():
            if block:
                yield block
            block = [line] if line.strip() else []
            if line.startswith("```"):
                fence = "```"
            elif block:
                yield block
                block = []
        else:
            block.append(line)
    if block:
        yield block


def slug(heading: str) -> str:
    """Return the id of a heading, as GitHub makes it."""
    return re.sub(r"[^\w\- ]", "", plain(heading).lower()).replace(" ", "-")


def plain(text: str) -> str:
    """Return a line without its marks."""
    return _SPAN.sub(
        lambda found: next(filter(None, (found["code"], found["bold"], found["text"], found["url"]))), text
    )


def _block(lines: list[str], link: Link) -> str:
    first = lines[0]
    if first.startswith("```"):
        return f'<pre tabindex="0"><code>{escape(chr(10).join(lines[1:-1]))}</code></pre>'
    if heading := _HEADING.match(first):
        level = len(heading[1])
        return f'<h{level} id="{escape(slug(heading[2]))}">{inline(heading[2], link)}</h{level}>'
    if first.startswith("|") and len(lines) > 1 and _DIVIDER.fullmatch(lines[1].strip()):
        return _table(lines, link)
    if first.startswith("- "):
        items = re.split(r"\n(?=- )", "\n".join(lines))
        return f"<ul>{''.join(f'<li>{inline(_joined(item[2:]), link)}</li>' for item in items)}</ul>"
    return f"<p>{inline(_joined(chr(10).join(lines)), link)}</p>"


def _joined(text: str) -> str:
    """Return lines as one paragraph: the line ends between two Chinese characters are no spaces."""
    return _BETWEEN_CJK.sub("", re.sub(r"\n +", "\n", text))


def _table(lines: list[str], link: Link) -> str:
    head, *body = [_CELL.split(line.strip())[1:-1] for line in (lines[0], *lines[2:])]
    rows = "".join(f"<tr>{''.join(f'<td>{inline(cell.strip(), link)}</td>' for cell in row)}</tr>" for row in body)
    names = "".join(f'<th scope="col">{inline(cell.strip(), link)}</th>' for cell in head)
    return f'<div class="scroll" tabindex="0"><table><thead><tr>{names}</tr></thead><tbody>{rows}</tbody></table></div>'


def inline(text: str, link: Link) -> str:
    """Return the HTML of a line of text."""
    made, last = [], 0
    for found in _SPAN.finditer(text):
        made.append(escape(text[last : found.start()]))
        last = found.end()
        if found["code"]:
            made.append(f"<code>{escape(found['code'])}</code>")
        elif found["bold"]:
            made.append(f"<strong>{inline(found['bold'], link)}</strong>")
        else:
            shown = escape(found["url"]) if found["url"] else inline(found["text"], link)
            to = link(found["url"] or found["to"])
            made.append(f'<a href="{escape(to)}">{shown}</a>' if to and _ADDRESS.fullmatch(to) else shown)
    made.append(escape(text[last:]))
    return "".join(made)
