"""The table of models: what models.yaml says, how ids find their row, and what a user's row may change."""

import json
from datetime import date
from pathlib import Path
from typing import Any

import msgspec
import pytest
import yaml

from providers.model_table import ModelTable
from providers.models import LongContext, ModelFacts, Price

HERE = Path(__file__).parents[1]
TEXT = (HERE.parent / "providers" / "models.yaml").read_text(encoding="utf-8")
SPEC = HERE.parent.parent / "shared" / "spec" / "models.json"
MODELS = ModelTable.parse(TEXT)


def known(model: str, provider: str = "", **extra: Any) -> dict[str, Any]:
    """What is said of a model beyond the defaults, its release aside."""
    models = ModelTable.parse(TEXT, extra) if extra else MODELS
    facts = models.of(model, provider)
    return {
        name: getattr(facts, name)
        for name in ModelFacts.__struct_fields__
        if getattr(facts, name) != DEFAULT[name] and name != "released"
    }


DEFAULT = {name: getattr(ModelFacts(), name) for name in ModelFacts.__struct_fields__}
OPUS = {
    "context": 1_000_000,
    "max_output": 128_000,
    "price": Price(input=4, output=20, cache_read=0.2, cache_write=5, cache_write_1h=8),
    "vision": True,
    "pdf": True,
    "sampling": "no",
    "reasoning": "always",
    "efforts": ("low", "medium", "high", "xhigh", "max"),
    "thinking": ("adaptive",),
    "forced_tools": False,
    "prefill": False,
    "cache_minimum": 1024,
    "bound_thinking": True,
}
HAIKU = {
    "context": 200_000,
    "max_output": 64_000,
    "price": Price(input=1, output=5, cache_read=0.1, cache_write=1.25, cache_write_1h=2),
    "vision": True,
    "pdf": True,
    "reasoning": "off",
    "thinking": ("enabled", "disabled"),
    "cache_minimum": 4096,
}
TERRA = {
    "context": 922_000,
    "max_output": 128_000,
    "price": Price(input=2, output=12, cache_read=0.2, cache_write=2.5),
    "long_context": LongContext(above=272_000, input=4, output=18, cache_read=0.4, cache_write=5),
    "vision": True,
    "pdf": True,
    "sampling": "without_reasoning",
    "reasoning": "on",
    "efforts": ("none", "low", "medium", "high", "xhigh"),
    "max_tokens": "max_completion_tokens",
    "chat_tools": "without_reasoning",
    "tiers": {"priority": 2, "flex": 0.5},
}
FLASH = {
    "context": 1_048_576,
    "max_output": 65_536,
    "price": Price(input=0.75, output=3.75, cache_read=0.075),
    "vision": True,
    "pdf": True,
    "audio": True,
    "sampling": "ignored",
    "penalties": False,
    "reasoning": "always",
    "efforts": ("low", "medium", "high"),
    "call_ids": True,
    "signatures": True,
    "logprobs": False,
    "candidates": 1,
    "tiers": {"priority": 1.8},
}
O_SERIES = {"reasoning": "always", "sampling": "no", "efforts": ("low", "medium", "high"), "parallel_tools": False} | {
    "vision": True,
    "pdf": True,
    "context": 200_000,
    "max_output": 100_000,
    "max_tokens": "max_completion_tokens",
}
GPT_TO_COME = {
    "vision": True,
    "pdf": True,
    "sampling": "no",
    "reasoning": "always",
    "efforts": ("low", "medium", "high"),
    "max_tokens": "max_completion_tokens",
    "chat_tools": "no",
}
OSS = {
    "vision": False,
    "pdf": False,
    "context": 131_072,
    "reasoning": "always",
    "efforts": ("low", "medium", "high"),
    "max_tokens": "max_tokens",
}

