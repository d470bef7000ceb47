"""Explain a YAML parser's error to the person who wrote the file: which line it is about, and what to write there.

The messages quote nothing of the file, which may hold keys.
"""

import re
from collections.abc import Iterable
from typing import Any, Final, NamedTuple

import yaml

COMMENT: Final = "a # behind a space begins a comment: put the text in quotes if it belongs to it"
COLON: Final = "write a space after the colon"

_SPACE_MISSING = re.compile(r"\s*(?:- +)?[\w.-]+:[^\s/]")  # `port:8080`, but not `http://…`
_OTHER_COLON = re.compile(r"\s*(?:- +)?[\w.-]+\uff1a")


class _Mistake(NamedTuple):
    """A usual mistake. said: the parser's message. line: how the line looks, with NUL before the character it stopped at.

    about: the line that the message names: the one where the parser stopped, the one where the construct began that it
    was reading (context), or the one above. The two patterns are searched for; `line` is matched against the line named.
    """

    said: str
    line: str
    message: str
    about: str = "problem"


# The first that fits. A pattern for the line has at most one unbounded repetition before what it looks for.
_MISTAKES: Final = tuple(
    _Mistake(*each)
    for each in (
        ("", "\ufeff", "a byte order mark (U+FEFF) stands in this line: remove it"),
        ("", r"^[ \0]*\t", "the line is indented with a tab; YAML takes spaces only"),
        ("start any token", r"\0\t", "a tab stands where YAML takes spaces only"),
        ("start any token", "", "a text that begins with @, % or ` must be in quotes"),
        ("scanning a directive", "", "a text that begins with % must be in quotes"),
        ("scanning an (?:alias|anchor)", "", "a text that begins with * or & must be in quotes", "context"),
        ("scanning a tag", "", "a text that begins with ! must be in quotes", "context"),
        ("scanning a block scalar", "", "a text that begins with | or > must be in quotes", "context"),
        (
            "quoted scalar.*(?:escape|hex)",
            "",
            "a backslash in double quotes begins an escape: use single quotes, or write it twice",
        ),
        ("quoted scalar", "", "the quote that begins in this line is not closed", "context"),
        ("", r"\$\0\{", 'put "${NAME}" in quotes: inside { } and [ ] YAML does not take it without them'),
        ("expected (?:key|',')", r"""["']\0""", "a text goes on behind its closing quote: write a quote inside "
         "'single' quotes twice, and one inside \"double\" quotes with a backslash"),
        ("simple key", r" #", COMMENT, "context"),
        ("simple key", _SPACE_MISSING.pattern, COLON, "context"),
        ("simple key", "", "expected `key: value`: is the colon missing?", "context"),
        ("mapping values", _SPACE_MISSING.pattern, COLON, "above"),
        ("mapping values", _OTHER_COLON.pattern, "the colon is a full-width one (\uff1a): write `:` and a space", "above"),
        ("mapping values", r"^\s*-[^\s-]", "write a space after the dash", "above"),
        ("mapping values", r":\s.*\0", "a text that holds a colon and a space, or ends in a colon, must be in quotes"),
        ("mapping values", "", "the line above is no complete `key: value`, or this one is indented too far"),
        ("expected key", r"^\s*[\w.-]+:[\[{\"']", COLON),
        ("expected key", r"\0[}\]]", "a } or ] closes nothing"),
        ("expected key", r"^[^'\"]* #\S", COMMENT, "above"),
        ("expected key", "", "the line is indented unlike those above: keys of one section begin in the same column"),
        ("'-' indicator", "", "expected `- ` in the column of the items above, or another indentation"),
        ("another document", "", "a line of --- begins a second document: the configuration is one"),
        ("<document start>", "", "expected lines of `key: value`; lines such as [section] are not YAML's"),
        ("expected ','", r"\0[}\]]", "a { is closed by a ], or a [ by a }"),
        (
            "expected ','",
            r"\0\S",
            "a comma is missing between two entries, or quotes around a text that holds one of { } [ ] , :",
        ),
    )
)  # fmt: skip


def explained(error: yaml.MarkedYAMLError, text: str) -> tuple[int, str]:
    """Return the line that the mistake is in, and a message."""
    problem, context = error.problem_mark or error.context_mark, error.context_mark or error.problem_mark
    lines = lines_in(text)
    said = f"{error.context or ''}: {error.problem or ''}"
    numbers = {"problem": line_of(problem), "context": line_of(context), "above": _above(lines, line_of(problem))}
    shown = {about: lines[number - 1] if number <= len(lines) else "" for about, number in numbers.items()}
    if problem is not None:
        shown["problem"] = f"{shown['problem'][: problem.column]}\0{shown['problem'][problem.column :]}"
    quote, bracket = _spans(text)
    if quote and "quoted scalar" not in said:
        return quote[0], f"the quote that begins here ends in line {quote[1]}; is one missing before?"
    if "parsing a flow" in said and (numbers["problem"] > numbers["context"] or "node content" in said) and bracket:
        return bracket, "the { or [ that begins in this line is not closed"
    for each in _MISTAKES:
        if re.search(each.said, said) and re.search(each.line, shown[each.about]):
            return numbers[each.about], each.message
    return numbers["problem"], error.problem or error.context or "it cannot be read"


def hint(text: str) -> str:
    """Return what is probably wrong with a text that stands where `key: value` is wanted, "" where nothing is known."""
    if _SPACE_MISSING.match(text):
        return f"; {COLON}"
    if _OTHER_COLON.match(text):
        return "; the colon is a full-width one (\uff1a): write `:` and a space"
    if re.match(r"\s*\w+\s*=", text):
        return "; write `key: value`, not `key = value`"
    return ""


def lines_in(text: str) -> list[str]:
    """Return the lines of a text as YAML counts them."""
    return re.split("\r\n|[\r\n\x85\u2028\u2029]", text)


def line_of(mark: Any) -> int:
    """Return the number of a mark's line, counted from 1."""
    return mark.line + 1 if mark else 1


def _above(lines: list[str], number: int) -> int:
    """Return the number of the last line before this one that is neither empty nor a comment."""
    for above in range(number - 1, 0, -1):
        if lines[above - 1].strip() and not lines[above - 1].lstrip().startswith("#"):
            return above
    return number


def _spans(text: str) -> tuple[tuple[int, int] | None, int]:
    """Return the lines of the last quoted text that spans several, and the line of the last bracket that is not closed."""
    quote, brackets = None, list[int]()
    try:
        for token in _tokens(text):
            match token:
                case yaml.ScalarToken(style="'" | '"'):
                    first, last = line_of(token.start_mark), line_of(token.end_mark)
                    quote = (first, last) if last > first else quote
                case yaml.FlowMappingStartToken() | yaml.FlowSequenceStartToken():
                    brackets.append(line_of(token.start_mark))
                case yaml.FlowMappingEndToken() | yaml.FlowSequenceEndToken() if brackets:
                    brackets.pop()
    except yaml.YAMLError:
        pass
    return quote, brackets[-1] if brackets else 0


def _tokens(text: str) -> Iterable[yaml.Token]:
    return yaml.scan(text, Loader=yaml.CSafeLoader)
