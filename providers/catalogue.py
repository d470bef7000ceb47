"""Prices and windows of models.dev's public catalogue, compared with the table of models. Pure.

https://models.dev/api.json: provider → models → id → cost (USD per million tokens), limit (tokens), release_date. Only
prices, windows and releases are taken, never what a model takes; nothing of what makes no sense. Prices that the catalogue does
not tell are kept, and go with the price of a prompt: those of writing to a cache for an hour, and of long prompts.
"""

import json
import re
from collections.abc import Iterable, Iterator, Mapping
from typing import Any, Final, Literal, NamedTuple

import msgspec

from . import codec
from .contract import Json
from .model_table import ModelTable, without_snapshot
from .models import LongContext, ModelFacts, Price

# The catalogue's name of a provider → ours (hosts.py).
PROVIDERS: Final = {
    "openai": "openai", "anthropic": "anthropic", "google": "gemini", "deepseek": "deepseek", "mistral": "mistral", "xai": "xai",
    "azure": "azure", "groq": "groq", "togetherai": "together", "fireworks-ai": "fireworks", "deepinfra": "deepinfra",
    "cerebras": "cerebras", "moonshotai": "moonshot", "zai": "zhipu", "zhipuai": "zhipu", "alibaba": "dashscope",
    "siliconflow": "siliconflow", "openrouter": "openrouter", "perplexity": "perplexity", "huggingface": "huggingface",
    "cohere": "cohere", "minimax": "minimax", "stepfun": "stepfun", "tencent-tokenhub": "tokenhub", "modelscope": "modelscope",
    "nebius": "nebius", "novita-ai": "novita", "nvidia": "nvidia", "scaleway": "scaleway", "github-models": "github",
    "vercel": "vercel", "cloudflare-workers-ai": "cloudflare", "databricks": "databricks",
}  # fmt: skip
# Who makes the models of the table that name no provider: how their ids begin.
_MAKERS: Final = {
    "openai": ("gpt-", "chatgpt-", "o1", "o3", "o4", "text-embedding-"),
    "anthropic": ("claude-",),
    "gemini": ("gemini-",),
    "deepseek": ("deepseek-",),
    "mistral": ("mistral-", "magistral-"),
    "xai": ("grok-",),
}
_PRICES: Final = ("input", "output", "cache_read", "cache_write")
_MOST: Final = 10_000  # dollars per million tokens: more is a mistake
_LARGEST: Final = 10**9  # tokens of a window


class Entry(NamedTuple):
    """What the catalogue says of a model. total: tokens of prompt and answer together, where it tells that alone."""

    price: Price | None
    long_context: LongContext | None
    context: int | None
    total: int | None
    max_output: int | None
    released: str | None


class Change(NamedTuple):
    """A difference. row: the model's new row, without one where nothing is to be changed here."""

    kind: Literal["new", "price changed", "window changed", "gone", "not taken"]
    provider: str
    model: str
    words: str
    row: Json | None = None


Entries = Mapping[tuple[str, str], Entry]  # provider, id


def read(data: bytes) -> tuple[Entries, list[Change]]:
    """Return what a catalogue says of models of known providers, and what of it is not taken. Raises ValueError."""
    try:
        catalogue = codec.decode(data)
    except ValueError:
        catalogue = None
    if not isinstance(catalogue, dict) or not any(isinstance(_models(each), dict) for each in catalogue.values()):
        raise ValueError("this is not models.dev's catalogue: expected a JSON object of providers with their models")
    entries: dict[tuple[str, str], Entry] = {}
    wrong: list[Change] = []
    for there, provider in PROVIDERS.items():
        models = _models(catalogue.get(there))
        for id, told in models.items() if isinstance(models, dict) else ():
            try:
                entries.setdefault((provider, id), _entry(told))
            except (ValueError, TypeError, AttributeError) as error:
                wrong.append(Change("not taken", provider, id, str(error)))
    return entries, wrong


def _models(provider: Any) -> Any:
    return provider.get("models") if isinstance(provider, dict) else None


