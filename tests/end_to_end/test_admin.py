"""The administration: who may call it, how providers are, and keys that are made and disabled as the command line does."""

import re
from collections.abc import Iterator
from hashlib import sha256
from typing import Any

import httpx2 as httpx
import pytest
from process import Process, config
from scripted import Upstream, answer

BOSS, USER = "sk-admin-canary-0001", "sk-admin-canary-0002"
KEYS = f"""
keys:
  - {{name: boss, key: "{BOSS}", admin: true}}
  - {{name: user, key: "{USER}", rpm: 60, budget_usd: 5, budget_period: day, models: [echo]}}
usage: {{path: usage.db}}
inspector: {{enabled: true}}
"""
FINE = {"choices": [{"index": 0, "message": {"role": "assistant", "content": "Hi"}, "finish_reason": "stop"}]}


@pytest.fixture(scope="module")
def managed(upstream: Upstream) -> Iterator[Process]:
    with Process(config(upstream, KEYS, providers="away: {protocol: openai, api_key: \"${NOT_SET_HERE}\", "
                        "base_url: \"https://x.example.com/v1\"}")) as process:  # fmt: skip
        yield process


def call(server: Process, path: str, body: Any = None, key: str = BOSS, **headers: str) -> httpx.Response:
    """GET, or POST with a body."""
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    headers = {"Authorization": f"Bearer {key}", **named} if key else named
    url = f"{server.root}{path}"
    if body is None:
        return httpx.get(url, headers=headers)
    return httpx.post(url, json=body, headers=headers)


def code(response: httpx.Response) -> tuple[int, str]:
    return response.status_code, response.json()["error"]["code"]


def chat(server: Process, key: str, model: str = "echo") -> tuple[int, str | None]:
    got = call(server, "/v1/chat/completions", {"model": model, "messages": [{"role": "user", "content": "Hi"}]}, key)
    return got.status_code, got.json().get("error", {}).get("code")


# Who may


@pytest.mark.parametrize("path", ["/admin/providers", "/admin/keys"])
def test_with_keys_an_admin_key_is_needed(managed: Process, path: str) -> None:
    assert code(call(managed, path, key="")) == (401, "authentication_error")
    assert code(call(managed, path, key=USER)) == (403, "admin_only")
    assert call(managed, path).status_code == 200
    evil = {"Origin": "https://evil.example"}
    assert code(call(managed, path, **evil)) == (403, "origin_not_allowed")
    assert code(call(managed, path, **evil, Sec_Fetch_Site="cross-site")) == (403, "origin_not_allowed")
    behind = {"Origin": "https://llm.example", "Sec_Fetch_Site": "same-origin"}  # a proxy that changes Host
    assert call(managed, path, **behind).status_code == 200


def test_without_keys_it_is_for_this_machine_and_its_own_page(upstream: Upstream) -> None:
    """Not for a page of another port, which may call models; not for a name that leads here; not through a proxy."""
    with Process(config(upstream, server="allowed_hosts: [llm.example]")) as server:
        refused = [
            ({"Origin": "http://localhost:3000"}, "origin_not_allowed"),
            ({"Origin": "http://localhost:3000", "Sec_Fetch_Site": "same-site"}, "origin_not_allowed"),
            ({"Origin": "https://evil.example"}, "origin_not_allowed"),
            ({"Sec_Fetch_Site": "cross-site"}, "origin_not_allowed"),
            ({"Host": "evil.example"}, "host_not_allowed"),
            ({"Host": "evil.example", "Origin": "http://evil.example"}, "host_not_allowed"),
            ({"Host": "llm.example"}, "host_not_allowed"),
            ({"Host": "llm.example", "X_Forwarded_For": "192.0.2.1"}, "host_not_allowed"),
        ]
        for headers, why in refused:
            for path, body in (("/admin/providers", None), ("/admin/keys", None), ("/admin/keys/add", {"name": "x"})):
                assert code(call(server, path, body, "", **headers)) == (403, why), (headers, path)
        own = {"Origin": server.root, "Sec-Fetch-Site": "same-origin"}
        for headers, wrong in ((own, (403, "origin_not_allowed")), ({}, (400, "invalid_type"))):
            headers = {**headers, "Content-Type": "text/plain"}
            form = httpx.post(f"{server.root}/admin/keys/add", content=b'{"name": "x"}', headers=headers)
            assert code(form) == wrong
        assert not server.config.with_name("keys.yaml").exists()
        assert httpx.get(f"{server.root}/admin/keys", headers=own).json() == {
            "object": "list",
            "data": [],
            "usage": False,
        }


# Keys


