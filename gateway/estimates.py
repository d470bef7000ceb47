"""Estimate a prompt's tokens from its bytes: the likely number, for the usage ledger, and a safe one to reserve. Pure.

The ledger takes bytes / 4, the usual rate of English and of code. A reservation must not be far too small for any text:

    letters and spaces of ASCII   4 to a token
    other ASCII: digits, signs    1 token each
    two bytes (Greek, Arabic …)   1 token each
    Chinese, Japanese, Korean     1 token each
    other scripts of three bytes  3 tokens each
    emoji and all else            4 tokens each

No tokenizer in use needs more than a token for a byte, so what remains is random letters (base64, rare words): up to four
times as many tokens as are reserved for them. Of long requests every n-th character is looked at, so that the work is
bounded. An image, a sound or a file counts as tokens of its own, whatever its bytes are, in both estimates.
"""

from collections.abc import Iterable
from typing import Any, Final, NamedTuple

from providers.contract import Json, Upstream
from providers.errors import ContextLengthExceeded

_LONG: Final = 65_536  # bytes of a request from which on its texts are counted apart: shorter ones are all text
_LOOKED: Final = 32_768  # characters of a request that are looked at for a reservation
# Type of a content part → the field that holds what is no text, the tokens it is taken for at least, and the bytes of it
# that are a token (0: it has one size for the model, however many bytes it is).
_PARTS: Final = {
    "image_url": ("image_url", 1000, 0),
    "input_audio": ("input_audio", 1000, 128),
    "file": ("file", 1000, 32),
    "video_url": ("video_url", 10_000, 128),
}
_CONTAINERS: Final = frozenset({str, list, dict})
_OVERHEAD: Final = 24  # quarters of a token for what stands around a message: its role, its start and its end
# More tokens than these are taken for a mistake of the upstream's, or a lie.
_PER_BYTE: Final = 4  # of the request
_PER_PART: Final = 50_000  # an image, a sound or a file: gpt-4o-mini counts 48,000 for a large picture
_ADDED: Final = 131_072  # by the host: a system prompt of its own, what it found on the web
_SEARCHED: Final = 10**6  # by the tools of an upstream's own that a request has: what they find is read again and again
_LONGEST_TOKEN: Final = 8  # letters
_BLANKS: Final = " \n\r\t"
# Fields by which an upstream is asked to shorten a prompt that is too long.
_SHORTENED: Final = frozenset(
    {"truncation", "context_management", "transforms", "truncate_prompt_tokens", "plugins", "compression"}
)
_PLAIN: Final = bytes([*b" \t\r\n", *range(ord("A"), ord("Z") + 1), *range(ord("a"), ord("z") + 1)])
_FOLLOWING: Final = bytes(range(0x80, 0xC0))  # the second byte of a character, and those after it
_THREE: Final = bytes([0xE0, 0xE1, 0xE2, 0xEE, 0xEF])  # first bytes of three, of which no Chinese, Japanese or Korean
_FOUR: Final = bytes(range(0xF0, 0xF8))


class Prompt(NamedTuple):
    """The size of a request, measured once for all its targets, without the request itself.

    likely: the tokens of its prompt, for the ledger; most: those to reserve, 0 where nothing is; bound: more than these are
    taken for a mistake of the upstream's, or a lie; answers: how many it asks for; tier: the service tier it names, if any;
    hour: whether it may ask the upstream to cache its prompt for an hour (only known where tokens are reserved); answer: of a
    request that is no chat, the tokens that each answer may have, 0 where it does not say, None where answers are no text.
    """

    likely: int
    most: int
    bound: int
    answers: int
    tier: Any
    hour: bool = False
    answer: int | None = None

    def tokens(self, upstream: Upstream) -> int:
        """Return the tokens the prompt is likely to have, bounded by what the model reads."""
        likely, most = self.likely, upstream.facts.context
        if most is not None and likely > most:
            return most
        return likely or 1


