"""Check the providers of a configuration: from their sections to upstreams, and the proxies that these are reached through."""

import re
from collections.abc import Mapping
from typing import Any
from urllib.parse import urlsplit

import msgspec
from msgspec.structs import replace

from dialects.passing import OPERATIONS
from providers import PROVIDERS
from providers.contract import Upstream
from providers.endpoints import endpoint, key_header
from providers.errors import Unsupported
from providers.hosts import HOSTS, PLAIN, Host, effective_fields
from providers.openai.messages import SHORTENED

from .addresses import is_near
from .config_schema import Config, ProviderConfig
from .problems import guess
from .proxies import FROM_ENVIRONMENT, from_environment, wrong_proxy
from .secret_checks import wrong_key
from .yaml_reader import YamlReader

_PRINTABLE = re.compile(r"[\x21-\x7e]+")
# Ends of URLs that each request adds to base_url; people paste the whole URL from a provider's documentation.
_ENDPOINT = re.compile(
    rf"/(chat/completions|embeddings|responses|messages/count_tokens|messages|models/[^/]+:\w+"
    rf"|{'|'.join(operation.name for operation in OPERATIONS)})$",
    re.I,
)


def upstreams_of(config: Config, reader: YamlReader) -> tuple[dict[str, Upstream], dict[str, str]]:
    """Return the providers that are on, as upstreams without a model, and the variables that the others lack."""
    on: dict[str, Upstream] = {}
    off: dict[str, str] = {}
    for name, given in config.providers.items():
        path = f"providers.{name}"
        if "/" in name or "*" in name:
            reader.note(path, "a provider's name may not hold '/' or '*'")
            continue
        host = _host_of(name, given, path, reader)
        if host is None:
            continue
        api_keys, lacking = _api_keys(given, path, reader)
        unset = [variable] if (variable := reader.unset.get(f"{path}.base_url")) else []
        if lacking and not api_keys:
            unset.append(" or ".join(lacking))
        if unset:
            off[name] = " and ".join(unset)
            continue
        if not api_keys and host.key_variable and not reader.wrong(path):
            reader.note(path, f"the key 'api_key' is missing; for example \"${{{host.key_variable}}}\"")
        _check_options(given.options, host.protocol, f"{path}.options", reader)
        base_url = (given.base_url or host.base_url).rstrip("/")
        if host.remote and not reader.wrong(f"{path}.base_url") and _check_url(base_url, f"{path}.base_url", reader):
            _check_insecure(base_url, given, path, reader)
            _check_ending(base_url, host, path, reader)
        on[name] = Upstream(
            name,
            "",
            base_url,
            api_keys[0] if api_keys else "",
            row=given.host or (name if name in HOSTS else ""),
            host=host,
            reasoning=given.reasoning,
            options=given.options,
            finish_seconds=given.finish_seconds if given.on_disconnect == "finish" else 0.0,
            api_keys=api_keys if len(api_keys) > 1 else (),
            cache=given.cache == "on",
        )
    return on, off


def proxies_of(
    config: Config, on: Mapping[str, Upstream], environment: Mapping[str, str], reader: YamlReader
) -> dict[str, str]:
    """Return the proxies: provider → proxy, for those that are reached through one."""
    proxies: dict[str, str] = {}
    for name, upstream in on.items():
        proxy, path = config.providers[name].proxy, f"providers.{name}.proxy"
        if not proxy or path in reader.unset or not upstream.base_url:
            continue
        if proxy == FROM_ENVIRONMENT:
            proxy = from_environment(upstream.base_url, environment)
        if wrong := wrong_proxy(proxy) if proxy else "":
            reader.note(path, wrong)
        elif proxy:
            proxies[name] = proxy
    return proxies


def discovering(config: Config, on: Mapping[str, Upstream], reader: YamlReader) -> frozenset[str]:
    """Return the providers whose list of models is to be read."""
    found = set()
    for name, upstream in on.items():
        wanted = config.providers[name].models
        if wanted == "discover" or (wanted == "auto" and upstream.host.discover):
            found.add(name)
        if wanted == "discover":
            try:
                PROVIDERS[upstream.host.protocol].build_models(upstream)
            except Unsupported:
                reader.note(f"providers.{name}.models", "this provider has no list of models to discover")
    return frozenset(found)


def switch_paths(name: str, given: ProviderConfig, reader: YamlReader) -> list[str]:
    """Return the paths of a provider at which an unset variable only switches it off."""
    return [f"providers.{name}.base_url", *listed_keys(given, f"providers.{name}", reader)]


def listed_keys(given: ProviderConfig, path: str, reader: YamlReader) -> dict[str, str]:
    """Return the keys of a provider: path → key."""
    path = f"{path}.api_key"
    if isinstance(given.api_key, str):
        return {path: given.api_key}
    return {reader.item(path, i): key for i, key in enumerate(given.api_key)}


