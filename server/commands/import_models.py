"""`modelserver.py import openrouter`, `import ollama`: ask a host for its models, and print a config.yaml that has them."""

import asyncio
import os
from typing import Final

from gateway.config_schema import ProviderConfig, ServerConfig
from gateway.importing import listed
from gateway.importing.result import Imported
from gateway.scrub import Scrubber
from gateway.settings import Settings
from providers.contract import Upstream
from providers.errors import Failure, UpstreamAuthError
from providers.hosts import HOSTS

from ..config_file import Source
from ..discovery import listed_ids
from ..key_file import Refused
from ..outbound.pool import ConnectionPools

_PATIENCE: Final = 30.0  # seconds for the list, from the first word to the last
_LIMITS: Final = ServerConfig(max_answer=4 * 2**20)  # bytes of it: OpenRouter's has half a megabyte
_TRY: Final = "is it running, and is its base_url right? `python modelserver.py doctor` tries each host"
_UNREACHED: Final = frozenset({"upstream_connect", "upstream_connect_timeout", "upstream_dns", "upstream_tls"})  # codes


def import_models(name: str, source: Source, agent: str) -> Imported:
    """Return the provider of this name, with the models that its host lists.

    It is asked as the configuration has it; one that is off, or is not there, at the address of its row of hosts.py. Raises
    Refused where there is no such provider, ConfigError, and OSError where the list cannot be read.
    """
    settings = source.read()
    upstream = settings.providers.get(name) or _known(name)
    given = settings.config.providers.get(name, ProviderConfig())
    try:
        ids = asyncio.run(_read(upstream, given, settings, agent))
    except TimeoutError:
        raise OSError(f"{upstream.base_url}: no list of models within {_PATIENCE:g} seconds") from None
    except UpstreamAuthError:
        raise OSError(
            f"{upstream.base_url} refuses the key: set {upstream.host.key_variable or 'api_key'} to one it takes"
        ) from None
    except Failure as failure:
        said = Scrubber([upstream.api_key, *upstream.api_keys])(failure.message).rstrip(".")
        raise OSError(f"{upstream.base_url}: {said}{f': {_TRY}' if failure.code in _UNREACHED else ''}") from None
    if not ids:
        raise OSError(f"{upstream.base_url} lists no models")
    return listed.convert(name, upstream.host, upstream.base_url, ids)


def _known(name: str) -> Upstream:
    """Return the upstream that a row of hosts.py describes, with the key of its variable. Raises Refused."""
    host = HOSTS.get(name)
    if host is None or not host.base_url:
        raise Refused(f"there is no provider '{name}' whose models could be listed: name one of config.yaml that is on, or "
                      "one that is known by its address, such as openrouter or ollama")  # fmt: skip
    return Upstream(name, "", host.base_url, os.environ.get(host.key_variable, ""), row=name, host=host)


async def _read(upstream: Upstream, given: ProviderConfig, settings: Settings, agent: str) -> list[str]:
    """Return the ids in the list. Raises Failure, and TimeoutError."""
    http = ConnectionPools({upstream.name: given}, settings.config.server.timeouts, agent, settings.proxies)
    try:
        return await listed_ids(upstream, http, _LIMITS, _PATIENCE)
    finally:
        await http.aclose()
