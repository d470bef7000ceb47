"""The fields of a new client key as a person writes them, for the command line and the page alike.

Each function returns the value of a text, or raises ValueError with a sentence that says what was expected.
"""

import re
from collections.abc import Callable, Mapping
from typing import Any, Final, get_args

from .secret_checks import wrong_name
from .spending import Period

PERIODS: Final[tuple[Period, ...]] = get_args(Period)


def name(text: str) -> str:
    """Return the name of a key."""
    if wrong := wrong_name(text):
        raise ValueError(wrong)
    return text


def models(text: str) -> list[str]:
    """Return the names and patterns of models between commas."""
    found = [each.strip() for each in text.split(",")]
    if not all(found) or not text.isprintable():
        raise ValueError("expected names of models such as 'gpt-*,echo'")
    return found


def count(text: str) -> int:
    """Return a whole number that is a limit."""
    if text.isascii() and text.isdigit() and 0 < int(text) <= 10**9:
        return int(text)
    raise ValueError(f"expected a number from 1 to 1000000000, but got {text!r}")


def dollars(text: str) -> float:
    """Return US dollars that are a limit."""
    if re.fullmatch(r"\d{1,6}(\.\d{1,6})?", text, re.ASCII) and 0 < float(text) <= 100_000:
        return float(text)
    raise ValueError(f"expected dollars such as 5 or 0.50, up to 100000, but got {text!r}")


def period(text: str) -> str:
    """Return the period of a budget."""
    if text not in PERIODS:
        raise ValueError(f"expected one of {', '.join(PERIODS)}, but got {text!r}")
    return text


def day(text: str) -> str:
    """Return a date or a time as it is: the configuration checks it."""
    return text


# Fields of KeyConfig that a new key may be given, beside the flags.
FIELDS: Final[Mapping[str, Callable[[str], Any]]] = {
    "models": models,
    "rpm": count,
    "tpm": count,
    "concurrency": count,
    "budget_usd": dollars,
    "budget_period": period,
    "expires": day,
}
FLAGS: Final = ("allow_unpriced", "admin", "passthrough")