ROWS: list[tuple[str, str, dict[str, Any]]] = [
    ("claude-opus-5-5", "", OPUS),
    ("claude-haiku-4-5", "", HAIKU),
    ("gpt-5.6-terra", "", TERRA),
    ("gemini-3.8-flash", "", FLASH),
    ("llama3.1", "ollama", {"context": 8192, "max_output": 8192, "price": Price(0, 0), "max_tokens": "max_tokens"}),
    # the same model under the names that it goes by
    ("claude-haiku-4-5-20251001", "", HAIKU),
    ("claude-haiku-4-5@20251001", "vertex", HAIKU),
    ("anthropic/claude-haiku-4.5", "openrouter", HAIKU),
    ("Claude-Haiku-4-5", "", HAIKU),
    ("gpt-5.6-terra-2026-09-03", "", TERRA),
    ("openai/gpt-5.6-terra", "openrouter", TERRA),
    ("models/gemini-3.8-flash", "gemini", FLASH),
    ("google/gemini-3.8-flash", "openrouter", FLASH),
    # one id, several hosts
    ("openai/gpt-oss-120b", "groq", OSS | {"max_output": 65_536, "price": Price(0.15, 0.6, 0.075)}),
    ("groq/openai/gpt-oss-120b", "", OSS | {"max_output": 65_536, "price": Price(0.15, 0.6, 0.075)}),
    ("openai/gpt-oss-120b", "together", OSS | {"max_output": 131_072, "price": Price(0.15, 0.6)}),
    ("openai/gpt-oss-120b", "cerebras", OSS),
    ("deepseek/deepseek-chat", "openrouter", {"max_tokens": "max_tokens", "json_schema": False}),
    # families: behaviour, never a price
    ("claude-zeta-6-1", "", {k: v for k, v in OPUS.items() if k not in ("price", "context")} | {"max_output": 64_000}),
    (
        "claude-next",
        "",
        {"vision": True, "pdf": True, "sampling": "no", "json_schema": False, "forced_tools": False, "prefill": False}
        | {"bound_thinking": True, "cache_minimum": 4096},
    ),
    ("claude-sonnet-4-5-thinking", "", {k: v for k, v in HAIKU.items() if k != "price"}),
    ("gpt-7-nova", "", GPT_TO_COME),
    ("gpt-6.3-vega-2027-02-01", "", GPT_TO_COME),
    ("gpt-5.7", "", GPT_TO_COME),
    ("o5-mini", "", O_SERIES | {"stop": False}),
    ("gemini-4-xenon", "", {k: v for k, v in FLASH.items() if k not in ("price", "max_output", "tiers")}),
    (
        "gemini-2.5-flash-preview-09-2025",
        "",
        {"context": 1_048_576, "max_output": 65_536, "vision": True, "pdf": True, "audio": True}
        | {"reasoning": "on", "json_with_tools": False, "budget": True, "tiers": {"priority": 1.8}},
    ),
    (
        "kimi-k3-preview",
        "moonshot",
        {"max_tokens": "max_tokens", "reasoning": "always", "sampling": "no"} | {"efforts": ("low", "high", "max")},
    ),
    (
        "moonshotai/kimi-k3",
        "openrouter",
        {"max_tokens": "max_tokens", "reasoning": "always", "reasoning_back": True}
        | {"efforts": ("low", "high", "max")},
    ),
    ("meta-llama/llama-9", "openrouter", {}),
    ("my-own-model", "", {}),
]


@pytest.mark.parametrize(("model", "provider", "expected"), ROWS, ids=[f"{m} at {p or 'any'}" for m, p, _ in ROWS])
def test_what_is_known_of_a_model(model: str, provider: str, expected: dict[str, Any]) -> None:
    assert known(model, provider) == expected


