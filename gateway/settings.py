"""A configuration that has been checked: its settings, and the owners of its client keys."""

from collections.abc import Mapping
from typing import Final

import msgspec

from providers.contract import Upstream

from .config_schema import Config, SharedStateConfig
from .limits import Limits
from .proxies import password
from .routing import ModelRouter
from .scrub import Scrubber

ANYONE: Final = "anyone"  # the name of callers when no keys are configured


class Caller(msgspec.Struct, frozen=True):
    """The owner of a client key: its name and rights, never the key itself."""

    name: str
    models: tuple[str, ...] = ("*",)
    limits: Limits | None = None
    allow_unpriced: bool = True  # may use models whose price is unknown
    expires: float = 0.0  # Unix time; 0: never
    disabled: bool = False
    admin: bool = False
    passthrough: bool = False  # may call any path of a provider

    @property
    def restricted(self) -> bool:
        """Whether this key may not use every model, or has a budget or a tpm: see gateway/restricted_fields.py."""
        return "*" not in self.models or (self.limits is not None and self.limits.need_estimate)


class Settings(msgspec.Struct, frozen=True):
    """A checked configuration. keys: SHA-256 hex digest → caller; none: anyone may call, on loopback only.

    off: provider → the environment variable it lacks. written: whether the file holds a key, rather than a variable's name.
    proxies: provider → the proxy it is reached through. warnings: one line for each thing that is allowed and probably a mistake.
    """

    config: Config
    keys: Mapping[str, Caller]
    providers: Mapping[str, Upstream]
    off: Mapping[str, str]
    routes: ModelRouter
    shared_state: SharedStateConfig = SharedStateConfig()
    written: bool = False
    warnings: tuple[str, ...] = ()
    proxies: Mapping[str, str] = {}
    discovers: frozenset[str] = frozenset()  # providers whose list of models is read

    def secrets(self) -> set[str]:
        """Return all keys that the configuration holds in the clear, of upstreams and of clients."""
        upstream_keys = {key for upstream in self.providers.values() for key in (upstream.api_key, *upstream.api_keys)}
        proxies = {password(proxy) for proxy in self.proxies.values()}
        return (upstream_keys | proxies | {key.key for key in self.config.keys}) - {""}

    def scrubber(self) -> Scrubber:
        """Return a scrubber that removes these secrets from a text."""
        return Scrubber(self.secrets(), [upstream.base_url for upstream in self.providers.values()])
