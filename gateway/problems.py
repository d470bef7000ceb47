"""What is wrong with a configuration: each mistake with its line, and the error that holds all of them."""

from collections.abc import Iterable
from typing import NamedTuple

from providers.near_words import closest


class Unreadable(Exception):
    """An environment raises it where the file that a name stands for cannot be read. The message is for the operator."""


class Problem(NamedTuple):
    """One mistake: where it is and what to do about it. source: the name of its file, "" for the configuration."""

    line: int
    path: str
    message: str
    source: str = ""


class ConfigError(Exception):
    """The configuration cannot be used. problems: all mistakes, in the order of the file, then those of other files."""

    def __init__(self, source: str, problems: Iterable[Problem]) -> None:
        self.problems = sorted(problems, key=lambda problem: (problem.source, problem))
        super().__init__("\n".join(lines_of(source, self.problems)))


def lines_of(source: str, problems: Iterable[Problem]) -> list[str]:
    """Return one line for each problem. source: the name of the configuration's file."""
    return [f"{p.source or source}:{p.line}: {p.path + ': ' if p.path else ''}{p.message}" for p in problems]


def guess(word: str, known: Iterable[str]) -> str:
    """Return "; did you mean 'x'?" for the known word closest to `word`, "" where none is close."""
    close = closest(word, known)
    return f"; did you mean '{close}'?" if close else ""
