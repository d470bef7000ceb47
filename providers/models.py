"""What differs between models: a table of data, models.yaml, read by pattern. config.yaml can override or add rows."""

from typing import Literal

import msgspec


class Price(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """USD per million tokens; null: unknown, never free."""

    input: float | None = None
    output: float | None = None
    cache_read: float | None = None
    cache_write: float | None = None
    cache_write_1h: float | None = None


class LongContext(Price, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """The price of the whole request when its prompt is longer than `above` tokens."""

    above: int


class Model(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Facts about one model. The defaults describe a model nothing is known of: pass everything, promise nothing."""

    context: int | None = None  # tokens of prompt it reads
    max_output: int | None = None  # tokens it writes at most
    price: Price | None = None
    long_context: LongContext | None = None
    shutdown: str | None = None  # date of its announced end
    vision: bool = False
    pdf: bool = False
    audio: bool = False
    tools: bool = True
    json_schema: bool = True
    # temperature, top_p, penalties, logprobs: taken; refused; taken only while not reasoning; taken without effect
    sampling: Literal["yes", "no", "without_reasoning", "ignored"] = "yes"
    # does not reason; only when asked; unless told not to; always
    reasoning: Literal["no", "off", "on", "always"] = "no"
    efforts: tuple[str, ...] = ()  # reasoning_effort values it takes, weakest first
    max_tokens: Literal["max_tokens", "max_completion_tokens", "both"] = "both"  # the name it takes
    # OpenAI chat completions: function tools are taken; only without reasoning; never (then /v1/responses serves)
    chat_tools: Literal["yes", "without_reasoning", "no"] = "yes"
    # Claude
    thinking: tuple[str, ...] = ()  # thinking.type values it takes: adaptive, enabled, disabled, between_tools
    forced_tools: bool = True  # takes tool_choice any/tool
    prefill: bool = True  # the last message may be the assistant's
    # Gemini
    budget: bool = False  # takes thinkingBudget; otherwise thinkingLevel
    call_ids: bool = False  # functionCall.id is sent and must be echoed; otherwise it is refused
    signatures: bool = False  # functionCall parts must carry their thoughtSignature back
    penalties: bool = True
    logprobs: bool = True
    candidates: int = 8  # answers to one request, n
    json_with_tools: bool = True  # takes response_format json_* together with tools