def test_a_new_key_works_at_once_and_stands_nowhere(managed: Process) -> None:
    given = {
        "name": "team",
        "models": ["echo", "gpt-*"],
        "rpm": 1000,
        "tpm": "5000",
        "budget_usd": 2.5,
        "budget_period": "month",
    }
    told = call(managed, "/admin/keys/add", {**given, "expires": "2030-01-31"}).json()
    key = told.pop("key")
    assert told == {"object": "key", "name": "team", "action": "add", "first": False, "reload": None}
    assert key.startswith("sk-ms-") and chat(managed, key) == (200, None)
    written = managed.config.with_name("keys.yaml").read_text(encoding="utf-8")
    assert sha256(key.encode()).hexdigest() in written and key not in written
    limits = 'rpm: 1000, tpm: 5000, budget_usd: 2.5, expires: "2030-01-31"}'
    assert f'models: ["echo", "gpt-*"], {limits}' in written
    listed = call(managed, "/admin/keys").text
    assert '"team"' in listed and key not in listed and sha256(key.encode()).hexdigest() not in listed
    kept = call(managed, "/inspector/exchanges").json()["data"]
    assert kept and not [each for each in kept if "admin" in each["path"]]
    for action, after in (("disable", (401, "key_disabled")), ("enable", (200, None))):
        assert call(managed, f"/admin/keys/{action}", {"name": "team"}).json()["action"] == action
        assert chat(managed, key) == after
    managed.logged(message="key team: add, by boss", level="info")
    line = managed.logged(method="POST", path="/admin/keys/disable")
    assert (line["key"], line["status"]) == ("boss", 200)
    assert key not in managed.out + managed.err


NUMBER = "expected a number from 1 to 1000000000, but got "


@pytest.mark.parametrize(
    ("action", "body", "param", "reason", "says"),
    [
        ("add", [], None, "invalid_type", "The body must be a JSON object."),
        ("add", {}, "name", "missing_required_parameter", "The body has no 'name'."),
        ("add", {"name": "a", "rpn": 5}, "rpn", "unsupported_parameter", "There is no 'rpn': known are name, models, rpm, tpm, "
         "concurrency, budget_usd, budget_period, expires, allow_unpriced, admin, passthrough."),
        ("add", {"name": "a", "sha256": "0" * 64}, "sha256", "unsupported_parameter", "There is no 'sha256'"),
        ("add", {"name": "a", "disabled": False}, "disabled", "unsupported_parameter", "There is no 'disabled'"),
        ("add", {"name": 5}, "name", "invalid_type", "'name' has a value of the wrong type."),
        ("add", {"name": ""}, "name", "invalid_value", "name: a key's name may not be empty"),
        ("add", {"name": "a\nb"}, "name", "invalid_value", "no line ends or control characters"),
        ("add", {"name": "a" * 101}, "name", "invalid_value", "at most 100 characters"),
        ("add", {"name": "user"}, "name", "invalid_value", "config.yaml has a key 'user': choose another name"),
        ("add", {"name": "a", "rpm": 0}, "rpm", "invalid_value", f"rpm: {NUMBER}'0'."),
        ("add", {"name": "a", "rpm": 1.5}, "rpm", "invalid_value", f"rpm: {NUMBER}'1.5'."),
        ("add", {"name": "a", "tpm": 10**10}, "tpm", "invalid_value", f"tpm: {NUMBER}'10000000000'."),
        ("add", {"name": "a", "tpm": True}, "tpm", "invalid_type", "'tpm' has a value of the wrong type."),
        ("add", {"name": "a", "budget_usd": 1e-9}, "budget_usd", "invalid_value", "expected dollars such as 5 or 0.50"),
        ("add", {"name": "a", "budget_period": "week"}, "budget_period", "invalid_value", "expected one of day, month, total"),
        ("add", {"name": "a", "models": ["echo", ""]}, "models", "invalid_value", "expected names of models such as"),
        ("add", {"name": "a", "models": [1]}, "models", "invalid_type", "'models' has a value of the wrong type."),
        ("add", {"name": "a", "admin": "yes"}, "admin", "invalid_type", "'admin' must be true or false."),
        ("add", {"name": "a", "expires": "soon"}, None, "invalid_value", "expires: expected a date or a time such as"),
        ("add", {"name": "a", "passthrough": True, "tpm": 5}, None, "invalid_value", "passthrough: what passes so is not read"),
        ("disable", {"name": "user"}, "name", "invalid_value", "the key 'user' is in config.yaml: change it there"),
        ("enable", {"name": "nobody"}, "name", "invalid_value", "keys.yaml has no key 'nobody'"),
        ("disable", {"name": "user", "rpm": 5}, "rpm", "unsupported_parameter", "There is no 'rpm': known are name."),
    ],
)  # fmt: skip
def test_what_is_wrong_is_refused_as_on_the_command_line(
    managed: Process, action: str, body: Any, param: str | None, reason: str, says: str
) -> None:
    before = call(managed, "/admin/keys").json()
    got = call(managed, f"/admin/keys/{action}", body)
    wrong = got.json()["error"]
    assert (got.status_code, wrong["param"], wrong["code"]) == (400, param, reason), wrong
    assert says in wrong["message"]
    after = call(managed, "/admin/keys").json()
    assert [each["name"] for each in after["data"]] == [each["name"] for each in before["data"]]


