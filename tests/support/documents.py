"""README and docs/ as tests read them: pages, their blocks of code, and the first cells of their tables."""

import re
from pathlib import Path
from typing import Final, NamedTuple

from process import ROOT

LANGUAGES: Final = ("en", "zh")
READMES: Final = {"en": "README.md", "zh": "README.zh-CN.md"}
ADDRESS: Final = "http://127.0.0.1:8080"  # of the server, in all examples


class Block(NamedTuple):
    """A fenced block of code."""

    page: str
    language: str
    text: str

    @property
    def name(self) -> str:
        """What a test is called."""
        return f"{self.page}:{self.language}:{self.text.strip().splitlines()[0][:40]}"


def pages(language: str) -> dict[str, str]:
    """Return the README of a language and its pages, by path."""
    files = [ROOT / READMES[language], *sorted((ROOT / "docs" / language).glob("*.md"))]
    return {str(file.relative_to(ROOT)): file.read_text(encoding="utf-8") for file in files}


def page(language: str, name: str) -> str:
    """Return the text of a page."""
    return (ROOT / "docs" / language / f"{name}.md").read_text(encoding="utf-8")


def blocks(language: str) -> list[Block]:
    """Return all blocks of code of a language, in order."""
    return [
        Block(path, found[1], found[2])
        for path, text in pages(language).items()
        for found in re.finditer(r"^```(\w*)\n(.*?)^```$", text, re.MULTILINE | re.DOTALL)
    ]


def of_language(*names: str) -> list[Block]:
    """Return the blocks in one of these languages, of code, that the pages of both languages have."""
    return [block for language in LANGUAGES for block in blocks(language) if block.language in names]


def first_cells(text: str) -> list[str]:
    """Return what stands in backticks in the first cells of all tables: a line for each."""
    rows = re.findall(r"^\| (.*?) \|", text, re.MULTILINE)
    return [name for row in rows for name in re.findall(r"`([^`]+)`", row)]


def files() -> list[Path]:
    """Return every Markdown file that people read."""
    return [ROOT / name for name in (*READMES.values(), "CONTRIBUTING.md")] + sorted((ROOT / "docs").rglob("*.md"))
