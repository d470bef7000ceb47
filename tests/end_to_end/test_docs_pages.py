"""The documentation as the server shows it: every page, its links, what programs read, and that no text becomes an element."""

import re
from collections.abc import Iterator
from html.parser import HTMLParser
from urllib.parse import unquote, urljoin

import httpx2 as httpx
import pytest
from browser import PAYLOADS
from documents import LANGUAGES, page
from process import Process, config

from server.docs import Docs, address
from server.markdown import render, slug
from server.page import POLICY

ALLOWED = {
    *(
        "h1",
        "h2",
        "h3",
        "p",
        "ul",
        "li",
        "pre",
        "code",
        "strong",
        "a",
        "div",
        "table",
        "thead",
        "tbody",
        "tr",
        "th",
        "td",
    ),
}


class Elements(HTMLParser):
    """Every element with its attributes, and the text."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.found: list[tuple[str, dict[str, str | None]]] = []
        self.text = ""
        self.feed(html)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.found.append((tag, dict(attrs)))

    def handle_data(self, data: str) -> None:
        self.text += data


@pytest.fixture(scope="module")
def server() -> Iterator[Process]:
    keys = f'keys: [{{name: one, sha256: "{"0" * 64}"}}]'  # nobody has it
    with Process(config(more=keys)) as process:
        yield process


NAMES = [(language, name) for language in LANGUAGES for _, name, _ in [("", "", ""), *Docs().contents(language)]]


@pytest.mark.parametrize(("language", "name"), NAMES)
def test_every_page_is_shown_and_its_links_lead_somewhere(
    language: str, name: str, server: Process, http: httpx.Client
) -> None:
    found = http.get(f"{server.root}/docs/{language}/{name}")
    assert found.status_code == 200 and found.headers["content-type"] == "text/html; charset=utf-8"
    assert found.headers["content-security-policy"] == POLICY
    elements = Elements(found.text)
    assert ("html", {"lang": language}) in elements.found
    here = {attributes["id"] for _, attributes in elements.found if "id" in attributes}
    for to in {attributes["href"] for tag, attributes in elements.found if tag == "a"}:
        assert to
        path, _, anchor = urljoin(f"/docs/{language}/{name}", to).partition("#")
        if to.startswith("#"):
            assert unquote(anchor) in here
        elif not to.startswith("http"):
            there = http.get(f"{server.root}{path}")
            assert there.status_code == 200, to
            assert not anchor or f'id="{anchor}"' in there.text, to


def test_the_files_are_the_source(server: Process, http: httpx.Client) -> None:
    for language, one in (("en", "docs.md"), ("zh", "docs.zh.md")):
        texts = [page(language, name) for _, name, _ in Docs().contents(language)]
        whole = http.get(f"{server.root}/{one}")
        assert whole.text == "\n".join(texts)
        assert whole.headers["content-type"] == "text/markdown; charset=utf-8"
        keys = http.get(f"{server.root}/docs/{language}/keys.md")
        assert keys.text == page(language, "keys") and keys.headers["content-type"].startswith("text/markdown")


def test_what_coding_agents_read(server: Process, http: httpx.Client) -> None:
    found = http.get(f"{server.root}/llms.txt")
    assert found.headers["content-type"] == "text/plain; charset=utf-8"
    assert found.text.startswith("# ModelServer\n\n> ") and f"- Base URL: {server.url} " in found.text
    links = re.findall(r"\]\((\S+)\)", found.text)
    assert len(links) == len(Docs().contents("en")) + 1
    assert all(http.get(link).status_code == 200 for link in links)


@pytest.mark.parametrize(
    ("wished", "to"), [("zh-CN,zh;q=0.9", "/docs/zh/"), ("de, zh", "/docs/en/"), ("", "/docs/en/")]
)
def test_the_first_page_is_in_the_language_of_the_browser(
    server: Process, http: httpx.Client, wished: str, to: str
) -> None:
    found = http.get(f"{server.root}/docs", headers={"Accept-Language": wished}, follow_redirects=False)
    assert (found.status_code, found.headers["location"]) == (302, to)


@pytest.mark.parametrize(
    "path", ["fr/", "en/nothing", "en/..%2f..%2fconfig.yaml", "zh/%2e%2e/style.css.md", "en/keys.html"]
)
def test_nothing_else_is_there(server: Process, http: httpx.Client, path: str) -> None:
    found = http.get(f"{server.root}/docs/{path}")
    assert (found.status_code, found.json()["error"]["code"]) == (404, "unknown_url")


def test_what_markdown_becomes() -> None:
    text = (
        "# A `b`\n\nOne **two**\nthree, [four](keys.md#x), <https://x.example.com/>.\n\n- five\n  six\n- 七\n  八\n\n"
        "| a | b |\n|---|---|\n| `c` | d |\n\n```sh\n<e> & f\n```\n"
    )
    assert render(text, address) == (
        '<h1 id="a-b">A <code>b</code></h1>\n'
        '<p>One <strong>two</strong>\nthree, <a href="keys#x">four</a>, '
        '<a href="https://x.example.com/">https://x.example.com/</a>.</p>\n'
        "<ul><li>five\nsix</li><li>七八</li></ul>\n"
        '<div class="scroll" tabindex="0"><table><thead><tr><th scope="col">a</th><th scope="col">b</th></tr></thead>'
        "<tbody><tr><td><code>c</code></td><td>d</td></tr></tbody></table></div>\n"
        '<pre tabindex="0"><code>&lt;e&gt; &amp; f</code></pre>\n'
    )


@pytest.mark.parametrize(
    ("heading", "expected"),
    [("Codex and the Responses API", "codex-and-the-responses-api"), ("All else, as bytes", "all-else-as-bytes"),
     ("echo：无需网络、无需付费的开发对象", "echo无需网络无需付费的开发对象"), ("Gemini's own API", "geminis-own-api")],
)  # fmt: skip
def test_headings_have_the_ids_that_github_gives_them(heading: str, expected: str) -> None:
    assert slug(heading) == expected


WAYS = [
    "{}",
    "# {}",
    "- {}",
    "| {} |\n|---|\n| {} |",
    "```sh\n{}\n```",
    "**{}**",
    "`{}`",
    "[{}](keys.md)",
    "[x]({})",
    "<{}>",
]


@pytest.mark.parametrize("way", WAYS)
def test_no_text_becomes_an_element(way: str) -> None:
    for payload in [
        *PAYLOADS,
        "javascript:alert(1)",
        "JaVaScRiPt:alert(1)",
        "data:text/html,x",
        'https://x"onfocus="alert(1)',
    ]:
        for link in (address, str):
            for tag, attributes in Elements(render(way.replace("{}", payload), link)).found:
                assert tag in ALLOWED and attributes.keys() <= {"href", "id", "class", "tabindex", "scope"}, payload
                to = attributes.get("href")
                assert to is None or to.startswith(("https://", "http://")) or ":" not in to, payload
