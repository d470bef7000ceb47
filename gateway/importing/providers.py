"""The providers of a configuration that is being made: each once, under a name of its own, with variables for its keys."""

import re
from typing import Final

from providers.contract import Json
from providers.hosts import HOSTS

from ..addresses import is_near
from .values import hostname

_NAME: Final = re.compile(r"[^a-zA-Z0-9]+")


class Providers:
    """made: the section `providers`, by name."""

    def __init__(self) -> None:
        self.made: dict[str, Json] = {}
        self._keys: dict[str, str] = {}  # variable → the key that stood in the clear

    def variable(self, key: str, usual: str, place: str) -> str:
        """Return a variable to set to this key: the same for the same key, and no other key's.

        usual: the one that the host's documentation names, "" for none; place: a name of the host.
        """
        stem = usual or f"{_NAME.sub('_', place).strip('_').upper()}_API_KEY"
        stem = f"_{stem}" if stem[0].isdigit() else stem
        names = (stem if n == 1 else f"{stem}_{n}" for n in range(1, len(self._keys) + 2))
        return next(name for name in names if self._keys.setdefault(name, key) == key)

    def add(self, host: str, given: Json) -> str:
        """Return the name of the provider with these settings; it is added unless it is there.

        host: the row of HOSTS it begins with, "" for none.
        """
        own = _NAME.sub("-", hostname(given.get("base_url", ""))).strip("-").lower()
        stem = host or (own if own and own not in HOSTS else "own")
        for n in range(1, len(self.made) + 2):
            name = stem if n == 1 else f"{stem}-{n}"
            full = {"host": host, **given} if host and name not in HOSTS else given
            if self.made.setdefault(name, full) == full:
                return name
        raise AssertionError("one of these names is free")


def is_open(base_url: str) -> bool:
    """Whether keys and prompts would go unencrypted to a host that is not near."""
    return base_url.startswith("http://") and not is_near(hostname(base_url))


INSECURE: Final = ("http:// sends keys and prompts unencrypted", "Use https:// and delete allow_insecure")
