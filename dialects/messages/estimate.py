"""How many tokens a Messages request is likely to have, told from its bytes. Pure."""

import re
from math import ceil
from typing import Final

import msgspec

from ..contract import ClientRequest

_READ: Final = ("system", "tools", "messages")
_PER_IMAGE: Final = 1600
_PER_PDF: Final = 2500
# A base64 source of an image or a document. Its data has neither quotes nor backslashes, so that this is linear.
_DATA: Final = re.compile(rb'"data"\s*:\s*"([A-Za-z0-9+/=_-]{64,})"')
_PDF: Final = b"JVBERi"  # how the base64 of a PDF begins
_IMAGE_URL: Final = re.compile(rb'"type"\s*:\s*"url"')


def estimate(asked: ClientRequest) -> int:
    """Return the tokens of system, tools and messages: rather too many than too few, so that clients compact in time."""
    size = images = documents = 0
    for name in _READ:
        raw = bytes(asked.raw.get(name, b"")) if asked.raw else b""
        size += len(raw)
        for data in _DATA.finditer(raw):
            size -= len(data[1])
            if data[1].startswith(_PDF):
                documents += 1
            else:
                images += 1
        images += len(_IMAGE_URL.findall(raw))
    return max(1, ceil(size * 11 / 40) + _PER_IMAGE * images + _PER_PDF * documents)


def without_data(raw: msgspec.Raw | bytes) -> str:
    """Return JSON as text, without the base64 in it: what a request is measured by that cannot be translated."""
    return _DATA.sub(b'"data":""', bytes(raw)).decode("utf-8", "replace")
