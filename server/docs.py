"""The documentation: the files of docs/ as HTML under /docs/, as they are (.md), in one piece (/docs.md), and /llms.txt.

The folder of each language has the same pages. Its README.md is the table of contents, whose order is that of the pages. No key
is needed: it is what the repository says to everybody.
"""

import re
from functools import cached_property, lru_cache
from html import escape
from pathlib import Path
from typing import Final

from aiohttp import web

from providers.errors import NotFound

from . import auth
from .page import HEADERS
from .paths import ROOT

FOLDER: Final = ROOT / "docs"
LANGUAGES: Final = {"en": "English", "zh": "中文"}
_INDEX: Final = "README"
_ENTRY: Final = re.compile(r"^- \[([^\]]+)\]\((\w+)\.md\)[:：] ?(.*)$", re.MULTILINE)
_LOCAL: Final = re.compile(r"(?:\.\./(en|zh)/)?(\w+)\.md(#.*)?|(#.*)")
_HEADERS: Final = {**HEADERS, "Cache-Control": "no-cache"}
_ABOUT: Final = """\
# ModelServer

> An OpenAI-compatible gateway to many model providers. Any OpenAI client works with another base URL.

- Base URL: {base}/v1 (OpenAI), {base} (Anthropic's SDKs and Claude Code).
- Key: any text where the server has no keys; else ask its operator, and read it from `MODELSERVER_KEY`.
- `GET {base}/v1/models` lists the models with context, prices and capabilities. The model `echo` answers offline, and
  `echo-429`, `echo-cut` and the like fail as providers do: test with these.
- No `data: [DONE]`, no success: a stream that failed ends with an event `{{"error": …}}`.
- A header `x-modelserver-dropped` names parameters that the model does not take.

## Docs

"""


class Docs:
    """The texts of a folder by language and name, read once, when they are first asked for."""

    def __init__(self, folder: Path = FOLDER) -> None:
        self._folder = folder

    @cached_property
    def texts(self) -> dict[tuple[str, str], str]:
        """The pages: language and name → Markdown."""
        return {
            (language, file.stem): file.read_text(encoding="utf-8")
            for language in LANGUAGES
            for file in sorted((self._folder / language).glob("*.md"))
        }

    @cached_property
    def style(self) -> str:
        """The style sheet."""
        style = self._folder / "style.css"
        return style.read_text(encoding="utf-8") if style.exists() else ""

    def text(self, language: str, name: str) -> str:
        """Return a page's Markdown. Raises NotFound."""
        if (found := self.texts.get((language, name))) is None:
            raise NotFound("There is no such page: GET /docs lists them.", code="unknown_url")
        return found

    def contents(self, language: str) -> list[tuple[str, str, str]]:
        """Return title, name and description of each page, in order."""
        return _ENTRY.findall(self.texts.get((language, _INDEX), ""))

    def whole(self, language: str) -> str:
        """Return all pages in one piece."""
        return "\n".join(self.text(language, name) for _, name, _ in self.contents(language))

    @lru_cache(64)  # noqa: B019 (there is one, as long as the server runs)
    def html(self, language: str, name: str) -> str:
        """Return a page as HTML. Raises NotFound."""
        from .markdown import plain, render  # here, since its patterns take a hundredth of the start to compile

        text = self.text(language, name)
        title = escape(plain(text.partition("\n")[0].lstrip("# ")))
        links = "".join(
            f'<li><a href="{page}"{" aria-current=page" if page == name else ""}>{escape(heading)}</a></li>'
            for heading, page, _ in self.contents(language)
        )
        other = next(each for each in LANGUAGES if each != language)
        own = "" if name == _INDEX else name
        return (
            f'<!doctype html>\n<html lang="{language}">\n<head>\n<meta charset="utf-8">\n'
            '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
            f'<meta name="color-scheme" content="light dark">\n<title>{title} · ModelServer</title>\n'
            '<link rel="icon" href="data:,">\n<link rel="stylesheet" href="/docs/style.css">\n</head>\n<body>\n'
            f'<header><a href="/">ModelServer</a> <a href="./">{"文档" if language == "zh" else "Documentation"}</a> '
            f'<a href="../{other}/{own}" lang="{other}">{LANGUAGES[other]}</a> <a href="{name}.md">Markdown</a></header>\n'
            f"<nav><ol>{links}</ol></nav>\n<main>\n{render(text, address)}</main>\n</body>\n</html>\n"
        )


def address(to: str) -> str:
    """Return where a link of the files leads on the server; "" for a file of the repository, which is not served."""
    if to.startswith(("http://", "https://")):
        return to
    if not (found := _LOCAL.fullmatch(to)):
        return ""
    language, name, anchor, here = found.groups()
    return here or (f"../{language}/" if language else "") + ("" if name == _INDEX else name) + (anchor or "") or "./"


DOCS: Final = web.AppKey("DOCS", Docs)


def routes() -> list[web.RouteDef]:
    """What is served here."""
    return [
        web.get("/docs", home),
        web.get("/docs/", home),
        web.get("/docs/style.css", style),
        web.get("/docs/{language}/", page),
        web.get("/docs/{language}/{name}", page),
        web.get("/docs.md", whole),
        web.get("/docs.zh.md", whole),
        web.get("/llms.txt", llms),
    ]


async def home(request: web.Request) -> web.Response:
    """GET /docs: to the contents, in the language that the browser names first."""
    wished = request.headers.get("Accept-Language", "").strip().lower()
    to = f"/docs/{'zh' if wished.startswith('zh') else 'en'}/"
    return web.Response(status=302, headers={**_HEADERS, "Location": to, "Vary": "Accept-Language"})


async def page(request: web.Request) -> web.Response:
    """GET /docs/{language}/{name}: a page; with .md at its end as it stands in the file."""
    language, name = request.match_info["language"], request.match_info.get("name", _INDEX)
    docs = request.app[DOCS]
    if name.endswith(".md"):
        return _answer(docs.text(language, name.removesuffix(".md")), "text/markdown")
    return _answer(docs.html(language, name), "text/html")


async def whole(request: web.Request) -> web.Response:
    """GET /docs.md, /docs.zh.md: all pages in one piece."""
    return _answer(request.app[DOCS].whole("zh" if request.path.endswith(".zh.md") else "en"), "text/markdown")


async def llms(request: web.Request) -> web.Response:
    """GET /llms.txt: what a coding agent has to know, with this server's address, and where the rest is."""
    base = f"{auth.scheme(request)}://{request.host}"
    lines = [
        f"- [{title}]({base}/docs/en/{name}.md): {about}\n" for title, name, about in request.app[DOCS].contents("en")
    ]
    return _answer(f"{_ABOUT.format(base=base)}{''.join(lines)}- [All in one]({base}/docs.md)\n", "text/plain")


async def style(request: web.Request) -> web.Response:
    """GET /docs/style.css."""
    return _answer(request.app[DOCS].style, "text/css")


def _answer(text: str, kind: str) -> web.Response:
    return web.Response(body=text.encode(), headers={**_HEADERS, "Content-Type": f"{kind}; charset=utf-8"})