def measure(body: Json, size: int, reserve: bool, searches: bool = False) -> Prompt:
    """Measure a request. Walks long requests.

    size: its bytes; reserve: whether its tokens are to be reserved; searches: whether the upstream may run tools by itself.
    """
    listed = has_parts(body)
    looked = size > _LONG or listed
    likely = most = size // 4
    hour = False
    if looked or reserve:
        texts, around = _read(body)
        text = "".join(texts)
        if looked:
            likely = (around + _bytes(text)) // 4
        if reserve:
            # {"cache_control": {"type": "ephemeral", "ttl": "1h"}}, or prompt_cache_retention, which is sent on as such a mark
            hour = "1h" in texts or body.get("prompt_cache_retention") in ("24h", "1h")
            step = 1 + size // _LOOKED if size > _LOOKED else 1
            tokens = -(-(around + _weight(text[::step]) * step) // 4)
            most = tokens if looked else max(tokens, most)
    bound = size * _PER_BYTE + _ADDED
    if listed:
        bound += parts(body) * _PER_PART
    if searches:
        bound += _SEARCHED
    return Prompt(likely, most if reserve else 0, bound, int(body.get("n") or 1), body.get("service_tier"), hour)


def check_fits(body: Json, prompt: Prompt, upstream: Upstream, beside: Iterable[str] = ()) -> None:
    """Raise ContextLengthExceeded for a prompt that surely has more tokens than the model reads, if that is known.

    beside: names of further fields that are sent. A token is taken for eight letters, which none in use has on average.
    """
    window = upstream.facts.window or upstream.facts.context
    if window is None or prompt.likely <= window or "messages" not in body:
        return
    if not _SHORTENED.isdisjoint(body) or not _SHORTENED.isdisjoint(beside):
        return
    texts, _ = _read(body)
    least = sum(len(text) - sum(map(text.count, _BLANKS)) for text in texts) // _LONGEST_TOKEN
    if least > window:
        raise ContextLengthExceeded(
            f"This prompt has more than {least} tokens, and the model reads {window} at most: send a shorter one.",
            param="messages",
        )


def has_parts(body: Json) -> bool:
    """Whether a message is a list of parts, some of which may be no text."""
    for message in body.get("messages", ()):  # noqa: SIM110 (a generator costs more than the whole loop)
        if type(message.get("content")) is list:
            return True
    return False


def parts(body: Json) -> int:
    """Return how many parts of the messages are no text."""
    listed = (content for each in body.get("messages", ()) if type(content := each.get("content")) is list)
    return sum(part.get("type") in _PARTS for content in listed for part in content)


def _read(body: Json) -> tuple[list[str], int]:
    """Return the texts that a model reads of a request, and quarters of a token for what stands around them."""
    texts: list[str] = []
    rest: list[Any] = []
    around = 0
    for name, value in body.items():
        if name == "messages":
            for message in value:
                content = message.get("content")
                if type(content) is str and len(message) == 2:  # nearly all of them
                    texts.append(content)
                    around += _OVERHEAD
                else:
                    around += _message(message, rest)
        elif type(value) in _CONTAINERS and name != "model":
            rest.append(value)
    while rest:
        each = rest.pop()
        kind = type(each)
        if kind is str:
            texts.append(each)
        elif kind is dict:
            around += sum(map(len, each)) + 4 * len(each)
            rest += each.values()
        elif kind is list:
            rest += each
        else:
            around += 4
    return texts, around


def _message(message: Json, rest: list[Any]) -> int:
    """Add the values of a message to `rest`; return quarters of a token for its names and what of it is no text."""
    around = 0
    for name, value in message.items():
        around += len(name) + 4
        if name == "content" and type(value) is list:
            around += sum([_part(part, rest) for part in value])
        else:
            rest.append(value)
    return around


def _part(part: Json, rest: list[Any]) -> int:
    """Add the values of a content part to `rest`; return quarters of a token for what of it is no text."""
    kind = part.get("type")
    if kind not in _PARTS:
        rest.append(part)
        return 0
    field, tokens, rate = _PARTS[kind]
    payload = part.get(field)
    if rate and isinstance(payload, dict):
        tokens = max(tokens, sum(len(text) for text in payload.values() if isinstance(text, str)) // rate)
    rest += [each for name, each in part.items() if name not in (field, "type")]
    return tokens * 4


def _bytes(text: str) -> int:
    """Return the length of a text in UTF-8."""
    return len(text) if text.isascii() else len(text.encode("utf-8", "surrogatepass"))


def _weight(text: str) -> int:
    """Return quarters of a token to reserve for a text."""
    data = text.encode("utf-8", "surrogatepass")
    rare = data.translate(None, _PLAIN)
    weight = len(data) - len(rare)
    if rare.isascii():
        return weight + 4 * len(rare)
    firsts = rare.translate(None, _FOLLOWING)  # one byte for each character
    threes, fours = (len(firsts) - len(firsts.translate(None, kind)) for kind in (_THREE, _FOUR))
    return weight + 4 * (len(firsts) + 2 * threes + 3 * fours)
