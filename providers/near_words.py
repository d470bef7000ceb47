"""Of words that are known, the one that was probably meant."""

from collections.abc import Iterable


def closest(word: str, known: Iterable[str], likeness: float = 0.6) -> str:
    """Return the known word that is most like this one, "" where none is by so much (0 to 1)."""
    import difflib  # here, since only mistakes need it: 0.2 MB

    return next(iter(difflib.get_close_matches(word, list(known), 1, likeness)), "")
