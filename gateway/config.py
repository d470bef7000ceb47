"""Read config.yaml: a checked configuration, or every mistake in it.

`load` is given the text, the environment and the model facts; it reads no file and no environment variable itself.
"""

import hashlib
import re
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from ipaddress import ip_address
from typing import Any, Final
from urllib.parse import urlsplit

import msgspec

from dialects.chat.request import wrong_default
from dialects.passing import OPERATIONS
from providers import PROVIDERS
from providers.contract import Upstream
from providers.errors import Unsupported
from providers.hosts import HOSTS, PLAIN, Host, effective_fields, endpoint, key_header
from providers.models import ModelTable
from providers.openai.messages import SHORTENED

from .addresses import wrong_host
from .config_schema import (
    Config,
    KeyConfig,
    ProviderConfig,
    RouteConfig,
    ServerConfig,
    SharedStateConfig,
    TargetConfig,
)
from .key_file import KEY_FILE, KeyFile
from .limits import KINDS, Limits
from .proxies import FROM_ENVIRONMENT, from_environment, password, wrong_proxy
from .routing import ModelRouter, places, route_of
from .scrub import Scrubber
from .secret_checks import SHORTEST, wrong_digest, wrong_key, wrong_name
from .yaml_reader import ConfigError, YamlReader, guess, lines_of

__all__ = ["Caller", "ConfigError", "Settings", "load", "server_of"]

_PRINTABLE = re.compile(r"[\x21-\x7e]+")
# Names of private networks (RFC 6762, 8375, ICANN's .internal) and reserved names (RFC 6761).
_NEAR = (".localhost", ".local", ".internal", ".lan", ".home.arpa", ".test", ".invalid")
# Ends of URLs that each request adds to base_url; people paste the whole URL from a provider's documentation.
_ENDPOINT = re.compile(
    rf"/(chat/completions|embeddings|responses|messages/count_tokens|messages|models/[^/]+:\w+"
    rf"|{'|'.join(operation.name for operation in OPERATIONS)})$",
    re.I,
)
ANYONE: Final = "anyone"  # the name of callers when no keys are configured


@dataclass(frozen=True, slots=True)
class Caller:
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


@dataclass(frozen=True, slots=True)
class Settings:
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
    proxies: Mapping[str, str] = field(default_factory=dict)
    discovers: frozenset[str] = frozenset()  # providers whose list of models is read

    def secrets(self) -> set[str]:
        """Return all keys that the configuration holds in the clear, of upstreams and of clients."""
        upstream_keys = {key for upstream in self.providers.values() for key in (upstream.api_key, *upstream.api_keys)}
        proxies = {password(proxy) for proxy in self.proxies.values()}
        return (upstream_keys | proxies | {key.key for key in self.config.keys}) - {""}

    def scrubber(self) -> Scrubber:
        """Return a scrubber that removes these secrets from a text."""
        return Scrubber(self.secrets(), [upstream.base_url for upstream in self.providers.values()])


def load(
    text: str,
    environment: Mapping[str, str],
    facts: str,
    source: str = "config.yaml",
    local: str = "",
    key_file: str = "",
) -> Settings:
    """Read and check a configuration.

    text: the YAML; environment: values for ${NAME}; facts: the text of providers/models.yaml; source: the name of the
    file in messages; local: the text of models.local.yaml, if there is one; key_file: that of keys.yaml. Raises ConfigError
    with every mistake found.
    """
    reader, file_reader = YamlReader(text, environment), YamlReader(key_file, {}, KEY_FILE)
    config, file = reader.read(Config), file_reader.read(KeyFile)
    if config is None:
        raise ConfigError(source, [*reader.problems, *file_reader.problems])
    keys: dict[str, Caller] = {}
    _add_keys(keys, config.keys, config, reader)
    if file is not None:
        _add_keys(keys, file.keys, config, file_reader)
        for i, key in enumerate(file.keys):
            if key.key:
                file_reader.note(
                    f"{file_reader.item('keys', i)}.key",
                    f"this file holds digests only: put the key into {source}, or its digest here as sha256",
                )
    providers, off = _providers(config, reader)
    proxies = _proxies(config, providers, environment, reader)
    discovers = _discovers(config, providers, reader)
    switches = {path for name, given in config.providers.items() for path in _switches(name, given, reader)}
    for path, variable in reader.unset.items():
        if path not in switches:
            reader.note(path, f"the environment variable {variable} is not set")
    _check_models(config, reader)
    _check_defaults(config.defaults, "defaults", reader)
    shared_state = _shared_state(config, reader)
    _check_host(config, reader)
    if config.server.capacity.bytes < config.server.max_body:
        reader.note("server.capacity.bytes", "is less than server.max_body: a body of that size would never fit")
    try:
        models = ModelTable.parse(facts, config.model_facts, local)
    except ValueError as error:
        reader.note("model_facts", str(error))
    if reader.problems or file_reader.problems:
        raise ConfigError(source, [*reader.problems, *file_reader.problems])
    routes = ModelRouter(config.models, config.defaults, providers, off, models)
    written, warnings = _holds_keys(config, reader), lines_of(source, reader.warnings)
    return Settings(config, keys, providers, off, routes, shared_state, written, tuple(warnings), proxies, discovers)


