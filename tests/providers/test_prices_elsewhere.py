"""models.yaml beside a second public catalogue: the package genai-prices, where it is installed (tests/requirements.txt).

Differences are listed, and those that are not known fail: one of the two catalogues is out of date, or wrong.
"""

from datetime import UTC, datetime
from typing import Any

import pytest
from model_table import MODELS

from providers.catalogue import maker_of
from providers.models import Price

data_snapshot: Any = pytest.importorskip("genai_prices.data_snapshot")

THERE = {"gemini": "google", "xai": "x-ai", "moonshot": "moonshotai"}  # our name of a provider → theirs
NAMES = {  # our name of a price → theirs
    "input": "input_mtok",
    "output": "output_mtok",
    "cache_read": "cache_read_mtok",
    "cache_write": "cache_write_mtok",
    "cache_write_1h": "cache_write_1h_mtok",
}
PEAK, OFF_PEAK = datetime(2026, 11, 27, 2, tzinfo=UTC), datetime(2026, 11, 27, 12, tzinfo=UTC)
# provider/model, price → (ours, theirs), by genai-prices 0.2.3
KNOWN: dict[tuple[str, str], tuple[float | None, float]] = {
    # Retired in July 2026. There: the prices of 2025.
    ("deepseek/deepseek-chat", "input"): (0.28, 0.27),
    ("deepseek/deepseek-chat", "output"): (0.42, 1.1),
    ("deepseek/deepseek-chat", "cache_read"): (0.028, 0.07),
    ("deepseek/deepseek-reasoner", "input"): (0.28, 0.55),
    ("deepseek/deepseek-reasoner", "output"): (0.42, 2.19),
    ("deepseek/deepseek-reasoner", "cache_read"): (0.028, 0.14),
    # Which of the two is right is not known.
    ("together/meta-llama/llama-3.3-70b-instruct-turbo", "input"): (1.04, 0.88),
    ("together/meta-llama/llama-3.3-70b-instruct-turbo", "output"): (1.04, 0.88),
    ("fireworks/accounts/fireworks/models/llama-v3p1-8b-instruct", "input"): (0.1, 0.2),
    ("fireworks/accounts/fireworks/models/llama-v3p1-8b-instruct", "output"): (0.1, 0.2),
}


def differences(
    provider: str, model: str, price: Price, at: datetime
) -> dict[tuple[str, str], tuple[float | None, float]]:
    """The prices that they tell otherwise. What they do not tell is no difference."""
    snapshot = data_snapshot.get_snapshot()
    found = next((each for each in snapshot.providers if each.id == THERE.get(provider, provider)), None)
    info = found.find_model(model) if found is not None else None
    if info is None:
        return {}
    told = info.get_prices(at)
    values = {name: getattr(told, theirs, None) for name, theirs in NAMES.items()}
    plain = {name: float(getattr(value, "base", value)) for name, value in values.items() if value is not None}
    ours = {name: getattr(price, name) for name in plain}
    return {(f"{provider}/{model}", name): (ours[name], value) for name, value in plain.items() if ours[name] != value}


def test_prices_are_those_of_another_catalogue() -> None:
    found: dict[tuple[str, str], tuple[float | None, float]] = {}
    compared = 0
    for (by, model), facts in MODELS.listed.items():
        provider = by or maker_of(model)
        if facts.price is None or not provider:
            continue
        compared += 1
        found |= differences(provider, model, facts.price, PEAK)
        if facts.off_peak is not None:
            found |= differences(provider, model, facts.off_peak, OFF_PEAK)
    print(
        *(f"{model} {name}: {ours} here, {theirs} there" for (model, name), (ours, theirs) in found.items()), sep="\n"
    )
    assert found == KNOWN
    assert compared > 70
