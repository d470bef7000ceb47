"""`<think>…</think>` at the start of a text → reasoning and content.

Open models write their reasoning so, and servers without a reasoning parser pass it on (vLLM, Ollama, llama.cpp, Groq's
reasoning_format raw). Only at the start: later tags are the model talking about tags. A tag may be cut anywhere; what
could still become one is held back. Blanks before either part are dropped.
"""

from collections.abc import Callable
from typing import Final

_OPEN: Final = "<think>"
_CLOSE: Final = "</think>"
_BLANKS: Final = 1024  # characters that are held back before a tag: more of them are content

Parts = tuple[str, str]  # reasoning, content


class ThinkTags:
    """Splits one text that comes in pieces. settled: the rest is content, and need not be shown to it."""

    __slots__ = ("_held", "_started", "_step", "settled")

    def __init__(self) -> None:
        self._step: Callable[[str], Parts] = self._before
        self._held = ""  # may become a tag
        self._started = False  # whether the part has more than blanks
        self.settled = False

    def feed(self, text: str) -> Parts:
        """What a piece of text adds to the reasoning and to the content."""
        if self.settled:
            return "", text
        text, self._held = self._held + text, ""
        return self._step(text)

    def end(self) -> Parts:
        """What was held back, when no more text comes."""
        text, self._held = self._held, ""
        return (text, "") if self._step == self._inside else ("", text)

    def _before(self, text: str) -> Parts:
        start = text.lstrip()
        if start.startswith(_OPEN):
            self._step = self._inside
            return self._inside(start[len(_OPEN) :])
        if _OPEN.startswith(start) and len(text) <= _BLANKS:
            self._held = text
            return "", ""
        self.settled = True
        return "", text

    def _inside(self, text: str) -> Parts:
        if not self._started:
            text = text.lstrip()
            self._started = text != ""
        thought, tag, content = text.partition(_CLOSE)
        if tag:
            self._step = self._after
            return thought, self._after(content)[1]
        held = _overlap(thought)
        self._held = thought[len(thought) - held :]
        return thought[: len(thought) - held], ""

    def _after(self, text: str) -> Parts:
        text = text.lstrip()
        self.settled = text != ""
        return "", text


def _overlap(text: str) -> int:
    """How many characters at the end of `text` may be the start of the closing tag."""
    return next((n for n in range(min(len(text), len(_CLOSE) - 1), 0, -1) if _CLOSE.startswith(text[-n:])), 0)


def split(text: str) -> Parts:
    """A whole text → its reasoning and its content."""
    tags = ThinkTags()
    (thought, content), (more_thought, more_content) = tags.feed(text), tags.end()
    return thought + more_thought, content + more_content