# model → chat, chat_tools, sampling, reasoning (spec/WIRE.md 1.8)
OPENAI = {
    "gpt-4o": (True, "yes", "yes", "no"),
    "gpt-4.1-2025-04-14": (True, "yes", "yes", "no"),
    "o3": (True, "yes", "no", "always"),
    "gpt-5": (True, "yes", "no", "always"),
    "gpt-5-mini-2025-08-07": (True, "yes", "no", "always"),
    "gpt-5-codex": (False, "no", "no", "always"),
    "gpt-5.1": (True, "yes", "without_reasoning", "off"),
    "gpt-5.2-2025-12-11": (True, "yes", "without_reasoning", "off"),
    "gpt-5.4": (True, "without_reasoning", "without_reasoning", "off"),
    "gpt-5.5": (True, "without_reasoning", "without_reasoning", "on"),
    "gpt-5.5-pro": (False, "no", "no", "always"),
    "gpt-6-sol": (True, "without_reasoning", "without_reasoning", "on"),
    "gpt-6-astra": (True, "no", "no", "always"),
    "gpt-6.1-sol": (True, "no", "no", "always"),
    "gpt-6.1-terra": (True, "without_reasoning", "without_reasoning", "on"),
}


@pytest.mark.parametrize("model", OPENAI)
def test_openai_reasoning_models(model: str) -> None:
    facts = MODELS.of(model)
    assert (facts.chat, facts.chat_tools, facts.sampling, facts.reasoning) == OPENAI[model]


def test_embeddings_of_the_example_have_a_price() -> None:
    prices = {name: MODELS.of(name).price for name in ("text-embedding-3-small", "text-embedding-3-large")}
    prices |= {"gemini-embedding-001": MODELS.of("gemini-embedding-001").price}
    assert {name: price and (price.input, price.output) for name, price in prices.items()} == {
        "text-embedding-3-small": (0.02, None),
        "text-embedding-3-large": (0.13, None),
        "gemini-embedding-001": (0.15, None),
    }
    assert all(MODELS.of(name).embeds for name in prices)


# model → max_output, thinking, sampling, forced_tools, prefill (spec/WIRE.md 2.3)
CLAUDE = {
    "claude-fable-5": (128_000, ("adaptive",), "no", True, False),
    "claude-fable-5-2": (128_000, ("adaptive",), "no", False, False),
    "claude-mythos-5-1": (128_000, ("adaptive",), "no", False, False),
    "claude-sonnet-5-5": (128_000, ("adaptive", "between_tools"), "no", False, False),
    "claude-haiku-5-5": (128_000, ("adaptive", "disabled"), "no", True, False),
    "claude-opus-5": (128_000, ("adaptive", "disabled"), "no", True, False),
    "claude-opus-4-8": (128_000, ("adaptive", "disabled"), "no", True, False),
    "claude-opus-4-6": (128_000, ("adaptive", "enabled", "disabled"), "yes", True, False),
    "claude-sonnet-4-5-20250929": (64_000, ("enabled", "disabled"), "yes", True, True),
    "claude-sonnet-4-20250514": (64_000, ("enabled", "disabled"), "yes", True, True),
    "claude-opus-4-1-20250805": (32_000, ("enabled", "disabled"), "yes", True, True),
    "claude-3-5-sonnet-latest": (8192, (), "yes", True, True),
    "claude-3-opus-20240229": (4096, (), "yes", True, True),
    "claude-unheard-of": (None, (), "no", False, False),
}


@pytest.mark.parametrize("model", CLAUDE)
def test_claude_models(model: str) -> None:
    facts = MODELS.of(model)
    assert (facts.max_output, facts.thinking, facts.sampling, facts.forced_tools, facts.prefill) == CLAUDE[model]


def test_models_that_end_keep_their_row_and_its_date() -> None:
    ends = {name: MODELS.of(name).shutdown for name in ("o1", "gpt-4o", "claude-sonnet-4-20250514", "claude-opus-5")}
    assert ends == {"o1": "2026-10-23", "gpt-4o": "2027-01-14", "claude-sonnet-4-20250514": "2026-06-15"} | {
        "claude-opus-5": None
    }


def test_models_have_the_month_of_their_release() -> None:
    """Snapshots have their model's, other hosts the maker's; what is only like another, or not listed, has none."""
    ids = ("gpt-4o", "gpt-4o-2024-11-20", "openai/gpt-6.2-sol", "claude-haiku-5.5", "gemini-pro-latest", "gpt-9")
    assert [MODELS.of(id).released for id in ids] == ["2024-05", "2024-05", "2026-11", "2026-10", None, None]
    assert ModelTable.parse(TEXT, {"nova": {"like": "gpt-4o"}}).of("nova").released is None
    assert ModelTable.parse(TEXT, {"nova": {"released": "2031-02"}}).of("nova").released == "2031-02"


