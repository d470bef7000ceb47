"""The URL of a call, and the header with its key, as a row of hosts.py says."""

from collections.abc import Mapping
from functools import lru_cache
from types import MappingProxyType
from urllib.parse import quote

from .hosts import Host


def endpoint(
    host: Host,
    base_url: str,
    model: str,
    operation: str = "chat/completions",
    query: Mapping[str, str] = MappingProxyType({}),
) -> str:
    """Return the URL of an operation (chat/completions, embeddings, responses) for a model at base_url.

    query: parameters beside those of the host.
    """
    return _url(host.path, (*host.query.items(), *query.items()), base_url, model, operation)


def with_query(url: str, query: str) -> str:
    """Return a URL with a client's query behind the parameters that it has. query: as it came, "" for none."""
    return f"{url}{'&' if '?' in url else '?'}{query}" if query else url


@lru_cache(1024)
def _url(path: str, query: tuple[tuple[str, str], ...], base_url: str, model: str, operation: str) -> str:
    path = path.format(operation=operation, model=quote(model, safe=""))
    asked = "&".join(f"{quote(name)}={quote(value)}" for name, value in query)
    return base_url.rstrip("/") + path + (f"?{asked}" if asked else "")


def key_header(host: Host, key: str) -> dict[str, str]:
    """The header that authenticates a call, if there is a key."""
    name, _, value = host.auth.partition(": ")
    return {name: value.format(key=key)} if key else {}