def _entry(told: Json) -> Entry:
    cost, limit = told.get("cost") or {}, told.get("limit") or {}
    price = Price(**_amounts(cost)) if cost else None
    if price is not None and not (price.input or price.output) and not str(told.get("id")).endswith(":free"):
        price = None  # 0 stands for what is not known
    long = None
    for above, more in _tiers(cost):
        if price is not None and (long is None or above < long.above):
            long = LongContext(above=above, **_amounts(more))
    window = {name: _tokens(limit.get(name), name) for name in ("input", "context", "output")}
    released = str(told.get("release_date") or "")[:7]
    month = released if re.fullmatch(r"20\d\d-(0[1-9]|1[0-2])", released) else None
    return Entry(price, long, window["input"], window["context"], window["output"], month)


def _tiers(cost: Json) -> Iterator[tuple[int, Json]]:
    """Yield the prices of long prompts: tokens above which they hold, and what stands there."""
    if over := cost.get("context_over_200k"):
        yield 200_000, over
    for tier in cost.get("tiers") or ():
        match tier:
            case {"tier": {"type": "context", "size": int(size)}} if size > 0:
                yield size, tier


def _amounts(cost: Json) -> dict[str, float]:
    """Return the prices that are told. Raises ValueError for one that makes no sense."""
    found = {name: cost[name] for name in _PRICES if cost.get(name) is not None}
    for name, value in found.items():
        if type(value) not in (int, float) or not 0 <= value <= _MOST:
            raise ValueError(f"the price {name} is {str(value)[:40]}")
    return found


def _tokens(value: Any, name: str) -> int | None:
    if value is None or value == 0:
        return None
    if type(value) is not int or not 0 < value <= _LARGEST:
        raise ValueError(f"the window {name} is {str(value)[:40]}")
    return value


def compare(table: ModelTable, entries: Entries) -> list[Change]:
    """Return how a catalogue differs from a table, in the order of the catalogue; what is gone comes last."""
    changes = [change for (provider, id), entry in entries.items() if (change := _compared(table, provider, id, entry))]
    return [*changes, *_gone(table, entries)]


def settled(text: str, entries: Entries) -> list[Change]:
    """Return all changes that make the table of models say what a catalogue does. text: of models.yaml.

    A snapshot that keeps its price has a row of its own where that of its model has changed.
    """
    changes = compare(ModelTable.parse(text), entries)
    table = ModelTable.parse(text, local=rendered(changes, "", ""))
    return [*changes, *(each for each in compare(table, entries) if each.row is not None)]


def _compared(table: ModelTable, provider: str, id: str, entry: Entry) -> Change | None:
    facts = table.of(id, provider)
    price, long = _price(facts, entry), _long(facts, entry)
    if facts.off_peak is not None and entry.price is not None and facts.price is not None:
        if any(_same(entry.price, each) for each in (facts.price, facts.off_peak)):
            price, long = facts.price, facts.long_context
        else:
            return Change("not taken", provider, id, f"{_told(entry.price)}, and its price depends on the hour")
    row: Json = {}
    if price is not None and (price != facts.price or long != facts.long_context):
        row["price"] = _fields(price)
        row |= {"long_context": _fields(long)} if long is not None else {}
    windows = {"context": _context(facts, entry), "max_output": entry.max_output}
    row |= {name: value for name, value in windows.items() if value and value != getattr(facts, name)}
    if not row or (facts.price is None and "price" not in row):
        return None
    if entry.released and not facts.released:
        row["released"] = entry.released
    listed = (provider, id.lower()) in table.listed or ("", id.lower()) in table.listed
    words = _words(facts, row)
    kind: Any = "new" if facts.price is None and not listed else "price changed" if "price" in row else "window changed"
    if not (_is_maker(provider, id) and (provider, id.lower()) not in table.listed):
        row["provider"] = provider
    return Change(kind, provider, id, words, row)