def test_the_file_has_no_key_twice() -> None:
    """YAML lets a later key win in silence."""

    def unique(node: yaml.Node) -> int:
        if isinstance(node, yaml.MappingNode):
            names = [key.value for key, _ in node.value]
            assert len(names) == len(set(names)), sorted(name for name in names if names.count(name) > 1)
            return sum(unique(value) for _, value in node.value) + len(names)
        return sum(map(unique, node.value)) if isinstance(node, yaml.SequenceNode) else 0

    assert unique(yaml.compose(TEXT, Loader=yaml.SafeLoader)) > 500


# What models.json says of these and the table does not follow, with the reason.
DEVIATIONS = {
    ("gemini-pro-latest", "efforts"): ("low", "medium", "high"),  # stands for 3.1-pro, which refuses minimal
    ("gemini-flash-latest", "efforts"): ("low", "medium", "high"),  # may stand for 3.8-flash, which refuses minimal
    # 1.36 and 4.18 until 2026-10-29: docs.mistral.ai/models/mistral-large-4-0
    ("mistral-large-4", "price"): Price(0.7, 2.1, 0.07),
} | {
    # the capability is litellm's; the API answers "This response_format type is unavailable now"
    (name, "json_schema"): False
    for name in ("deepseek-flash", "deepseek-v4-flash", "deepseek-v4-pro", "deepseek-chat", "deepseek-reasoner")
}


def expected_of(row: dict[str, Any]) -> dict[str, Any]:
    """A row of models.json in the terms of Model: only what it states."""
    stated: dict[str, Any] = {}
    for theirs, ours in (("context_window_in", "context"), ("max_output", "max_output"), ("shutdown_date", "shutdown")):
        if row.get(theirs):
            stated[ours] = row[theirs]
    prices = row.get("usd_per_mtok")
    stated["price"] = prices and Price(*prices.values())
    can = row.get("capabilities") or {}
    for theirs, ours in (("vision", "vision"), ("pdf", "pdf"), ("audio_in", "audio"), ("tools", "tools")):
        if theirs in can:
            stated[ours] = can[theirs]
    if "json_schema" in can:
        stated["json_schema"] = can["json_schema"]
    match row.get("gateway") or {}:
        case {"reasoning": reasoning}:
            stated["efforts"] = tuple(reasoning["efforts_responses_api"])
            kind = {(True, False): "always", (True, True): "on", (False, True): "off"}
            stated["reasoning"] = kind[reasoning["default_on"], reasoning["can_disable"]]
        case {"thinking_types_accepted": types, "output_config_effort": efforts, **rest}:
            stated |= {"thinking": tuple(types), "efforts": tuple(efforts), "forced_tools": rest["forced_tool_choice"]}
            stated |= {"prefill": rest["prefill"], "sampling": "yes" if rest["sampling_params"] else "no"}
        case {"thinking_levels": levels, **rest}:
            stated |= {"efforts": tuple(levels or ()), "signatures": rest["thought_signature_required"]}
            stated |= {"call_ids": rest["function_call_id"], "budget": rest["thinking_param"] == "thinkingBudget"}
            stated |= {"penalties": rest["penalties"]}
            stated |= {"sampling": "yes" if rest["sampling_params"] == "ok" else "ignored"}
    return stated


