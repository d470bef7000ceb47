"""Read config.yaml: a checked configuration, or every mistake in it.

`load` is given the text, the environment and the model facts; it reads no file and no environment variable itself. What a
section needs beyond its types is checked by client_keys.py and upstreams.py, and here for the rest.
"""

from collections.abc import Mapping
from typing import Any
from urllib.parse import urlsplit

from dialects.chat.params import wrong_default
from providers.model_table import ModelTable

from .addresses import wrong_host
from .client_keys import add_keys
from .config_schema import Config, KeyConfig, RouteConfig, ServerConfig, SharedStateConfig, TargetConfig
from .key_file import KEY_FILE, KeyFile
from .problems import ConfigError, guess, lines_of
from .proxies import password, wrong_proxy
from .routing import ModelRouter, places, route_of
from .settings import Caller, Settings
from .upstreams import discovering, listed_keys, proxies_of, switch_paths, upstreams_of
from .yaml_reader import YamlReader


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
    add_keys(keys, config.keys, config, reader)
    if file is not None:
        add_keys(keys, file.keys, config, file_reader)
        for i, key in enumerate(file.keys):
            if key.key:
                file_reader.note(
                    f"{file_reader.item('keys', i)}.key",
                    f"this file holds digests only: put the key into {source}, or its digest here as sha256",
                )
    providers, off = upstreams_of(config, reader)
    proxies = proxies_of(config, providers, environment, reader)
    discovers = discovering(config, providers, reader)
    switches = {path for name, given in config.providers.items() for path in switch_paths(name, given, reader)}
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
        given |= listed_keys(provider, f"providers.{name}", reader)
        if provider.proxy and not wrong_proxy(provider.proxy):
            given[f"providers.{name}.proxy"] = password(provider.proxy)
    return any(key and path not in reader.expanded for path, key in given.items())


def _shared_state(config: Config, reader: YamlReader) -> SharedStateConfig:
    given = config.shared_state
    state = SharedStateConfig(url=given) if isinstance(given, str) else given
    if state.url and urlsplit(state.url).scheme not in ("redis", "rediss", "unix"):
        path = "shared_state" if isinstance(given, str) else "shared_state.url"
        reader.note(path, "expected an address of Redis such as redis://127.0.0.1:6379/0")
    return state


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
