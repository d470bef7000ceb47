"""What differs between models: their prices, what they take, and how long they read and write.

The values stand in models.yaml; model_table.py reads it and looks a model up.
"""

from collections.abc import Sequence
from functools import cached_property
from typing import Annotated, Final, Literal, get_args

import msgspec

Tokens = Annotated[int, msgspec.Meta(ge=1)]
Dollars = Annotated[float, msgspec.Meta(ge=0, le=1e6)]
Effort = Literal["none", "minimal", "low", "medium", "high", "xhigh", "max"]

EFFORTS: Final[tuple[str, ...]] = get_args(Effort)  # values of reasoning_effort, weakest first
# The largest thinking budget of each effort; more: xhigh. https://platform.claude.com/docs/en/build-with-claude/adaptive-thinking
_BUDGETS: Final = ((2048, "low"), (8192, "medium"), (32_767, "high"))


def nearest_effort(wanted: str, taken: Sequence[str]) -> str | None:
    """Return the effort that a model takes in place of this one: the same, else the next stronger, else its strongest.

    taken: ModelFacts.efforts, weakest first; None where it is empty.
    """
    stronger = EFFORTS[EFFORTS.index(wanted) :] if wanted in EFFORTS else ()
    return next((each for each in stronger if each in taken), taken[-1] if taken else None)


def effort_of_budget(tokens: int) -> str:
    """Return the effort that stands for a thinking budget."""
    return next((effort for most, effort in _BUDGETS if tokens <= most), "xhigh")


_SCALE: Final = 10**6
Rates = tuple[int | None, ...]


class Price(msgspec.Struct, frozen=True, forbid_unknown_fields=True, dict=True):
    """USD per million tokens; null: unknown, never free."""

    input: Dollars | None = None
    output: Dollars | None = None
    cache_read: Dollars | None = None
    cache_write: Dollars | None = None
    cache_write_1h: Dollars | None = None

    @cached_property
    def rates(self) -> Rates:
        """What a token of a fresh prompt, an answer, and a prompt that was cached, is newly cached, or is for an hour, costs.

        In millionths of a micro-USD. Where nothing is known of the cache, what is in it costs what is fresh.
        """
        fresh = self.input
        write = fresh if self.cache_write is None else self.cache_write
        dollars = (
            fresh,
            self.output,
            fresh if self.cache_read is None else self.cache_read,
            write,
            write if self.cache_write_1h is None else self.cache_write_1h,
        )
        return tuple(None if value is None else round(value * _SCALE) for value in dollars)


_PRICES: Final = Price.__struct_fields__


