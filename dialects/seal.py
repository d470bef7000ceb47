"""What an upstream wants back with the next request, carried by clients whose API has no field for it. Pure.

It goes to the client in a text that says who made it: as the signature of a thinking block (Messages), or as the
encrypted_content of a reasoning item (Responses). It is neither secret nor signed: it holds what the same client may see, and
providers verify their own signatures. Only the provider that made it gets it back.

    by, model   provider's name in config.yaml, and the model there
    text        reasoning_content
    blocks      thinking_blocks          Claude
    items       reasoning_items          Responses
    details     reasoning_details        OpenRouter
    order       output_order             of blocks or items among texts and calls, where they did not come first
    extra       extra_content of calls, by call id: Gemini
"""

from base64 import b64decode, b64encode, urlsafe_b64decode, urlsafe_b64encode
from typing import Any, Final

from providers import codec
from providers.common import output_order
from providers.contract import Json

from .contract import Seals

_MARK: Final = b"modelserver/1 "
SIGNATURE: Final = "bW9kZWxzZXJ2ZXIv"  # how a signature of ours begins
ENVELOPE: Final = "msr1:"  # how an encrypted_content of ours begins
_LARGEST: Final = 64 * 2**10  # bytes of what is sealed: of more, only who made it
_MOST_READ: Final = 2**20  # characters of a seal that is opened
_KINDS: Final[dict[str, type]] = {
    "by": str,
    "model": str,
    "text": str,
    "blocks": list,
    "items": list,
    "details": list,
    "order": list,
    "extra": dict,
}
# Field of a seal → the field of an assistant message that holds it.
FIELDS: Final = {"blocks": "thinking_blocks", "items": "reasoning_items", "details": "reasoning_details"}


def signature(fields: Json) -> str:
    """Return the signature of a thinking block that carries these fields."""
    return b64encode(_MARK + _bounded(fields)).decode()


def envelope(fields: Json) -> str:
    """Return the encrypted_content of a reasoning item that carries these fields."""
    return encrypted_content(ENVELOPE, _bounded(fields))


def encrypted_content(mark: str, data: bytes) -> str:
    """Return an encrypted_content that carries JSON. mark: how it begins."""
    return mark + urlsafe_b64encode(data).rstrip(b"=").decode()


def content_of(mark: str, text: Any) -> Any:
    """Return what an encrypted_content that begins with this mark carries; None for any other value."""
    if not isinstance(text, str) or not text.startswith(mark) or len(text) > _MOST_READ:
        return None
    try:
        return codec.decode(urlsafe_b64decode(text[len(mark) :] + "=="))
    except ValueError:
        return None


def opened(text: Any) -> Json | None:
    """Return what a signature or an encrypted_content of ours carries; None for any other value."""
    value = content_of(ENVELOPE, text)
    if isinstance(text, str) and text.startswith(SIGNATURE) and len(text) <= _MOST_READ:
        try:
            value = codec.decode(b64decode(text, validate=True).removeprefix(_MARK))
        except ValueError:
            return None
    if not isinstance(value, dict) or not isinstance(value.get("by"), str):
        return None
    return value if all(isinstance(each, _KINDS.get(name, ())) for name, each in value.items()) else None


def restore(body: Json, seals: Seals, provider: str, model: str) -> Json:
    """Return a chat request with what this provider's model gave with earlier answers, where the client brought it back.

    What the client sent in clear wins. Seals of other providers are left out. The request given is not changed.
    """
    messages: list[Json] | None = None
    for index, found in seals.items():
        for sealed in found:
            if sealed.get("by") != provider:
                continue
            messages = messages or list(body["messages"])
            messages[index] = _with(messages[index], sealed, sealed.get("model", model) == model)
    return body if messages is None else {**body, "messages": messages}


def _with(message: Json, sealed: Json, same_model: bool) -> Json:
    more: Json = {}
    if (text := sealed.get("text")) and not message.get("reasoning_content"):
        more["reasoning_content"] = text
    if same_model:
        for name, field in FIELDS.items():
            if each := sealed.get(name):
                more[field] = [*(message.get(field) or ()), *each]
        if order := sealed.get("order"):
            more[output_order.FIELD] = order
        if (extra := sealed.get("extra")) and (calls := message.get("tool_calls")):
            more["tool_calls"] = [
                {"extra_content": extra[call.get("id")], **call} if call.get("id") in extra else call for call in calls
            ]
    return {**message, **more} if more else message


def _bounded(fields: Json) -> bytes:
    data = codec.encode(fields)
    return data if len(data) <= _LARGEST else codec.encode({"by": fields.get("by", "")})