@pytest.mark.skipif(not SPEC.exists(), reason="the reference table is not beside the repository")
def test_all_models_of_the_reference_table() -> None:
    rows = json.loads(SPEC.read_text(encoding="utf-8"))["models"]
    assert len(rows) == 79
    hosts = {"together_ai": "together", "fireworks_ai": "fireworks"}
    wrong: dict[tuple[str, str], Any] = {}
    for row in rows:
        facts = MODELS.of(row["id"], hosts.get(row["upstream"], row["upstream"]))
        for field, value in expected_of(row).items():
            if getattr(facts, field) != value:
                wrong[row["id"], field] = getattr(facts, field)
        if long := row.get("long_context_usd_per_mtok"):
            ((above, prices),) = long.items()
            assert facts.long_context is not None
            assert facts.long_context.above == int(above.removesuffix("k")) * 1000
            assert facts.long_context.input == prices["input_cost_per_token"]
            assert facts.long_context.output == prices["output_cost_per_token"]
            assert facts.long_context.cache_read == prices.get("cache_read_input_token_cost")
            assert facts.long_context.cache_write == prices.get("cache_creation_input_token_cost")
        else:
            assert facts.long_context is None, row["id"]
    assert wrong == DEVIATIONS


def test_a_users_row_changes_what_it_names() -> None:
    extra: dict[str, Any] = {"claude-haiku-4-5": {"max_output": 8000, "sampling": "no"}}
    assert known("claude-haiku-4-5-20251001", **extra) == HAIKU | {"max_output": 8000, "sampling": "no"}


def test_a_users_price_replaces_all_prices_of_the_row() -> None:
    extra: dict[str, Any] = {"gpt-5.6-terra": {"price": {"input": 1, "output": 2}}}
    expected = {name: value for name, value in TERRA.items() if name != "long_context"} | {"price": Price(1, 2)}
    assert known("gpt-5.6-terra", **extra) == expected


def test_a_users_new_id_keeps_what_its_family_does() -> None:
    extra: dict[str, Any] = {"gpt-7-nova": {"price": {"input": 3}, "shutdown": date(2030, 1, 2)}}
    assert known("gpt-7-nova", **extra) == GPT_TO_COME | {"price": Price(3), "shutdown": "2030-01-02"}


def test_a_users_row_may_be_like_another_but_costs_its_own() -> None:
    extra: dict[str, Any] = {"nova": {"like": "claude-haiku-4-5", "vision": False}}
    expected = {name: value for name, value in HAIKU.items() if name != "price"} | {"vision": False}
    assert known("nova", **extra) == expected
    kept = known("gpt-5.6-terra", **{"gpt-5.6-terra": {"like": "gpt-4o"}})
    assert (kept["price"], kept.get("sampling")) == (TERRA["price"], None)


def test_a_row_like_a_provider_s_row_is_not_bound_to_it() -> None:
    expected = {"context": 8192, "max_output": 8192, "max_tokens": "max_tokens"}
    assert known("mine", "lab", mine={"like": "llama3.1"}) == expected


def test_a_provider_s_pattern_wins_over_the_general_one() -> None:
    models = ModelTable.parse('families: {}\nmodels: {"a*": [{provider: lab, vision: true}, {audio: true}]}')
    assert (models.of("ab", "lab").vision, models.of("ab", "other").vision) == (True, None)


def test_a_users_pattern_has_no_price_of_one_model() -> None:
    tiny = {"vision": False, "pdf": True, "context": 128_000, "max_output": 16_384, "tiers": {"priority": 1.7}}
    assert known("gpt-4o-tiny", **{"gpt-4o*": {"vision": False}}) == tiny
    assert known("gpt-4o", **{"gpt-4o*": {"vision": False}}) == known("gpt-4o")
    assert known("gpt-4o-2", **{"gpt-4*": {"vision": False}}) == tiny
    assert known("claude-9", **{"claude*-": {}, "c*laude-": {}, "*claude-*": {"audio": True}})["audio"]
    priced: dict[str, Any] = {"*": {"provider": "lab", "price": {"input": 0, "output": 0}}}
    assert known("anything", "lab", **priced) == {"price": Price(0, 0)}
    assert known("anything", "other", **priced) == {}


