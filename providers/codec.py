"""JSON on the wire: msgspec where it can, the standard library where providers bend the rules.

Providers cut emoji between deltas, so `"\\ud83d"` alone is a legal delta that msgspec refuses to read and to write;
invalid UTF-8 happens too, and numbers that JSON does not know. All are rare, so the slow way is only taken after the fast
one failed. It reads NaN and Infinity as what they are, except that a log probability of minus infinity is −9999, which
OpenAI says for it: msgspec would write null.
"""

import json
from math import isfinite
from typing import Any, Final

import msgspec

_decode = msgspec.json.Decoder().decode
encoder: Final = msgspec.json.Encoder()
_UNLIKELY: Final = -9999.0


def decode(data: bytes | bytearray) -> Any:
    """JSON bytes → value; bad UTF-8 becomes U+FFFD, a BOM is skipped. Raises ValueError when it is not JSON at all."""
    try:
        return _decode(data)
    except (msgspec.DecodeError, UnicodeDecodeError):
        return decode_in_turns(data)
    except RecursionError:
        raise ValueError("JSON nested too deeply") from None


def decode_in_turns(data: bytes | bytearray) -> Any:
    """As decode, but other threads run in between: Python itself is called for each object. It takes about twice as long.

    One call of msgspec for 8 MiB of log probabilities keeps all other threads, and the event loop with them, waiting.
    """
    try:
        return json.loads(data.decode("utf-8-sig", errors="replace"), object_hook=_mended)
    except RecursionError:
        raise ValueError("JSON nested too deeply") from None


def _mended(value: dict[str, Any]) -> dict[str, Any]:
    for name in ("logprob", "logProbability"):
        number = value.get(name)
        if isinstance(number, float) and not isfinite(number):
            value[name] = _UNLIKELY
    return value


# A text and a place in it → the JSON document that begins there, and where it ends. Raises ValueError, RecursionError.
document: Final = json.JSONDecoder(object_hook=_mended).raw_decode


def encode(value: Any) -> bytes:
    """Value → JSON bytes (UTF-8; lone surrogates stay the escapes they came as)."""
    try:
        return encoder.encode(value)
    except UnicodeEncodeError:
        return json.dumps(value, separators=(",", ":")).encode()


def is_json(value: Any) -> bool:
    """Whether a value that was decoded holds nothing that JSON does not know: NaN or Infinity, which would be written as null."""
    try:
        json.dumps(value, allow_nan=False)
    except (ValueError, RecursionError):
        return False
    return True


def encode_text(value: Any) -> str:
    """Value → JSON text, compact, non-ASCII kept: the form of `function.arguments`."""
    return encode(value).decode()
