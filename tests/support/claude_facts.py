"""Facts of Claude models for the tests: the rows of providers/models.yaml, by the names the tests use."""

from model_table import MODELS

from providers.models import ModelFacts


def facts(model: str) -> ModelFacts:
    """The row of a model id."""
    return MODELS.of(model, "anthropic")


HAIKU_4_5 = facts("claude-haiku-4-5")
OPUS_4_5 = facts("claude-opus-4-5")
OPUS_4_6 = facts("claude-opus-4-6")
OPUS_4_8 = facts("claude-opus-4-8")
HAIKU_5_5 = facts("claude-haiku-5-5")
FABLE_5 = facts("claude-fable-5")
SONNET_5_5 = facts("claude-sonnet-5-5")
OPUS_5_5 = facts("claude-opus-5-5")
OPUS_4 = facts("claude-opus-4-20250514")
UNKNOWN = ModelFacts()