def server_of(text: str, environment: Mapping[str, str], source: str = "config.yaml") -> ServerConfig:
    """Return the section `server` of a configuration. Raises ConfigError for mistakes in it, not for others."""
    reader = YamlReader(text, environment)
    config = reader.read(Config)
    for path, variable in reader.unset.items():
        reader.note(path, f"the environment variable {variable} is not set")
    if config is not None:
        _check_host(config, reader)
    wrong = [problem for problem in reader.problems if problem.path.partition(".")[0] in ("", "server")]
    if config is None or wrong:
        raise ConfigError(source, wrong or reader.problems)
    return config.server


def keys_of(text: str) -> tuple[KeyConfig, ...]:
    """Return the client keys that a configuration holds, as far as it can be read; no variable has its value."""
    config = YamlReader(text, {}).read(Config)
    return config.keys if config else ()


def _check_host(config: Config, reader: YamlReader) -> None:
    if "server.host" not in reader.unset and (wrong := wrong_host(config.server.host)):
        reader.note("server.host", wrong)


def _holds_keys(config: Config, reader: YamlReader) -> bool:
    """Whether the file holds a key in the clear."""
    given = {f"{reader.item('keys', i)}.key": key.key for i, key in enumerate(config.keys)}
    for name, provider in config.providers.items():
        given |= _listed_keys(provider, f"providers.{name}", reader)
        if provider.proxy and not wrong_proxy(provider.proxy):
            given[f"providers.{name}.proxy"] = password(provider.proxy)
    return any(key and path not in reader.expanded for path, key in given.items())


def _add_keys(keys: dict[str, Caller], given: tuple[KeyConfig, ...], config: Config, reader: YamlReader) -> None:
    """Add the callers of a file to `keys`, and note its mistakes. reader: has read the file."""
    names = {caller.name for caller in keys.values()}
    for i, key in enumerate(given):
        path = reader.item("keys", i)
        if key.name in names:
            reader.note(f"{path}.name", f"another key is called '{key.name}' too")
        names.add(key.name)
        if wrong := wrong_name(key.name):
            reader.note(f"{path}.name", wrong)
        if {f"{path}.key", f"{path}.sha256"} & reader.unset.keys():
            continue  # noted with all unset variables
        digest = _digest(key)
        if not digest:
            if key.key or key.sha256 or not reader.wrong(path):
                reader.note(path, "give either 'key' or 'sha256'")
        elif wrong := wrong_key(key.key) if key.key else wrong_digest(digest):
            reader.note(f"{path}.{'key' if key.key else 'sha256'}", wrong)
        elif digest in keys:
            reader.note(path, f"is the same key as '{keys[digest].name}'")
        else:
            keys[digest] = _caller(key, path, config, reader)
            if 0 < len(key.key) < SHORTEST:
                reader.warn(f"{path}.key", f"is shorter than {SHORTEST} characters and can be guessed: see `keys add`")


def _caller(key: KeyConfig, path: str, config: Config, reader: YamlReader) -> Caller:
    counted = {kind.name: getattr(key, kind.name) for kind in KINDS if kind.over != "period"}
    limits = Limits(**counted, budget=round(key.budget_usd * 10**6), period=key.budget_period)
    if limits.budget and not config.usage.path:
        reader.note(
            f"{path}.budget_usd", "a budget must outlive a restart: give usage.path a file, for example usage.db"
        )
    caller = Caller(
        key.name,
        key.models,
        limits if limits.rows else None,
        key.allow_unpriced or not limits.budget,
        _expiry(key.expires, path, reader),
        key.disabled,
        key.admin,
        key.passthrough,
    )
    if caller.passthrough and caller.restricted:
        reader.note(
            f"{path}.passthrough",
            "what passes so is not read, and may use any model: models, tpm and budget_usd of the same key would not hold. "
            "Make a key of its own for it",
        )
    return caller


