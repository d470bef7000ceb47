"""Find what is wrong with a key or its name in config.yaml: empty, in quotes, a variable that was not replaced.

Each function takes a text of the configuration and returns the message for the operator, "" when nothing is wrong.
No message holds the text.
"""

import hashlib
import re
from typing import Final

LONGEST_NAME: Final = 100
SHORTEST: Final = 16  # characters; a shorter client key can be guessed

_PRINTABLE = re.compile(r"[\x21-\x7e]+")
_DIGEST = re.compile("[0-9a-f]{64}")
_UNFILLED = re.compile(r"\$\w+|.*\$\{.*|%\w+%")
_QUOTED = re.compile("([\"'`]).*\\1", re.DOTALL)
_NOTHING: Final = ("", " ", "\n", "\r\n", " \n", '""', "''", '""\n', "''\n")
_NAMES: Final = ("KEY", "API_KEY", "MODELSERVER_KEY", "NAME", "TOKEN")


def wrong_name(name: str) -> str:
    """Check the name of a client key, which the log, the usage file and the page show."""
    if not name.strip() or name != name.strip():
        return "a key's name may not be empty, or begin or end with a space"
    if not name.isprintable() or len(name) > LONGEST_NAME:
        return f"a key's name may have at most {LONGEST_NAME} characters, and no line ends or control characters"
    return ""


def _sha256(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()


_DIGESTS: Final = {
    **{_sha256(text): "is the digest of nothing: was the variable set?" for text in _NOTHING},
    **{
        _sha256(
            f"{form % name}{end}"
        ): f"is the digest of the text {form % name}: use double quotes in the shell, or none"
        for name in _NAMES
        for form in ("${%s}", "$%s")
        for end in ("", "\n")
    },
}


def wrong_key(key: str) -> str:
    """Check a key given in the clear, of a client or of a provider. key: not empty."""
    if not key.strip():
        return "is empty: was the variable set?"
    if _QUOTED.fullmatch(key):
        return "is in quotes, which would be part of the key: leave them out (docker --env-file keeps them)"
    if not _PRINTABLE.fullmatch(key):
        return "a key may only hold printable ASCII characters, without spaces"
    if _UNFILLED.fullmatch(key):
        return "names a variable that is not replaced: write ${NAME} (letters, digits, _), ${file:PATH} or ${credential:NAME}"
    return ""


def wrong_digest(digest: str) -> str:
    """Check the SHA-256 digest of a client key. digest: in lower case."""
    if not _DIGEST.fullmatch(digest):
        return "expected the 64 hex digits of a SHA-256 digest"
    return _DIGESTS.get(digest, "")
