"""Texts for people, and for programs that people read."""

from datetime import UTC, datetime


def counted(number: int, noun: str) -> str:
    """Return a number with its noun, in the plural where that is right. noun: in the singular, with a plural in -s."""
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"


def moment(at: float) -> str:
    """Return a Unix time as ISO 8601, to the second."""
    return f"{datetime.fromtimestamp(at, UTC):%Y-%m-%dT%H:%M:%SZ}"
