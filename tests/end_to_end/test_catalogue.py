"""Prices and windows of a public catalogue: compared, taken, laid over models.yaml, and refused where they make no sense."""

import json
from pathlib import Path
from typing import Any

import pytest
import yaml
from process import run

from gateway.config import load
from gateway.problems import ConfigError
from providers import catalogue
from providers.catalogue import compare, read, rendered, settled
from providers.model_table import ModelTable
from providers.models import LongContext, Price

TEXT = """
families: {}
models:
  gpt-4o: {released: 2024-05, context: 128000, max_output: 16384, vision: true, price: {input: 2.5, output: 10, cache_read: 1.25}}
  gpt-5: {context: 272000, max_output: 128000, price: {input: 1.25, output: 10}}
  gpt-old: {context: 4096, price: {input: 1, output: 2}}
  claude-opus: {context: 1000000, prefill: false,
    price: {input: 5, output: 25, cache_read: 0.5, cache_write: 6.25, cache_write_1h: 10},
    long_context: {above: 200000, input: 10, output: 50}}
  deepseek-v4: {price: {input: 1, output: 2}, off_peak: {input: 0.5, output: 1, peak: ["01:00-04:00"]}}
  deepseek-v5: {price: {input: 1, output: 2}, off_peak: {input: 0.5, output: 1, peak: ["01:00-04:00"]}}
  oss/small: {provider: groq, price: {input: 0.1, output: 0.2}}
  "gpt-*": {sampling: no}
"""
TABLE = ModelTable.parse(TEXT)


def model(input: Any = None, output: Any = None, context: Any = None, most: Any = None, **cost: Any) -> dict[str, Any]:
    prices = {"input": input, "output": output, **cost}
    told = {name: value for name, value in prices.items() if value is not None}
    limit = {name: value for name, value in {"context": context, "output": most}.items() if value is not None}
    return {"name": "x", "tool_call": True, **({"cost": told} if told else {}), **({"limit": limit} if limit else {})}


def data(**providers: dict[str, Any]) -> bytes:
    named = {
        name: {"id": name, "models": {id: {"id": id, **each} for id, each in models.items()}}
        for name, models in providers.items()
    }
    return json.dumps({**named, "somebody-else": {"models": {"gpt-4o": model(99, 99)}}}).encode()


CATALOGUE = data(
    openai={
        "gpt-4o": model(2, 8, 128000, 16384, cache_read=1) | {"release_date": "2024-08-06"},
        "gpt-4o-2024-08-06": model(2.5, 10, 128000, 16384),  # as before
        "gpt-5": model(1.25, 10, 400000, 128000),  # 272000 of prompt and 128000 of answer
        "gpt-9": model(3, 12, 900000, 64000, cache_read=0.3) | {"release_date": "2027-05-04"},
        "gpt-10": model(3, 12) | {"release_date": "soon"},
        "gpt-free": model(0, 0, 1000),
        "gpt-wrong": model(-1, 10),
        "gpt-dear": model(1, 10**6),
        "gpt-words": model("two", 10),
        "gpt-wide": model(1, 2, -5),
        "gpt-list": {},
    },
    anthropic={"claude-opus": model(10, 50, 1000000, cache_read=1, cache_write=12.5)},
    deepseek={"deepseek-v4": model(0.5, 1), "deepseek-v5": model(0.7, 1)},
    groq={"oss/small": model(0.05, 0.2), "oss/large": model(0.4, 0.8, 131072)},
)  # fmt: skip
WRONG = [
    ("gpt-wrong", "the price input is -1"),
    ("gpt-dear", "the price output is 1000000"),
    ("gpt-words", "the price input is two"),
    ("gpt-wide", "the window context is -5"),
    ("gpt-list", "'list' object has no attribute 'get'"),
]


def test_what_is_new_changed_and_gone() -> None:
    entries, wrong = read(CATALOGUE.replace(b'"gpt-list": {"id": "gpt-list"}', b'"gpt-list": []'))
    changes = compare(TABLE, entries)
    assert [(each.kind, each.provider, each.model, each.words) for each in changes] == [
        ("price changed", "openai", "gpt-4o", "input 2.5 → 2, output 10 → 8, cache_read 1.25 → 1"),
        ("new", "openai", "gpt-9", "input 3, output 12, cache_read 0.3, context 900000, max_output 64000"),
        ("new", "openai", "gpt-10", "input 3, output 12"),
        ("price changed", "anthropic", "claude-opus",
         "input 5 → 10, output 25 → 50, cache_read 0.5 → 1, cache_write 6.25 → 12.5, cache_write_1h 10 → 20, long prompts"),
        ("not taken", "deepseek", "deepseek-v5", "input 0.7, output 1, and its price depends on the hour"),
        ("price changed", "groq", "oss/small", "input 0.1 → 0.05"),
        ("new", "groq", "oss/large", "input 0.4, output 0.8, context 131072"),
        ("gone", "openai", "gpt-old", ""),
    ]  # fmt: skip
    assert [(each.kind, each.model, each.words) for each in wrong] == [("not taken", *each) for each in WRONG]


