"""Read the channels of one-api or new-api and write them as ours.

They come as their API lists them (GET /api/channel/), or as rows of the table `channels`. Keys are not repeated: each becomes a
variable to set.
"""

import json
from collections.abc import Iterable, Mapping
from typing import Any, Final, NamedTuple

from providers.contract import Json
from providers.hosts import HOSTS

from ..proxies import wrong_proxy
from .channel_words import (
    ADDRESS,
    CHAT,
    CUSTOM,
    DOTS_UNTIL,
    ENDING,
    FIELDS,
    GROUPS,
    LONG,
    LONGEST,
    NAMED_BASES,
    NO_WEIGHT,
    NOT_SERVED,
    OFF,
    ORDER,
    UNKNOWN,
    UNKNOWN_TYPE,
    USERS,
    VENDORS,
    WHOLE,
)
from .providers import INSECURE, Providers, is_open
from .result import Imported, Left
from .shared_words import HOMES, STAR, VERSIONED, Unserved, is_starred_wrongly
from .values import hostname, list_of, mapping, number

_DEFAULT: Final = "default"  # the group of users that belong to no other
_ON: Final = 1  # a status
_DUMMIES: Final = frozenset({"", "none", "null", "dummy", "anything", "ollama"})  # keys of hosts that want none
_ENDINGS: Final = ("-thinking", "-nothinking")


class _Place(NamedTuple):
    """A target of a public model."""

    target: str
    groups: tuple[str, ...]
    priority: float
    weight: float


def convert(document: Any, program: str) -> Imported:
    """Return our configuration. document: the JSON, read; program: one-api or new-api.

    Raises ValueError for what holds no channels.
    """
    return _Conversion(program).run(_channels(document))


def _channels(document: Any) -> list[Json]:
    match document:
        case {"data": {"items": list(found)}} | {"data": list(found)} | {"items": list(found)} | list(found):
            channels = [each for each in found if isinstance(each, dict) and "type" in each and "models" in each]
        case _:
            channels = []
    if not channels:
        raise ValueError("it has no channels, each with a `type` and `models`: see the documentation for how to get it")
    return channels


