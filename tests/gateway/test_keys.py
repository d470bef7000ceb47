"""What a configuration says of keys: their limits, their end, and mistakes in both."""

from datetime import UTC, datetime
from hashlib import sha256

import httpx2 as httpx
import pytest
from conftest import LAPTOP
from process import Process, run

from gateway.config import load
from gateway.limits import Limits
from gateway.problems import ConfigError
from gateway.settings import Settings

FACTS = "families: {}\nmodels: {}\n"
LEDGER = "usage: {path: u.db}\n"


def settings(keys: str, more: str = LEDGER) -> Settings:
    return load(f"keys: [{{name: a, key: sk-a, {keys}}}]\n{more}", {}, FACTS)


def test_limits_of_a_key() -> None:
    [caller] = settings("rpm: 5, tpm: 6, concurrency: 7, budget_usd: 1.25, budget_period: day").keys.values()
    assert caller.limits == Limits(5, 6, 7, 1_250_000, "day")
    assert not caller.allow_unpriced
    [free] = settings("admin: true").keys.values()
    assert (free.limits, free.allow_unpriced, free.admin, free.disabled, free.expires) == (None, True, True, False, 0.0)
    [generous] = settings("budget_usd: 1, allow_unpriced: yes").keys.values()
    assert (generous.limits, generous.allow_unpriced) == (Limits(budget=1_000_000), True)


@pytest.mark.parametrize(
    ("text", "moment"),
    [
        ("2027-01-31", datetime(2027, 2, 1, tzinfo=UTC)),  # works on that day
        ("2027-01-31T18:00:00Z", datetime(2027, 1, 31, 18, tzinfo=UTC)),
        ("2027-01-31T18:00", datetime(2027, 1, 31, 18, tzinfo=UTC)),
        ("2027-01-31T18:00:00+08:00", datetime(2027, 1, 31, 10, tzinfo=UTC)),
    ],
)
def test_when_a_key_ends(text: str, moment: datetime) -> None:
    [caller] = settings(f"expires: {text}").keys.values()
    assert caller.expires == moment.timestamp()


@pytest.mark.parametrize(
    ("keys", "more", "says"),
    [
        ("budget_usd: 1", "", "keys[0].budget_usd: a budget must outlive a restart: give usage.path a file"),
        ("budget_usd: nan", LEDGER, "keys[0].budget_usd: "),
        ("budget_usd: -1", LEDGER, "keys[0].budget_usd: "),
        ("budget_usd: inf", LEDGER, "keys[0].budget_usd: "),
        ("rpm: -1", LEDGER, "keys[0].rpm: "),
        ("rpm: 1.5", LEDGER, "keys[0].rpm: expected an integer"),
        ("budget_period: weak", LEDGER, "keys[0].budget_period: expected day or month or total"),
        ("expires: tomorrow", LEDGER, "keys[0].expires: expected a date or a time such as"),
        ("expires: 9999-12-31", LEDGER, "keys[0].expires: expected a date or a time such as"),
        (
            "rpm: 1",
            "shared_state: localhost:6379",
            "shared_state: expected an address of Redis such as redis://127.0.0.1:6379/0",
        ),
        ("rpm: 1", "shared_state: {url: http://x}", "shared_state.url: expected an address of Redis"),
        ("rpm: 1", "shared_state: {on_unavailable: ajar}", "shared_state.on_unavailable: expected closed or open"),
        ("rpm: 1", "usage: {retention_days: 0}", "usage.retention_days: "),
    ],
)
def test_mistakes_are_told(keys: str, more: str, says: str) -> None:
    with pytest.raises(ConfigError) as caught:
        settings(keys, more)
    assert says in str(caught.value)


def test_state_has_a_short_and_a_long_form() -> None:
    assert (
        settings("rpm: 1", "shared_state: redis://h/0").shared_state
        == settings("rpm: 1", "shared_state: {url: redis://h/0}").shared_state
    )
    assert settings("rpm: 1").shared_state.url == ""


# Secrets that are none

UNFILLED = (
    "names a variable that is not replaced: write ${NAME} (letters, digits, _), ${file:PATH} or ${credential:NAME}"
)
NOTHING = "is the digest of nothing: was the variable set?"


def digest_of(text: str) -> str:
    return sha256(text.encode()).hexdigest()