def test_a_users_row_counts_at_every_provider_unless_it_names_one() -> None:
    free: dict[str, Any] = {"price": {"input": 0, "output": 0}}
    for provider in ("groq", "together"):
        assert known("openai/gpt-oss-120b", provider, **{"openai/gpt-oss-120b": free})["price"] == Price(0, 0)
    only: dict[str, Any] = {"openai/gpt-oss-120b": free | {"provider": "groq"}}
    assert known("openai/gpt-oss-120b", "groq", **only)["price"] == Price(0, 0)
    assert known("openai/gpt-oss-120b", "together", **only)["price"] == Price(0.15, 0.6)


REFUSED: list[tuple[dict[str, Any], str]] = [
    ({"gpt-5.2": {"sampeling": "no"}}, "gpt-5.2: sampeling: unknown field, did you mean 'sampling'?"),
    ({"gpt-5.2": {"price": {"inptu": 1}}}, "gpt-5.2: price.inptu: unknown field, did you mean 'input'?"),
    ({"gpt-5.2": {"price": {"input": "one"}}}, "gpt-5.2: price.input: Expected `float | null`, got `str`"),
    ({"gpt-5.2": {"price": {"input": -1}}}, "gpt-5.2: price.input: Expected `float` >= 0.0"),
    ({"gpt-5.2": {"price": {"input": float("nan")}}}, "gpt-5.2: price.input: Expected `float` >= 0.0"),
    ({"gpt-5.2": {"like": "gpt-50"}}, "gpt-5.2: like: there is no row 'gpt-50', did you mean 'gpt-5'?"),
    (
        {"gpt-5.2": {"efforts": ["hgih"]}},
        "gpt-5.2: efforts[0]: Invalid enum value 'hgih'; expected none, minimal, low, medium, high, xhigh, max",
    ),
    (
        {"gpt-5.2": {"sampling": False}},
        "gpt-5.2: sampling: Expected `str`, got `bool`; expected yes, no, without_reasoning, ignored, "
        "in quotes: YAML reads a bare yes, no, on or off as true or false",
    ),
    ({"gpt-5.2": {"context": 0}}, "gpt-5.2: context: Expected `int` >= 1"),
    ({"gpt-5.2": {"shutdown": "soon"}}, r"gpt-5.2: shutdown: Expected `str` matching regex '^\\d{4}-\\d\\d-\\d\\d$'"),
    (
        {"gpt-5.2": {"released": "2025-13"}},
        r"gpt-5.2: released: Expected `str` matching regex '^\\d{4}-(0[1-9]|1[0-2])$'",
    ),
    ({"gpt-5.2": {"provider": 1}}, "gpt-5.2: provider: expected a name such as groq"),
    ({"gpt-5.2": None}, "gpt-5.2: expected fields such as {vision: true}"),
]


@pytest.mark.parametrize(("extra", "message"), REFUSED, ids=[message[9:40] for _, message in REFUSED])
def test_a_mistake_is_refused_with_row_and_field(extra: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError) as refused:
        ModelTable.parse(TEXT, extra)
    assert str(refused.value) == message


BROKEN = {
    "": "models.yaml: families: expected a mapping of rows",
    "families: {}": "models.yaml: models: expected a mapping of rows",
    "families: {a: {like: b}, b: {like: a}}\nmodels: {x: {like: a}}": "b: like: a is like itself",
    "families: {}\nmodels: {x: {visoin: true}}": "x: visoin: unknown field, did you mean 'vision'?",
}


@pytest.mark.parametrize("text", BROKEN)
def test_a_broken_table_is_refused(text: str) -> None:
    with pytest.raises(ValueError) as refused:
        ModelTable.parse(text)
    assert str(refused.value) == BROKEN[text]


def test_lookups_are_remembered_within_a_bound() -> None:
    models = ModelTable.parse(TEXT)
    assert models.of("gpt-4o") is models.of("gpt-4o")
    for number in range(5000):
        models.of(f"made-up-{number}")
    assert len(models._found) <= 1024


def test_rows_are_values() -> None:
    assert msgspec.json.decode(msgspec.json.encode(MODELS.of("gpt-5.6-terra")), type=ModelFacts) == MODELS.of(
        "gpt-5.6-terra"
    )
