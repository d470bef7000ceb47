"""Read the config.yaml of LiteLLM's proxy, as docs.litellm.ai describes it (read on 2026-11-28), and write it as ours.

Keys in the clear are not repeated: a provider's becomes a variable to set, a client's its digest.
"""

from collections.abc import Iterable
from typing import Any

from dialects.chat.params import wrong_default
from providers.contract import Json
from providers.hosts import HOSTS

from .litellm_settings import carry_over
from .litellm_words import (
    ANYWHERE,
    CAUSES,
    COSTS,
    DEFAULTS,
    ELSEWHERE,
    HOSTED,
    LEFT,
    MODES_ELSEWHERE,
    NOT_SERVED,
    PARAMETERS,
    SECTIONS,
    VENDORS,
)
from .providers import INSECURE, Providers, is_open
from .result import Imported, Left
from .shared_words import HOMES, STAR, VERSIONED, Unserved, is_starred_wrongly
from .values import ENVIRONMENT, as_variable, expanded, hostname, list_of, mapping, number


def convert(document: Any) -> Imported:
    """Return our configuration. document: the YAML, read. Raises ValueError for what is none of LiteLLM's."""
    if not isinstance(document, dict) or not isinstance(document.get("model_list") or [], list):
        raise ValueError("this is no config.yaml of LiteLLM's proxy: it has no model_list")  # noqa: TRY004
    return _Conversion(document).run()


