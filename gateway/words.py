"""Texts for people."""


def counted(number: int, noun: str) -> str:
    """Return a number with its noun, in the plural where that is right. noun: in the singular, with a plural in -s."""
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"
