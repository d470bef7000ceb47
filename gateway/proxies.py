"""Find the proxy through which a provider is reached: the one that config.yaml names, or that of the environment."""

import re
from collections.abc import Mapping
from ipaddress import ip_address, ip_network
from typing import Final
from urllib.parse import unquote, urlsplit

FROM_ENVIRONMENT: Final = "env"
_EXPECTED: Final = "expected env, or the address of an HTTP proxy such as http://proxy.example.com:3128"
_PLACE = re.compile(r"(.*?)(?::(\d+))?")  # a host name and a port


def wrong_proxy(proxy: str) -> str:
    """Return what is wrong with a proxy's address, "" for nothing."""
    try:
        parts = urlsplit(proxy)
        good = parts.scheme == "http" and parts.hostname and parts.port != 0 and parts.path in ("", "/")
    except ValueError:  # a port that is no number
        good = False
    return "" if good and proxy.isascii() and proxy.isprintable() else _EXPECTED


def password(proxy: str) -> str:
    """Return the password in a proxy's address, "" for none."""
    return unquote(urlsplit(proxy).password or "")


def from_environment(url: str, environment: Mapping[str, str]) -> str:
    """Return the proxy that the environment has for a URL, "" for none.

    HTTPS_PROXY, HTTP_PROXY and ALL_PROXY name it, in lower or upper case; NO_PROXY lists hosts that are reached without:
    names with all below them, addresses, networks (10.0.0.0/8), each with a port or without, or *. This machine always is.
    """
    parts = urlsplit(url)
    host, port = (parts.hostname or "").rstrip("."), parts.port or (443 if parts.scheme == "https" else 80)
    proxy = _variable(environment, f"{parts.scheme}_proxy") or _variable(environment, "all_proxy")
    exempt = _variable(environment, "no_proxy").replace(",", " ").lower().split()
    if not proxy or _is_loopback(host) or any(_matches(rule, host, port) for rule in exempt):
        return ""
    return proxy if "://" in proxy else f"http://{proxy}"


def _variable(environment: Mapping[str, str], name: str) -> str:
    return (environment.get(name) or environment.get(name.upper()) or "").strip()


def _is_loopback(host: str) -> bool:
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return host == "localhost" or host.endswith(".localhost")


def _matches(rule: str, host: str, port: int) -> bool:
    if rule == "*":
        return True
    try:
        address = ip_address(host)
    except ValueError:
        found = _PLACE.fullmatch(rule)
        assert found
        name = found[1].removeprefix("*").strip(".")
        return found[2] in (None, str(port)) and bool(name) and f".{host}".endswith(f".{name}")
    if rule in (f"{host}:{port}", f"[{host}]:{port}"):
        return True
    try:
        return address in ip_network(rule.strip("[]"), strict=False)
    except ValueError:
        return False