def _expiry(text: str, path: str, reader: YamlReader) -> float:
    """Return the Unix time at which a key stops working: the end of a day, or a time. Without a zone it is UTC."""
    if not text:
        return 0.0
    try:
        moment = datetime.fromisoformat(text) + timedelta(days=len(text) <= len("2027-01-31"))
    except (ValueError, OverflowError):
        reader.note(f"{path}.expires", 'expected a date or a time such as "2027-01-31" or "2027-01-31T18:00:00Z"')
        return 0.0
    return (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp()


def _shared_state(config: Config, reader: YamlReader) -> SharedStateConfig:
    given = config.shared_state
    state = SharedStateConfig(url=given) if isinstance(given, str) else given
    if state.url and urlsplit(state.url).scheme not in ("redis", "rediss", "unix"):
        path = "shared_state" if isinstance(given, str) else "shared_state.url"
        reader.note(path, "expected an address of Redis such as redis://127.0.0.1:6379/0")
    return state


def _digest(key: KeyConfig) -> str:
    if bool(key.key) == bool(key.sha256):
        return ""
    return key.sha256.lower() or hashlib.sha256(key.key.encode()).hexdigest()


def _providers(config: Config, reader: YamlReader) -> tuple[dict[str, Upstream], dict[str, str]]:
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


def _proxies(
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


def _discovers(config: Config, on: Mapping[str, Upstream], reader: YamlReader) -> frozenset[str]:
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


def _switches(name: str, given: ProviderConfig, reader: YamlReader) -> list[str]:
    """Return the paths of a provider at which an unset variable only switches it off."""
    return [f"providers.{name}.base_url", *_listed_keys(given, f"providers.{name}", reader)]


def _listed_keys(given: ProviderConfig, path: str, reader: YamlReader) -> dict[str, str]:
    """Return the keys of a provider: path → key."""
    path = f"{path}.api_key"
    if isinstance(given.api_key, str):
        return {path: given.api_key}
    return {reader.item(path, i): key for i, key in enumerate(given.api_key)}


def _api_keys(given: ProviderConfig, path: str, reader: YamlReader) -> tuple[tuple[str, ...], list[str]]:
    """Return the keys of a provider that are set, and the environment variables of those that are not."""
    keys: list[str] = []
    lacking: list[str] = []
    for where, key in _listed_keys(given, path, reader).items():
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


def is_near(host: str) -> bool:
    """Whether a host is this machine, an address of a private network, or a name that only such a network has."""
    try:
        address = ip_address(host)
    except ValueError:
        return "." not in host or host.endswith(_NEAR)
    return address.is_loopback or address.is_private or address.is_link_local


def _check_models(config: Config, reader: YamlReader) -> None:
    for public, given in config.models.items():
        targets = places(route_of(given))
        path = f"models.{public}"
        if not targets:
            reader.note(path, "has no target; for example openai/gpt-4o")
        if isinstance(given, RouteConfig):
            _check_defaults(given.defaults, f"{path}.defaults", reader)
        if len({target.weight == 0.0 for target in targets}) > 1:
            reader.note(path, "give each target a 'weight', or none")
        if targets and targets[-1].on and not targets[-1].weight:
            reader.warn(path, f"'on' of the last target, {targets[-1].target}, has no effect: there is no next one")
        for i, (target, _, _) in enumerate(targets):
            name, _, model = target.partition("/")
            if name not in config.providers:
                reader.note(
                    _where(path, given, i, target, reader),
                    f"there is no provider '{name}'{guess(name, config.providers)}",
                )
            elif "*" in model and "*" not in public:
                reader.note(path, f"the target '{target}' has a '*' but the public name has none")
        if public.count("*") > 1:
            reader.note(path, "only one '*' is possible in a public name")


def _check_defaults(defaults: Mapping[str, Any], path: str, reader: YamlReader) -> None:
    for name, value in defaults.items():
        if wrong := wrong_default(name, value):
            reader.note(f"{path}.{name}", wrong)


def _where(
    path: str, given: str | tuple[str | TargetConfig, ...] | RouteConfig, i: int, target: str, reader: YamlReader
) -> str:
    """Return the path of a model's target in the file."""
    match given:
        case str():
            return path
        case RouteConfig(targets=dict()):
            return f"{path}.targets.{target}"
        case RouteConfig():
            return reader.item(f"{path}.targets", i)
    return reader.item(path, i)
