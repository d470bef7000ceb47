"""Facts of Claude models as the tests need them: one row per behaviour, independent of providers/models.yaml."""

from providers.models import Model

_EFFORTS = ("low", "medium", "high", "xhigh", "max")
_NEW = {"max_output": 128_000, "vision": True, "pdf": True, "sampling": "no", "prefill": False}
_MANUAL = {"max_output": 64_000, "vision": True, "pdf": True, "reasoning": "off", "thinking": ("enabled", "disabled")}

HAIKU_4_5 = Model(**_MANUAL)
OPUS_4_5 = Model(**_MANUAL, efforts=("low", "medium", "high"))
OPUS_4_6 = Model(
    max_output=128_000,
    vision=True,
    pdf=True,
    reasoning="off",
    thinking=("adaptive", "enabled", "disabled"),
    efforts=("low", "medium", "high", "max"),
    prefill=False,
)
OPUS_4_8 = Model(**_NEW, reasoning="off", thinking=("adaptive", "disabled"), efforts=_EFFORTS)
HAIKU_5_5 = Model(**_NEW, reasoning="on", thinking=("adaptive", "disabled"), efforts=_EFFORTS)
FABLE_5 = Model(**_NEW, reasoning="always", thinking=("adaptive",), efforts=_EFFORTS)
_BOUND = {**_NEW, "efforts": _EFFORTS, "forced_tools": False, "bound_thinking": True}
SONNET_5_5 = Model(**_BOUND, reasoning="on", thinking=("adaptive", "between_tools"))
OPUS_5_5 = Model(**_BOUND, reasoning="always", thinking=("adaptive",))
OPUS_4 = Model(
    max_output=32_000, default_output=4096, reasoning="off", thinking=("enabled", "disabled"), json_schema=False
)
UNKNOWN = Model()

BY_NAME = {
    "haiku-4-5": HAIKU_4_5,
    "sonnet-4-5": HAIKU_4_5,
    "opus-4-5": OPUS_4_5,
    "opus-4-6": OPUS_4_6,
    "sonnet-4-6": OPUS_4_6,
    "opus-4-7": OPUS_4_8,
    "opus-4-8": OPUS_4_8,
    "haiku-5-5": HAIKU_5_5,
    "opus-5-5": OPUS_5_5,
    "sonnet-5-5": SONNET_5_5,
    "fable": OPUS_5_5,
    "sonnet-5": HAIKU_5_5,
    "opus-5": HAIKU_5_5,
    "opus-4": OPUS_4,
    "sonnet-4": OPUS_4,
}


def facts(model: str) -> Model:
    """The row of a full model id: the first name inside it."""
    return next((row for name, row in BY_NAME.items() if name in model), UNKNOWN)