def _api_keys(given: ProviderConfig, path: str, reader: YamlReader) -> tuple[tuple[str, ...], list[str]]:
    """Return the keys of a provider that are set, and the environment variables of those that are not."""
    keys: list[str] = []
    lacking: list[str] = []
    for where, key in listed_keys(given, path, reader).items():
        if variable := reader.unset.get(where):
            lacking.append(variable)
            continue
        if wrong := wrong_key(key) if key else "":
            reader.note(where, wrong)
        if key:
            keys.append(key)
    return tuple(dict.fromkeys(keys)), lacking


def _host_of(name: str, given: ProviderConfig, path: str, reader: YamlReader) -> Host | None:
    """Return a provider's host: a row of the host table with the provider's overrides. Notes a mistake and returns None."""
    if given.host and given.host not in HOSTS:
        reader.note(f"{path}.host", f"there is no host '{given.host}'{guess(given.host, HOSTS)}")
        return None
    if given.protocol and given.protocol not in PROVIDERS:
        known = ", ".join(PROVIDERS)
        reader.note(f"{path}.protocol", f"expected one of {known}{guess(given.protocol, PROVIDERS)}")
        return None
    host = HOSTS.get(given.host or name)
    if host is None and not given.protocol:
        reader.note(path, f"unknown provider: give a 'protocol' ({', '.join(PROVIDERS)}){guess(name, HOSTS)}")
        return None
    if host is None or (given.protocol and given.protocol != host.protocol):
        host = PLAIN[given.protocol]
    if given.responses != "auto":
        host = replace(host, responses_native=given.responses == "native")
    if given.overrides:
        host = replace(host, **given.overrides)
        _check_overrides(given.overrides, host, f"{path}.overrides", reader)
    return host


def _check_overrides(given: Mapping[str, Any], host: Host, path: str, reader: YamlReader) -> None:
    """Note the mistakes in overrides that their types do not show."""
    effective = effective_fields(host.protocol)
    for name in given:
        if name not in effective:
            known = ", ".join(effective)
            reader.note(f"{path}.{name}", f"has no effect with protocol {host.protocol}; only {known} have")
    try:
        endpoint(host, "", "model")
    except (LookupError, ValueError):
        reader.note(f"{path}.path", "may only hold the placeholders {model} and {operation}")
    try:
        right = "key" in key_header(host, "key").popitem()[1] and ": " in host.auth
    except (LookupError, ValueError):
        right = False
    if not right:
        reader.note(f"{path}.auth", 'expected a header with the placeholder {key}, such as "api-key: {key}"')
    try:
        re.compile(host.tool_names)
    except re.error as wrong:
        reader.note(f"{path}.tool_names", f"expected a regular expression, such as [a-zA-Z0-9_-]{{1,64}}: {wrong}")
    if 0 < host.tool_id_length < SHORTENED:
        reader.note(f"{path}.tool_id_length", f"expected at least {SHORTENED}, or 0 for any length")


def _check_options(options: Mapping[str, Any], protocol: str, path: str, reader: YamlReader) -> None:
    known = PROVIDERS[protocol].options
    for name, value in options.items():
        if name not in known:
            named = f"; known are {', '.join(known)}"
            reader.note(f"{path}.{name}", f"unknown option of protocol {protocol}{guess(name, known) or named}")
            continue
        try:
            msgspec.convert(value, known[name])
        except msgspec.ValidationError as error:
            reader.note(f"{path}.{name}", str(error).replace("`", "'"))


def _check_url(url: str, path: str, reader: YamlReader) -> bool:
    """Note what is wrong with a URL; return whether it is one at all."""
    try:
        parts = urlsplit(url)
        good = parts.scheme in ("http", "https") and parts.hostname and parts.port != 0 and _PRINTABLE.fullmatch(url)
    except ValueError:  # a port that is no number, half an IPv6 address
        good = False
    if not url:
        reader.note(path, 'the URL is missing; for example "https://llm.example.com/v1"')
    elif not good:
        reader.note(path, 'expected a URL such as "https://llm.example.com/v1"')
    elif parts.username or parts.query or parts.fragment:
        reader.note(path, "the URL may not hold a user name, a query or a fragment; keys go into 'api_key'")
    return bool(good)


def _check_insecure(url: str, given: ProviderConfig, path: str, reader: YamlReader) -> None:
    """Note http:// to a host outside of private networks, unless allow_insecure: keys and prompts would not be encrypted."""
    parts = urlsplit(url)
    if parts.scheme == "http" and not given.allow_insecure and not is_near(parts.hostname or ""):
        reader.note(
            f"{path}.base_url",
            "http:// would send keys and prompts unencrypted: use https://, or set 'allow_insecure: true'",
        )


def _check_ending(url: str, host: Host, path: str, reader: YamlReader) -> None:
    """Note a URL that already holds the path that each request appends."""
    ending = _ENDPOINT.search(url)
    if ending and "{operation}" in host.path:
        reader.note(f"{path}.base_url", f"ends in {ending[1]}, which is added to it: leave that out")