class LongContext(Price, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """The price of the whole request when its prompt is longer than `above` tokens."""

    above: Tokens


class OffPeak(Price, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """The price at all times but the peak hours, by UTC."""

    peak: tuple[Annotated[str, msgspec.Meta(pattern=r"^([01]\d|2[0-3]):[0-5]\d-([01]\d|2[0-4]):[0-5]\d$")], ...]
    peak_days: Literal["all", "mon-fri"] = "all"

    @cached_property
    def _peak(self) -> tuple[tuple[int, int], ...]:
        """The peak hours, as minutes of a day."""
        return tuple((_minutes(begin), _minutes(end)) for begin, _, end in (each.partition("-") for each in self.peak))

    def is_on(self, at: float) -> bool:
        """Whether this price holds at a Unix time."""
        day, second = divmod(int(at), 86_400)
        if self.peak_days == "mon-fri" and (day + 3) % 7 > 4:  # 1970-01-01 was a Thursday
            return True
        minute = second // 60
        return not any(
            begin <= minute < end if begin <= end else minute >= begin or minute < end for begin, end in self._peak
        )


def _minutes(clock: str) -> int:
    return int(clock[:2]) * 60 + int(clock[3:])


class ModelFacts(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True, dict=True):
    """Facts about one model. The defaults describe a model nothing is known of: pass everything, promise nothing."""

    context: Tokens | None = None  # tokens of prompt it reads
    window: Tokens | None = None  # the longest prompt that a header of the client's may open; null: context
    max_output: Tokens | None = None  # tokens it writes at most
    price: Price | None = None
    long_context: LongContext | None = None
    off_peak: OffPeak | None = None  # `price` is that of the peak hours
    # service_tier → how many times the price it costs. Tiers that are not here and may cost more have no known price.
    tiers: dict[str, Annotated[float, msgspec.Meta(gt=0, le=1000)]] = {}
    released: Annotated[str, msgspec.Meta(pattern=r"^\d{4}-(0[1-9]|1[0-2])$")] | None = (
        None  # month in which its maker did
    )
    shutdown: Annotated[str, msgspec.Meta(pattern=r"^\d{4}-\d\d-\d\d$")] | None = None  # date of its announced end
    vision: bool | None = None  # reads images; null: not known, the upstream decides
    pdf: bool | None = None
    audio: bool = False
    embeds: bool = False  # makes embeddings, and nothing else
    tools: bool = True
    json_schema: bool = True
    # temperature, top_p, penalties, logprobs: taken; refused; taken only while not reasoning; taken without effect
    sampling: Literal["yes", "no", "without_reasoning", "ignored"] = "yes"
    penalties: bool = True  # takes presence_penalty and frequency_penalty
    stop: bool = True  # takes stop
    parallel_tools: bool = True  # takes parallel_tool_calls
    # does not reason; only when asked; unless told not to; always
    reasoning: Literal["no", "off", "on", "always"] = "no"
    # while it reasons, assistant messages with tool calls must bring theirs back, on a host whose row does not say so
    reasoning_back: bool = False
    efforts: tuple[Effort, ...] = ()  # reasoning_effort values it takes, weakest first; empty: unknown
    max_tokens: Literal["max_tokens", "max_completion_tokens", "both"] = "both"  # the name it takes
    # OpenAI: whether chat completions serves it at all; otherwise only /v1/responses does
    chat: bool = True
    # OpenAI chat completions: function tools are taken; only without reasoning; never. /v1/responses serves those that are
    # not: with `reasoning: on` also requests that name no effort
    chat_tools: Literal["yes", "without_reasoning", "no"] = "yes"
    # Claude: thinking.type values it takes
    thinking: tuple[Literal["adaptive", "enabled", "disabled", "between_tools"], ...] = ()
    forced_tools: bool = True  # takes tool_choice any/tool
    prefill: bool = True  # the last message may be the assistant's
    # Claude: tokens that a prompt must have to be kept in its cache; null: prompts are not marked for it here
    cache_minimum: Tokens | None = None
    bound_thinking: bool = False  # a replayed thinking block is refused once anything before it has changed
    # max_tokens of a request that names none; null: max_output. The models before 4.5 refuse it with a long prompt
    default_output: Tokens | None = None
    # Claude and Gemini: an answer that may be longer is streamed here though the client wants it whole. It could take more
    # than ten minutes, and connections that are silent so long are cut (anthropic 0.96, _calculate_nonstreaming_timeout).
    whole_output: Tokens = 21_333
    # Gemini
    budget: bool = False  # takes thinkingBudget; otherwise thinkingLevel
    call_ids: bool = False  # functionCall.id is sent and must be echoed; otherwise it is refused
    signatures: bool = False  # functionCall parts must carry their thoughtSignature back
    logprobs: bool = True  # takes logprobs
    candidates: int = 8  # answers to one request, n
    json_with_tools: bool = True  # takes response_format json_* together with tools

    @cached_property
    def long_rates(self) -> Rates:
        """Price.rates of a long context: what long_context leaves out is as in the price."""
        told = (self.long_context, self.price)
        values = {name: next((v for each in told if (v := getattr(each, name)) is not None), None) for name in _PRICES}
        return Price(**values).rates