def test_a_file_that_cannot_be_written_is_told(upstream: Upstream) -> None:
    with Process(config(upstream)) as server:
        server.config.with_name("keys.yaml.lock").mkdir()
        got = call(server, "/admin/keys/add", {"name": "a"}, "")
        assert code(got) == (403, "permission_denied")
        assert "`python modelserver.py keys add NAME` can" in got.json()["error"]["message"]


def test_the_first_key_closes_the_server(upstream: Upstream) -> None:
    with Process(config(upstream)) as server:
        told = call(server, "/admin/keys/add", {"name": "me", "admin": True}, "").json()
        assert told["first"] is True and told["reload"] is None
        assert code(call(server, "/admin/keys", key="")) == (401, "authentication_error")
        [row] = call(server, "/admin/keys", key=told["key"]).json()["data"]
        assert (row["name"], row["admin"], row["managed"], row["state"]) == ("me", True, True, "on")
        assert call(server, "/admin/keys/disable", {"name": "me"}, told["key"]).status_code == 200
        assert code(call(server, "/admin/keys", key=told["key"])) == (401, "key_disabled")


def test_what_keys_have_used_of_their_limits(managed: Process) -> None:
    assert chat(managed, USER) == (200, None)
    row = next(each for each in call(managed, "/admin/keys").json()["data"] if each["name"] == "user")
    [minute, budget] = row.pop("limits")
    assert minute.pop("used") >= 1 and minute == {"name": "rpm", "limit": 60}
    assert re.fullmatch(r"20\d\d-\d\d-\d\dT00:00:00Z", budget.pop("resets_at"))
    assert budget == {"name": "budget_usd", "limit": 5.0, "used": 0.0, "period": "day"}
    assert row.pop("today")["requests"] >= 1 and re.fullmatch(r"20\d\d-\d\d-\d\d", row.pop("last_day"))
    assert row == {
        "name": "user", "state": "on", "admin": False, "passthrough": False, "models": ["echo"], "expires": None,
        "total_usd": 0.0, "managed": False,
    }  # fmt: skip


# Providers


def test_how_providers_are(upstream: Upstream) -> None:
    upstream.script("fine", answer(FINE))
    upstream.script("tired", answer({"error": {"message": "broken"}}, 500))
    upstream.script("busy", answer({"error": {"message": "slow down"}}, 429, {"Retry-After": "30"}))
    upstream.script("listing", answer(FINE))
    text = config(
        upstream,
        server="cooldown: {failures: 2, seconds: 60}",
        providers='away: {protocol: openai, api_key: "${NOT_SET_HERE}", base_url: "https://x.example.com/v1"}\n'
        'lost: {protocol: openai, api_key: sk-canary, base_url: "http://127.0.0.1:9/v1", models: discover}',
    )
    with Process(text) as server:
        for model in ("up/fine", "up/tired", "up/tired", "up/busy", "echo"):
            chat(server, "", model)
        told = call(server, "/admin/providers", key="").json()
        assert re.fullmatch(r"20\d\d-\d\d-\d\d", told["facts"]["as_of"]) and told["facts"]["local"] is None
        rows = {each["name"]: each for each in told["data"]}
        assert rows["away"] == {"name": "away", "state": "off", "lacks": "NOT_SET_HERE"}
        up = rows["up"]
        assert (up["state"], up["protocol"], up["base_url"], up["calls"], up["keys"]) == (
            "cooling_down", "openai", f"{upstream.url}/v1", 0, 1,
        )  # fmt: skip
        assert up["models"] is None and up["latency"]["stream"] is None
        assert (
            up["latency"]["whole"]["answers"] == 1
            and 0 < up["latency"]["whole"]["p50_ms"] == up["latency"]["whole"]["p95_ms"]
        )
        unwell = {each["model"]: each for each in up["unwell"]}
        assert 50 < unwell["tired"].pop("seconds") <= 60 and 20 < unwell["busy"].pop("seconds") <= 30
        assert unwell == {
            "tired": {"model": "tired", "state": "cooling_down", "failures": 2},
            "busy": {"model": "busy", "state": "throttled", "failures": 0},
        }
        failed = [(each["target"], each["code"]) for each in up["failures"]]
        assert failed == [
            ("up/busy", "rate_limit_exceeded"),
            ("up/tired", "upstream_error"),
            ("up/tired", "upstream_error"),
        ]
        assert all(each["request_id"].startswith("req_") and 0 <= each["ago"] < 60 for each in up["failures"])
        assert (rows["echo"]["state"], rows["echo"]["failures"], rows["echo"]["unwell"]) == ("up", [], [])
        lists = rows["lost"]["models"]
        assert (lists["listed"], lists["age"]) == (None, None)
        assert "canary" not in str(told)
