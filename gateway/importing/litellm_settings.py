"""LiteLLM's settings of the whole proxy: its master key, bounds, timeouts, cooldown and Redis."""

import hashlib
from collections.abc import Callable, Mapping

from providers.contract import Json

from .values import ENVIRONMENT, as_variable, number

Sections = Mapping[str, Json]
Note = Callable[[str, str, str], None]


def carry_over(sections: Sections, config: Json, note: Note) -> None:
    """Write what of LiteLLM's sections has a place in our configuration into it. note: called with what has none."""
    _general(sections, config)
    _limits(sections, config["server"])
    _state(sections, config, note)


def _general(sections: Sections, config: Json) -> None:
    general = sections["general_settings"]
    if master := str(general.get("master_key") or ""):
        key = (
            {"key": as_variable(master)}
            if master.startswith(ENVIRONMENT)
            else {"sha256": hashlib.sha256(master.encode()).hexdigest()}
        )
        config["keys"].append({"name": "master", **key, "admin": True})
    most = general.get("global_max_parallel_requests") or general.get("max_parallel_requests")
    if (requests := number(most)) and 1 <= requests <= 100_000:
        config["server"]["capacity"] = {"requests": int(requests)}


def _limits(sections: Sections, server: Json) -> None:
    """Timeouts, cooldown and the log."""
    litellm, router = sections["litellm_settings"], sections["router_settings"]
    timeouts: Json = {}
    if (total := number(router.get("timeout") or litellm.get("request_timeout"))) and 0 < total <= 86_400:
        timeouts["total"] = total
    if (first := number(router.get("stream_timeout"))) and 0 < first <= 86_400:
        timeouts["first_byte"] = first
    if timeouts:
        server["timeouts"] = timeouts
    cooldown: Json = {}
    if (failures := number(router.get("allowed_fails") or litellm.get("allowed_fails"))) and failures >= 1:
        cooldown["failures"] = int(failures)
    if (seconds := number(router.get("cooldown_time") or litellm.get("cooldown_time"))) and 0 < seconds <= 86_400:
        cooldown["seconds"] = seconds
    if cooldown:
        server["cooldown"] = cooldown
    if litellm.get("json_logs") is True:
        server["log"] = "json"


def _state(sections: Sections, config: Json, note: Note) -> None:
    router = sections["router_settings"]
    if url := router.get("redis_url"):
        config["shared_state"] = as_variable(url)
        if "@" in str(url):
            note(
                "router_settings.redis_url",
                "it holds a password in the clear",
                "Set REDIS_URL to it in the environment",
            )
            config["shared_state"] = "${REDIS_URL}"
    elif host := router.get("redis_host"):
        password = f":{as_variable(router['redis_password'])}@" if router.get("redis_password") else ""
        if password and "${" not in password:
            note("router_settings.redis_password", "it stands in the file in the clear", "Set REDIS_PASSWORD to it")
            password = ":${REDIS_PASSWORD}@"  # noqa: S105
        config["shared_state"] = (
            f"redis://{password}{as_variable(host)}:{as_variable(router.get('redis_port') or 6379)}/0"
        )
    if "shared_state" in config:
        note("router_settings.redis_host", "Redis counts limits of several processes here, and nothing else",
                   "Install it with pip install redis, or delete shared_state where one process runs")  # fmt: skip