@pytest.mark.parametrize(
    ("key", "environment", "says"),
    [
        (f"sha256: {digest_of('')}", {}, f"1: keys[0].sha256: {NOTHING}"),
        (f"sha256: {digest_of('').upper()}", {}, f"1: keys[0].sha256: {NOTHING}"),
        (f"sha256: {digest_of(chr(10))}", {}, f"1: keys[0].sha256: {NOTHING}"),
        (f"sha256: {digest_of(' ')}", {}, f"1: keys[0].sha256: {NOTHING}"),
        (
            f"sha256: {digest_of('${KEY}')}",
            {},
            "1: keys[0].sha256: is the digest of the text ${KEY}: use double quotes in the shell, or none",
        ),
        (
            f"sha256: {digest_of('$MODELSERVER_KEY' + chr(10)).upper()}",
            {},
            "1: keys[0].sha256: is the digest of the text $MODELSERVER_KEY: use double quotes in the shell, or none",
        ),
        ('sha256: "${DIGEST}"', {}, "1: keys[0].sha256: the environment variable DIGEST is not set"),
        ('key: "${KEY}"', {}, "1: keys[0].key: the environment variable KEY is not set"),
        ('key: "${KEY}"', {"KEY": ""}, "1: keys[0].key: the environment variable KEY is not set"),
        ('key: "${KEY}"', {"KEY": "  "}, "1: keys[0].key: is empty: was the variable set?"),
        ('key: ""', {}, "1: keys[0]: give either 'key' or 'sha256'"),
        (
            'key: "${KEY:-none}"',
            {"KEY": "sk-a-canary-that-is-long"},
            f"1: keys[0].key: {UNFILLED}",
        ),
        (
            "key: $KEY",
            {},
            f"1: keys[0].key: {UNFILLED}",
        ),
        (
            'key: "${KEY}"',
            {"KEY": '"sk-canary-in-quotes"'},
            "1: keys[0].key: is in quotes, which would be part of the key: leave them out (docker --env-file keeps them)",
        ),
    ],
)
def test_a_secret_that_is_none_is_no_key(key: str, environment: dict[str, str], says: str) -> None:
    with pytest.raises(ConfigError) as caught:
        load(f"keys: [{{name: a, {key}}}]\n", environment, FACTS, "c.yaml")
    assert str(caught.value) == f"c.yaml:{says}"
    for command in ("check", "serve"):
        done = run(command, text=f"server: {{port: 0}}\nkeys: [{{name: a, {key}, admin: true}}]\n", env=environment)
        assert (done.returncode, done.stdout, done.stderr) == (2, "", f"config.yaml:2{says[1:]}\n")


def test_a_key_of_a_provider_in_quotes_is_refused() -> None:
    text = 'providers: {openai: {api_key: ["sk-1", "${TWO}"]}}\n'
    with pytest.raises(ConfigError) as caught:
        load(text, {"TWO": "'sk-canary'"}, FACTS, "c.yaml")
    assert str(caught.value) == (
        "c.yaml:1: providers.openai.api_key[1]: is in quotes, which would be part of the key: leave them out "
        "(docker --env-file keeps them)"
    )


def test_a_short_key_is_warned_of() -> None:
    text = "keys: [{name: a, key: short-canary}, {name: b, key: sk-canary-of-good-size}]\nproviders: {echo: {}}\n"
    says = "config.yaml:1: keys[0].key: warning: is shorter than 16 characters and can be guessed: see `keys add`"
    assert load(text, {}, FACTS).warnings == (says,)
    done = run("check", text=text)
    assert (done.returncode, done.stdout.splitlines()[0]) == (0, says)
    with Process(f"{text}server: {{port: 0}}\n") as server:
        assert server.logged(level="warning")["message"] == f"the configuration, {says}"


def test_the_digest_of_nothing_lets_nobody_in(keyed: Process, http: httpx.Client) -> None:
    """authenticate looks up no empty key, whatever the configuration says."""
    missing = "No API key was sent: send it as 'Authorization: Bearer KEY'."
    other = "The Authorization header holds no API key: send it as 'Authorization: Bearer KEY'."
    for headers, says in (
        ({}, missing),
        ({"x-api-key": ""}, missing),
        ({"Authorization": "Bearer"}, other),
        ({"Authorization": "Basic OnNlY3JldA=="}, other),
        ({"Authorization": LAPTOP}, other),
        ({"Authorization": "Bearer sk-wrong"}, "Invalid API key"),
        ({"x-api-key": "sk-wrong"}, "Invalid API key"),
    ):
        got = http.get(f"{keyed.url}/models", headers=headers)
        assert (got.status_code, got.json()) == (
            401,
            {
                "error": {
                    "message": says,
                    "type": "authentication_error",
                    "param": None,
                    "code": "authentication_error",
                }
            },
        ), headers


@pytest.mark.parametrize("name", ["Authorization", "x-api-key"])
def test_one_header_twice_with_different_keys(keyed: Process, http: httpx.Client, name: str) -> None:
    good, bad = (f"Bearer {LAPTOP}", "Bearer sk-bad") if name == "Authorization" else (LAPTOP, "sk-bad")
    for first, second, status in ((good, bad, 400), (bad, good, 400), (good, good, 200)):
        got = http.get(f"{keyed.url}/models", headers=[(name, first), (name, second)])
        assert got.status_code == status
        assert status == 200 or got.json()["error"]["code"] == "conflicting_keys"