def test_the_file_changes_prices_and_windows_and_nothing_else() -> None:
    changes = settled(TEXT, read(CATALOGUE)[0])
    text = rendered(changes, "2026-11-28", "https://models.dev/api.json")
    assert yaml.safe_load(text)["source"] == "https://models.dev/api.json" and "as_of: 2026-11-28\n" in text
    table = ModelTable.parse(TEXT, local=text)
    assert table.of("gpt-4o-2024-08-06").price == Price(2.5, 10, 1.25)  # a snapshot that costs what it did
    gpt, claude, fresh = table.of("gpt-4o-2024-11-20"), table.of("claude-opus", "anthropic"), table.of("gpt-9")
    assert (gpt.price, gpt.vision, gpt.context) == (Price(2, 8, 1), True, 128000)
    assert (claude.price, claude.prefill) == (Price(10, 50, 1, 12.5, 20), False)
    assert claude.long_context == LongContext(above=200000, input=20, output=100)
    assert (fresh.price, fresh.context, fresh.sampling) == (Price(3, 12, 0.3), 900000, "no")  # as all gpt-*
    assert [each.released for each in (gpt, fresh, table.of("gpt-10"))] == ["2024-05", "2027-05", None]
    assert table.of("oss/small", "groq").price == Price(0.05, 0.2) and table.of("oss/small").price is None
    assert table.of("deepseek-v5") == TABLE.of("deepseek-v5") and table.of("gpt-5") == TABLE.of("gpt-5")
    assert [each.kind for each in compare(table, read(CATALOGUE)[0])] == ["not taken", "gone"]
    user = ModelTable.parse(TEXT, {"gpt-4o": {"price": {"input": 7, "output": 7}}}, text)
    assert user.of("gpt-4o").price == Price(7, 7)


@pytest.mark.parametrize("data", [b"", b"[]", b"<html>", b"{}", b'{"openai": 1}', b"\xff\xfe", b"[" * 100_000])
def test_what_is_no_catalogue(data: bytes) -> None:
    with pytest.raises(ValueError, match=r"models\.dev"):
        read(data)


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("models: {m: {vision: true}}", "models.local.yaml: m: vision: it may hold prices, windows and releases only"),
        ("models: {m: {price: {input: -1}}}", "m: price.input: Expected `float` >= 0.0"),
        ("models: [", "models.local.yaml: not valid YAML"),
        ("prices: {}", "models.local.yaml: models: expected a mapping of rows"),
    ],
)
def test_a_local_file_with_a_mistake_is_refused(text: str, says: str) -> None:
    with pytest.raises(ConfigError) as caught:
        load("providers: {echo: {}}\n", {}, TEXT, local=text)
    assert says in str(caught.value)


def test_a_maker_of_models_is_a_host() -> None:
    from providers.hosts import HOSTS

    assert {*catalogue.PROVIDERS.values()} <= {*HOSTS}
    assert compare(TABLE, {}) == []


def test_the_command(tmp_path: Path) -> None:
    """It prints what changes, writes the file beside the configuration, and the server that reads it knows the price."""
    file, config = tmp_path / "api.json", tmp_path / "config.yaml"
    config.write_text("providers: {echo: {}}\n", encoding="utf-8")
    file.write_bytes(data(openai={"gpt-4o": model(2, 8, 128000, 16384, cache_read=1), "gpt-wrong": model(-1, 10)}))
    local = tmp_path / "models.local.yaml"
    dry = run("--config", str(config), "models", "update", "--from", str(file), "--dry-run")
    changed = "price changed   openai/gpt-4o  input 2.5 → 2, output 10 → 8, cache_read 1.25 → 1\n"
    assert (dry.returncode, dry.stderr) == (0, "") and changed in dry.stdout and not local.exists()
    assert dry.stdout.endswith("1 to take; nothing is written (--dry-run)\n")
    assert "not taken       openai/gpt-wrong  the price input is -1\n" in dry.stdout
    done = run("--config", str(config), "models", "update", "--from", str(file))
    assert done.returncode == 0 and changed in done.stdout and "1 taken, in " in done.stdout
    assert yaml.safe_load(local.read_text(encoding="utf-8"))["models"] == {
        "gpt-4o": {"price": {"input": 2, "output": 8, "cache_read": 1}}
    }
    again = run("--config", str(config), "models", "update", "--from", str(file))
    assert again.stdout.endswith("nothing to take\n") and changed not in again.stdout
    assert run("--config", str(config), "check").returncode == 0
    file.write_bytes(b"<html>")
    wrong = run("--config", str(config), "models", "update", "--from", str(file))
    assert wrong.returncode == 1 and "this is not models.dev's catalogue" in wrong.stderr
    local.write_text("models: {m: {tools: false}}", encoding="utf-8")
    assert run("--config", str(config), "check").returncode == 2