def _price(facts: ModelFacts, entry: Entry) -> Price | None:
    """Return the price as it is now; the same object where it has not changed."""
    if entry.price is None or (facts.price is not None and _same(entry.price, facts.price)):
        return facts.price
    told = _fields(entry.price)
    kept = {name: value for name, value in _fields(facts.price).items() if name not in told}
    return msgspec.structs.replace(entry.price, **_times(kept, _ratio(facts, entry)))


def _long(facts: ModelFacts, entry: Entry) -> LongContext | None:
    long = facts.long_context
    if entry.long_context is not None and (long is None or not _same(entry.long_context, long)):
        return entry.long_context
    if long is None or entry.price is None or facts.price is None or _same(entry.price, facts.price):
        return long
    return LongContext(above=long.above, **_times(_fields(long, ("above",)), _ratio(facts, entry)))


def _ratio(facts: ModelFacts, entry: Entry) -> float:
    """Return how many times the price of a prompt is what it was."""
    before = facts.price.input if facts.price else None
    after = entry.price.input if entry.price else None
    return after / before if before and after else 1.0


def _times(prices: Mapping[str, float], ratio: float) -> dict[str, float]:
    return {name: round(value * ratio, 6) for name, value in prices.items()}


def _same(told: Price, known: Price) -> bool:
    """Whether a price says nothing else than what is known, as far as it says anything. known: of told's kind."""
    return all(value == getattr(known, name) for name, value in _fields(told).items())


def _context(facts: ModelFacts, entry: Entry) -> int | None:
    """Return the tokens of prompt a model reads: as told, or what is known where the total says the same."""
    if entry.context is not None or entry.total is None:
        return entry.context
    if facts.context and facts.context + (facts.max_output or 0) == entry.total:
        return facts.context
    return entry.total


def _gone(table: ModelTable, entries: Entries) -> Iterator[Change]:
    """Yield the rows of makers and hosts whose models the catalogue has, but not these."""
    plain = {(provider, without_snapshot(id.lower())) for provider, id in entries}
    providers = {provider for provider, _ in plain}
    for by, id in table.listed:
        maker = by or maker_of(id)
        if maker in providers and (maker, without_snapshot(id)) not in plain:
            yield Change("gone", maker, id, "")


def maker_of(id: str) -> str:
    """Return the provider that makes a model and serves it under this id, "" for others."""
    return next((name for name in _MAKERS if _is_maker(name, id)), "")


def _is_maker(provider: str, id: str) -> bool:
    return id.startswith(_MAKERS.get(provider, ()))


def _fields(price: Price | None, without: Iterable[str] = ()) -> dict[str, Any]:
    names = price.__struct_fields__ if price is not None else ()
    return {name: value for name in names if name not in without and (value := getattr(price, name)) is not None}


def _told(price: Price) -> str:
    return ", ".join(f"{name} {value:g}" for name, value in _fields(price).items())


def _words(facts: ModelFacts, row: Json) -> str:
    before = {**_fields(facts.price), "context": facts.context, "max_output": facts.max_output}
    after = {**row.get("price", {}), **{name: row[name] for name in ("context", "max_output") if name in row}}
    parts = [
        f"{name} {value:g}" if before.get(name) is None else f"{name} {before[name]:g} → {value:g}"
        for name, value in after.items()
        if value != before.get(name)
    ]
    return ", ".join([*parts, *(["long prompts"] if "long_context" in row else [])])


def rendered(changes: Iterable[Change], date: str, source: str) -> str:
    """Return the text of models.local.yaml: a row for each model that differs from models.yaml."""
    rows: dict[str, list[Json]] = {}
    for change in changes:
        if change.row is not None:
            rows.setdefault(change.model, []).append(change.row)
    lines = [
        f"  {json.dumps(id)}: {json.dumps(each if len(each) > 1 else each[0])}" for id, each in sorted(rows.items())
    ]
    return "\n".join(
        [
            "# Prices, windows and releases laid over providers/models.yaml. Written by `python modelserver.py models update`,",
            "# which writes it anew: what is to stay belongs into model_facts in config.yaml.",
            f"as_of: {date}",
            f"source: {json.dumps(source)}",
            *(["models:", *lines] if lines else ["models: {}"]),
            "",
        ]
    )
