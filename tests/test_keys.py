"""What a configuration says of keys: their limits, their end, and mistakes in both."""

from datetime import UTC, datetime
from hashlib import sha256

import pytest
import yaml
from process import run

from gateway.config import ConfigError, Settings, load
from gateway.limits import Limits

FACTS = "families: {}\nmodels: {}\n"
BOOKS = "usage: {path: u.db}\n"


def settings(keys: str, more: str = BOOKS) -> Settings:
    return load(f"keys: [{{name: a, key: sk-a, {keys}}}]\n{more}", {}, FACTS)


def test_limits_of_a_key() -> None:
    [caller] = settings("rpm: 5, tpm: 6, concurrency: 7, budget_usd: 1.25, budget_period: day").keys.values()
    assert caller.limits == Limits(5, 6, 7, 1_250_000, "day")
    assert not caller.unpriced
    [free] = settings("admin: true").keys.values()
    assert (free.limits, free.unpriced, free.admin, free.disabled, free.expires) == (None, True, True, False, 0.0)
    [generous] = settings("budget_usd: 1, unpriced: yes").keys.values()
    assert (generous.limits, generous.unpriced) == (Limits(budget=1_000_000), True)


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
        ("budget_usd: nan", BOOKS, "keys[0].budget_usd: "),
        ("budget_usd: -1", BOOKS, "keys[0].budget_usd: "),
        ("budget_usd: inf", BOOKS, "keys[0].budget_usd: "),
        ("rpm: -1", BOOKS, "keys[0].rpm: "),
        ("rpm: 1.5", BOOKS, "keys[0].rpm: expected an integer"),
        ("budget_period: weak", BOOKS, "keys[0].budget_period: expected day or month or total"),
        ("expires: tomorrow", BOOKS, "keys[0].expires: expected a date or a time such as"),
        ("expires: 9999-12-31", BOOKS, "keys[0].expires: expected a date or a time such as"),
        ("rpm: 1", "state: localhost:6379", "state: expected an address of Redis such as redis://127.0.0.1:6379/0"),
        ("rpm: 1", "state: {url: http://x}", "state.url: expected an address of Redis"),
        ("rpm: 1", "state: {when_gone: ajar}", "state.when_gone: expected closed or open"),
        ("rpm: 1", "usage: {retention_days: 0}", "usage.retention_days: "),
    ],
)
def test_mistakes_are_told(keys: str, more: str, says: str) -> None:
    with pytest.raises(ConfigError) as caught:
        settings(keys, more)
    assert says in str(caught.value)


def test_state_has_a_short_and_a_long_form() -> None:
    assert settings("rpm: 1", "state: redis://h/0").state == settings("rpm: 1", "state: {url: redis://h/0}").state
    assert settings("rpm: 1").state.url == ""


def test_keygen_makes_a_key_that_its_line_lets_in() -> None:
    ended = run("keygen", 'the "team"')
    assert ended.returncode == 0
    key, *_, line = ended.stdout.splitlines()
    assert key.startswith("sk-ms-")
    assert len(key) > 40
    assert key not in line
    [row] = yaml.safe_load(line)
    assert row["name"] == 'the "team"'
    assert list(load(f"keys:\n{line}\n", {}, FACTS).keys) == [sha256(key.encode()).hexdigest()]
    assert run("keygen", "x").stdout.splitlines()[0] != key