class _Conversion:
    """One file on its way. Paths are those of LiteLLM's file."""

    def __init__(self, document: Json) -> None:
        self._document = document
        self._settings = {name: mapping(document.get(name)) for name in SECTIONS}
        self._server: Json = {"port": 4000}
        self._providers = Providers()
        self._config: Json = {"server": self._server, "keys": [], "providers": self._providers.made, "models": {}}
        self._groups: dict[str, list[tuple[str, float]]] = {}  # public name → target, weight
        self._routes: dict[str, Json] = {}  # public name → first_byte, defaults
        self._facts: Json = {}
        self._left: list[Left] = []

    def run(self) -> Imported:
        credentials = {
            str(each.get("credential_name")): mapping(each.get("credential_values"))
            for each in map(mapping, list_of(self._document.get("credential_list")))
        }
        for i, entry in enumerate(list_of(self._document.get("model_list"))):
            self._deployment(mapping(entry), f"model_list[{i}]", credentials)
        self._models()
        carry_over(self._settings, self._config, self._note)
        self._rest()
        if not self._providers.made:
            self._providers.made["echo"] = {}
        if self._facts:
            self._config["model_facts"] = self._facts
        self._config["usage"] = {"path": "usage.db"}
        if not self._config["keys"]:
            del self._config["keys"]
        if not self._config["models"]:
            del self._config["models"]
        self._note("the address", "LiteLLM listens on every address, this server on this machine alone",
                   "Set server.host to 0.0.0.0 once there are keys; the port is LiteLLM's, so clients keep theirs")  # fmt: skip
        return Imported(self._config, self._left)

    def _note(self, path: str, why: str, what_to_do: str) -> None:
        self._left.append(Left(path, why, what_to_do))

    # Deployments

    def _deployment(self, entry: Json, path: str, credentials: dict[str, Json]) -> None:
        params = mapping(entry.get("litellm_params"))
        params = {**credentials.get(str(params.get("litellm_credential_name")), {}), **params}
        info, public = mapping(entry.get("model_info")), str(entry.get("model_name") or params.get("model") or "")
        path = f"{path} {public}"
        try:
            provider, model = self._target(params, path)
        except Unserved as error:
            self._note(path, *error.args)
            return
        if is_starred_wrongly(public, model):
            self._note(path, *STAR)
            return
        weight = next((float(each) for name in ("weight", "rpm", "tpm") if (each := number(params.get(name)))), 1.0)
        self._groups.setdefault(public, []).append((f"{provider}/{model}", weight))
        self._parameters(public, provider, params, path)
        self._price(model, {**params, **info}, path)
        if (mode := str(info.get("mode"))) in MODES_ELSEWHERE:
            self._note(f"{path}.model_info.mode", f"{mode} is another API than chat", MODES_ELSEWHERE[mode])
        if not model:
            self._note(path, "no model is named", "Write the deployment's name behind the slash of its target")

    def _target(self, params: Json, path: str) -> tuple[str, str]:
        """Return the provider, which is added where it is new, and the model's id there. Raises Unserved."""
        named = str(params.get("model") or "")
        vendor, slash, model = named.partition("/")
        if given := params.get("custom_llm_provider"):
            vendor, model = str(given), named.removeprefix(f"{given}/")
        elif not slash or (vendor not in VENDORS and vendor not in NOT_SERVED):
            if named == "*":
                raise Unserved("it stands for every model of every vendor", "Here provider/model is always a public name; "
                                'for bare names write lines such as "gpt-*": openai')  # fmt: skip
            vendor, model = _bare(named), named
        if vendor in NOT_SERVED or vendor not in VENDORS:
            raise Unserved(*NOT_SERVED.get(vendor, (f"'{vendor}' is no vendor that this server knows",
                "If it speaks OpenAI's API add a provider with protocol: openai, base_url and api_key")))  # fmt: skip
        host, variable = VENDORS[vendor]
        if host in ELSEWHERE and model.startswith(ELSEWHERE[host][0]):
            raise Unserved(*ELSEWHERE[host][1])
        base = as_variable(params.get("api_base") or params.get("base_url") or "")
        if not base and vendor in ANYWHERE:
            raise Unserved("it has no api_base", "Add a provider with protocol: openai and its base_url")
        return self._provider(host, variable, base, params, f"{path}.litellm_params"), model

    def _provider(self, host: str, variable: str, base: str, params: Json, path: str) -> str:
        made: Json = {}
        base = base.rstrip("/")
        if host in VERSIONED:
            newer, ending, field, usual = VERSIONED[host]
            base = base or usual
            if base.endswith(ending):
                host = newer
            elif version := params.get("api_version"):
                made["overrides"] = {"query": {field: as_variable(version)}}
        elif base and HOSTED.get(host) and not base.endswith("/v1"):
            base += HOSTED[host]
        if base and (home := HOMES.get(host)) and home not in base:
            made, host = {"protocol": HOSTS[host].protocol, **made}, ""
        if base:
            made["base_url"] = base
            if is_open(base):
                made["allow_insecure"] = True
                self._note(f"{path}.api_base", *INSECURE)
        key = str(params.get("api_key") or "")
        if key.startswith(ENVIRONMENT):
            made["api_key"] = as_variable(key)
        elif key.lower() in ("none", "anything", "dummy"):
            pass
        elif key:
            variable = self._providers.variable(key, variable if host else "", hostname(base) or host)
            made["api_key"] = f"${{{variable}}}"
            self._note(
                f"{path}.api_key", "it stands in the file in the clear", f"Set {variable} to it in the environment"
            )
        elif variable and (not host or HOSTS[host].key_variable):
            made["api_key"] = f"${{{variable}}}"
        if (most := number(params.get("max_parallel_requests"))) and most >= 1:
            made["concurrency"] = int(most)
        if drop := params.get("additional_drop_params"):
            names = [each for each in list_of(drop) if isinstance(each, str)]
            made["overrides"] = {**made.get("overrides", {}), "drop": [*(HOSTS[host].drop if host else ()), *names]}
        return self._providers.add(host, made)

    def _parameters(self, public: str, provider: str, params: Json, path: str) -> None:
        """Carry over what a deployment sets beside its address, and note what cannot be."""
        route = self._routes.setdefault(public, {})
        for name, value in params.items():
            where = f"{path}.litellm_params.{name}"
            if name in PARAMETERS or value is None:
                if known := PARAMETERS.get(name):
                    self._note(where, *known)
            elif name == "stream_timeout" and 1 <= (number(value) or 0) <= 86_400:
                route["first_byte"] = number(value)
            elif name in DEFAULTS and not wrong_default(name, value):
                route.setdefault("defaults", {})[name] = expanded(value)
            elif name not in COSTS:
                self._note(where, "this server has no such setting", "See whether the provider's options have it")

    def _price(self, model: str, given: Json, path: str) -> None:
        facts: Json = {}
        price = {
            ours: round(cost * 1e6, 6)
            for name, ours in COSTS.items()
            if ours and (cost := number(given.get(name))) is not None
        }
        if price:
            facts["price"] = price
        if (context := number(given.get("max_input_tokens"))) and context >= 1:
            facts["context"] = int(context)
        if facts and model:
            self._facts[model] = facts

    # Models

    def _models(self) -> None:
        """Write the groups, with their fallbacks behind them, and their other names."""
        fallbacks = self._fallbacks("fallbacks")
        causes = {cause: self._fallbacks(name) for name, cause in CAUSES.items()}
        general = fallbacks.pop("*", [])
        for public, group in self._groups.items():
            on = [cause for cause, others in causes.items() if public in others]
            others = [*fallbacks.pop(public, general), *(other for cause in on for other in causes[cause][public])]
            self._route(public, self._targets(public, group, self._behind(public, others), on))
        for public in fallbacks:
            self._note(f"fallbacks of {public}", "no model of that name was carried over", "Write it under models")
        for alias, given in mapping(self._settings["router_settings"].get("model_group_alias")).items():
            of = str(mapping(given).get("model") if isinstance(given, dict) else given)
            if of in self._config["models"]:
                self._config["models"][str(alias)] = self._config["models"][of]
            else:
                self._note(f"model_group_alias.{alias}", f"no model {of} was carried over", "Write it under models")

    def _targets(self, public: str, group: list[tuple[str, float]], behind: list[str], on: list[str]) -> Any:
        """Return the targets of a group: shared by weight, or in order where others come behind them."""
        own = list(dict.fromkeys(target for target, _ in group))
        if not behind:
            shared = {each: sum(weight for target, weight in group if target == each) for each in own}
            return shared if len(own) > 1 else own
        if len(own) > 1:
            self._note(f"model_name {public}", "targets are shared by weight or tried in order, and this group has fallbacks",
                       "It is tried in order")  # fmt: skip
        if on:
            self._note(f"fallbacks of {public} for {' and '.join(on)}", "what is asked for a cause is asked after failures too",
                       "See `on` in config.yaml")  # fmt: skip
        long = [{"target": each, "on": on} if on else each for each in own]
        return [*long, *(each for each in dict.fromkeys(behind) if each not in own)]

    def _route(self, public: str, targets: Any) -> None:
        route = {name: value for name, value in self._routes.get(public, {}).items() if value}
        if route or isinstance(targets, dict):
            self._config["models"][public] = {"targets": targets, **route}
        else:
            self._config["models"][public] = targets[0] if targets[1:] == [] else targets

    def _fallbacks(self, kind: str) -> dict[str, list[str]]:
        """Return the fallbacks of one kind: public name → public names; * for all that have none of their own."""
        found: dict[str, list[str]] = {}
        for section in ("litellm_settings", "router_settings"):
            for each in list_of(self._settings[section].get(kind)):
                for public, others in mapping(each).items():
                    found[str(public)] = [other for other in list_of(others) if isinstance(other, str)]
            if kind == "fallbacks" and (general := list_of(self._settings[section].get("default_fallbacks"))):
                found.setdefault("*", [str(other) for other in general])
        return found

    def _behind(self, public: str, others: Iterable[str]) -> list[str]:
        targets: list[str] = []
        for other in others:
            if other not in self._groups:
                self._note(
                    f"fallbacks of {public}", f"no model {other} was carried over", "Add its target behind the others"
                )
            elif other != public:
                targets += [target for target, _ in self._groups[other]]
        return targets

    def _rest(self) -> None:
        """Note every setting that no line above has carried over."""
        for section, carried in SECTIONS.items():
            for name, value in self._settings[section].items():
                if name in carried or value in (None, False, [], {}):
                    continue
                why = LEFT.get(
                    name, ("this server has no such setting", "Nothing, unless something is missed: see config.yaml")
                )
                named = f" ({', '.join(map(str, value))})" if "callback" in name and isinstance(value, list) else ""
                self._note(f"{section}.{name}{named}", *why)
        for section in self._document:
            if section not in SECTIONS and section not in ("model_list", "credential_list"):
                why = LEFT.get(
                    section, ("this server has no such section", "Nothing, unless something is missed: see config.yaml")
                )
                self._note(str(section), *why)


def _bare(model: str) -> str:
    """Return the vendor of a model that is named without one, as LiteLLM guesses it."""
    begins = (("claude", "anthropic"), ("gemini", "vertex_ai"), ("command", "cohere"), ("deepseek", "deepseek"))
    return next((vendor for begin, vendor in begins if model.startswith(begin)), "openai")