class _Conversion:
    """One file on its way. Paths are the channels' names."""

    def __init__(self, program: str) -> None:
        self._program = program
        self._providers = Providers()
        self._models: dict[str, list[_Place]] = {}  # public name → its targets, in the order of the file
        self._left: list[Left] = []

    def run(self, channels: Iterable[Json]) -> Imported:
        for channel in channels:
            path = f"channel {channel.get('id', '?')} {channel.get('name') or ''}".rstrip()
            try:
                self._channel(channel, path)
            except Unserved as error:
                self._note(path, *error.args)
        models = {public: self._targets(public, found) for public, found in self._models.items()}
        self._note("users, tokens, quotas and prices", *USERS)
        self._note("the address", *ADDRESS)
        config: Json = {"server": {"port": 3000}, "providers": self._providers.made or {"echo": {}}}
        if models:
            config["models"] = models
        return Imported({**config, "usage": {"path": "usage.db"}}, self._left)

    def _note(self, path: str, why: str, what_to_do: str) -> None:
        self._left.append(Left(path, why, what_to_do))

    # Channels

    def _channel(self, channel: Json, path: str) -> None:
        kind, settings = int(number(channel.get("type")) or 0), self._settings(channel)
        if (number(channel.get("status")) or _ON) != _ON:
            raise Unserved(*OFF)
        for name, value in {**channel, **settings}.items():
            if value and name not in FIELDS:
                self._note(f"{path}.{name}", *UNKNOWN)
            elif value and (why := FIELDS[name]) and value != "{}":
                self._note(f"{path}.{name}", *why)
        if kind not in VENDORS[self._program]:
            raise Unserved(*NOT_SERVED[self._program].get(kind, UNKNOWN_TYPE))
        provider = self._provider(channel, settings, kind, path)
        self._serve(channel, provider, kind, path)

    def _settings(self, channel: Json) -> Json:
        """Return what stands in the objects of a channel, which are texts of JSON."""
        return {
            name: value
            for field in ("config", "setting", "settings")
            for name, value in mapping(_object(channel.get(field))).items()
        }

    def _provider(self, channel: Json, settings: Json, kind: int, path: str) -> str:
        host, home, ending = VENDORS[self._program][kind]
        base = str(channel.get("base_url") or home).strip().rstrip("/")
        if kind == CUSTOM and self._program == "new-api":
            if not base.endswith(CHAT):
                raise Unserved(
                    "its address is no /chat/completions",
                    "Add a provider with protocol: openai, base_url and overrides.path",
                )
            base = base.removesuffix(CHAT)
        elif base in NAMED_BASES:
            base = NAMED_BASES[base]
        elif base and not base.endswith(ending) and not base.startswith(WHOLE):
            base += ending
        made: Json = {}
        if host in VERSIONED:
            newer, end, field, _ = VERSIONED[host]
            if base.endswith(end):
                host = newer
            elif version := channel.get("other") or settings.get("api_version"):
                made["overrides"] = {"query": {field: str(version)}}
        if not base:
            raise Unserved("it has no base_url", "Add a provider with protocol: openai and its base_url")
        if (own := HOMES.get(host)) and hostname(base) != own:
            host = ""
        if not host:
            made["protocol"] = "openai"
        if not host or base not in (HOSTS[host].base_url, f"{HOSTS[host].base_url}/v1"):
            made["base_url"] = base
        if is_open(base):
            made["allow_insecure"] = True
            self._note(f"{path}.base_url", *INSECURE)
        self._keys(channel, host, made, path)
        if proxy := str(settings.get("proxy") or ""):
            self._proxy(proxy, made, path)
        return self._providers.add(host, made)

    def _keys(self, channel: Json, host: str, made: Json, path: str) -> None:
        """Give the provider a variable for each of a channel's keys."""
        statuses = mapping(mapping(_object(channel.get("channel_info"))).get("multi_key_status_list"))
        off = {str(at) for at, status in statuses.items() if status != _ON}
        given = [key for at, key in enumerate(_lines(channel.get("key"))) if str(at) not in off]
        usual = HOSTS[host].key_variable if host else ""
        if not given and host and not usual:
            return
        if host and not usual and all(key.lower() in _DUMMIES for key in given):
            return
        keys = given or [f"{path}, whose key is not in the file"]
        place = hostname(made.get("base_url", "")) or host
        variables = list(dict.fromkeys(self._providers.variable(key, usual, place) for key in keys))
        made["api_key"] = f"${{{variables[0]}}}" if len(variables) == 1 else [f"${{{name}}}" for name in variables]
        which = f"{variables[0]} to it" if len(variables) == 1 else f"{', '.join(variables)} to them, in this order"
        self._note(f"{path}.key", "keys do not go from file to file" if given else "the file has no keys, as the API lists none",
                   f"Set {which} in the environment")  # fmt: skip

    def _proxy(self, proxy: str, made: Json, path: str) -> None:
        if wrong_proxy(proxy) or "@" in proxy:
            self._note(f"{path}.setting.proxy", "only HTTP proxies are gone through, and passwords are not repeated",
                       "Write the provider's proxy, with its password from the environment")  # fmt: skip
        else:
            made["proxy"] = proxy

    # Models

    def _serve(self, channel: Json, provider: str, kind: int, path: str) -> None:
        """Add a channel's models, whose other names its mapping tells."""
        others = mapping(_object(channel.get("model_mapping")))
        groups = tuple(name for name in _names(channel.get("group")) if name) or (_DEFAULT,)
        if other := [name for name in groups if name != _DEFAULT]:
            self._note(f"{path}.group ({', '.join(other)})", *GROUPS)
        for public in dict.fromkeys(_names(channel.get("models"))):
            model = _renamed(public, others)
            if len(public) > LONGEST or len(model) > LONGEST:
                self._note(f"{path}.models {public[:40]}", *LONG)
                continue
            if is_starred_wrongly(public, model):
                self._note(f"{path}.models {public}", *STAR)
                continue
            if model.endswith(_ENDINGS) and self._program == "new-api":
                self._note(f"{path}.models {public}", *ENDING)
            if VENDORS[self._program][kind].host in VERSIONED and self._takes_dots_out(channel):
                model = model.replace(".", "")
            place = _Place(
                f"{provider}/{model}", groups, number(channel.get("priority")) or 0, number(channel.get("weight")) or 0
            )
            self._models.setdefault(public, []).append(place)

    def _takes_dots_out(self, channel: Json) -> bool:
        return self._program == "one-api" or (number(channel.get("created_time")) or 0) < DOTS_UNTIL

    def _targets(self, public: str, found: list[_Place]) -> Any:
        """Return the targets of a public model: by priority, or shared where all have the same."""
        places = [place for place in found if _DEFAULT in place.groups] or found
        places.sort(key=lambda place: -place.priority)
        targets = list(dict.fromkeys(place.target for place in places))
        if len(targets) == 1:
            return targets[0]
        if len({place.priority for place in places}) == 1:
            return {"targets": self._shares(public, places)}
        if len({place.priority for place in places}) < len(targets):
            self._note(f"model {public}", *ORDER)
        return targets

    def _shares(self, public: str, places: list[_Place]) -> Mapping[str, float]:
        weighted = self._program == "new-api" and any(place.weight for place in places)
        shares: dict[str, float] = {}
        for place in places:
            if weight := place.weight if weighted else 1:
                shares[place.target] = shares.get(place.target, 0) + weight
            else:
                self._note(f"model {public}, {place.target}", *NO_WEIGHT)
        return shares


def _object(value: Any) -> Any:
    """Return what a text of JSON says; a value that is none as it is."""
    if not isinstance(value, str):
        return value
    try:
        return json.loads(value)
    except (ValueError, RecursionError):
        return None


def _names(value: Any) -> list[str]:
    """Return the names of a list with commas."""
    return [name.strip() for name in str(value or "").split(",") if name.strip()]


def _lines(value: Any) -> list[str]:
    """Return a channel's keys: one, or several in lines or in a list of JSON."""
    text = str(value or "").strip()
    listed = list_of(_object(text)) if text.startswith("[") else text.splitlines()
    return [key.strip() for key in map(str, listed) if key.strip()]


def _renamed(public: str, others: Mapping[str, Any]) -> str:
    """Return the model that a mapping makes of a public name, step by step."""
    model, seen = public, {public}
    while isinstance(other := others.get(model), str) and other.strip() and other not in seen:
        model = other.strip()
        seen.add(model)
    return model
