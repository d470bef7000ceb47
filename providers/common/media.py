"""Images and files inside requests: data URIs and what the bytes really are."""

import base64
import binascii
import re
from typing import NamedTuple

from ..errors import BadRequest

_LONGEST_HEAD = 256  # characters before the comma of a data URI
_LOOKED = 64  # characters of base64 that are decoded to see what it is
_ESCAPE = re.compile(rb"%([0-9a-fA-F]{2})")
_PIECE = 2**12  # characters of a textual one that are decoded at once
# The first bytes of a file tell its type; the declared type is often wrong, and Claude refuses the mismatch.
_MAGIC = (
    (re.compile(rb"\x89PNG\r\n\x1a\n"), "image/png"),
    (re.compile(rb"\xff\xd8\xff"), "image/jpeg"),
    (re.compile(rb"GIF8[79]a"), "image/gif"),
    (re.compile(rb"RIFF....WEBP", re.DOTALL), "image/webp"),
    (re.compile(rb"....ftyp(?:heic|heix|hevc|hevx)", re.DOTALL), "image/heic"),
    (re.compile(rb"....ftyp(?:mif1|msf1|heif)", re.DOTALL), "image/heif"),
    (re.compile(rb"....ftyp(?:avif|avis)", re.DOTALL), "image/avif"),
    (re.compile(rb"BM.{4}\x00\x00\x00\x00", re.DOTALL), "image/bmp"),
    (re.compile(rb"II\*\x00|MM\x00\*"), "image/tiff"),
    (re.compile(rb"%PDF-"), "application/pdf"),
    (re.compile(rb"RIFF....WAVE", re.DOTALL), "audio/wav"),
    (re.compile(rb"ID3|\xff[\xfb\xf3\xf2]"), "audio/mpeg"),
)


class Inline(NamedTuple):
    """A file inside a request: its type (by its first bytes, else as declared) and its base64, never decoded whole."""

    type: str
    data: str


def sniff(head: bytes) -> str | None:
    """The media type of a file by its first bytes (32 are enough), or None."""
    return next((kind for magic, kind in _MAGIC if magic.match(head)), None)


def is_data_uri(url: str) -> bool:
    return url[:5].lower() == "data:"


def data_uri(url: str, param: str) -> Inline:
    """Take a base64 data URI apart; a textual one (`data:text/plain,hello`) is encoded. Only the head is decoded.

    param: the request field, for the error. Raises BadRequest where it is not a well-formed data URI.
    """
    comma = url.find(",", 0, _LONGEST_HEAD)
    if comma < 0 or not is_data_uri(url):
        raise BadRequest(
            "Not a valid data URI: expected data:<media type>;base64,<data>.", param=param, code="invalid_image_url"
        )
    declared, *options = url[len("data:") : comma].split(";")
    declared = declared.strip().lower()
    data = url[comma + 1 :]
    if not options or options[-1].lower() != "base64":
        return Inline(declared or "text/plain", base64.b64encode(_unquoted(data)).decode())
    try:
        head = base64.b64decode(data[:_LOOKED].ljust(-(-len(data[:_LOOKED]) // 4) * 4, "="), validate=True)
    except (binascii.Error, ValueError):
        raise BadRequest("The data URI is not valid base64.", param=param, code="invalid_base64") from None
    if not head:
        raise BadRequest("The data URI holds no data.", param=param, code="invalid_base64")
    return Inline(sniff(head) or declared, data)


def type_of(data: str, declared: object) -> str:
    """Return the type of a base64 file, as data_uri would find it. `data` is not copied. Raises BadRequest."""
    return data_uri(f"data:{declared};base64,{data[:_LOOKED]}", "").type


def _unquoted(text: str) -> bytes:
    """Decode `%41`. In pieces: each of these is an object until they are joined."""
    data, pieces, at = text.encode("utf-8", "surrogatepass"), [], 0
    while at < len(data):
        end = at + _PIECE
        cut = data.rfind(b"%", end - 2, end)  # which the end of this piece would cut from its digits
        end = end if cut < 0 else cut
        pieces.append(_ESCAPE.sub(lambda escape: binascii.unhexlify(escape[1]), data[at:end]))
        at = end
    return b"".join(pieces)


def pixels(image: Inline) -> tuple[int, int] | None:
    """Width and height of a PNG, GIF, WebP or JPEG by its headers (the first 256 KiB), or None."""
    size = _pixels(image)
    return size if size and all(size) else None


def _pixels(image: Inline) -> tuple[int, int] | None:
    text = image.data[: 350_000 // 4 * 4]
    try:
        data = base64.b64decode(text + "=" * (-len(text) % 4))
    except ValueError:
        return None
    try:
        match sniff(data[:32]):
            case "image/png":
                return int.from_bytes(data[16:20]), int.from_bytes(data[20:24])
            case "image/gif":
                return int.from_bytes(data[6:8], "little"), int.from_bytes(data[8:10], "little")
            case "image/webp":
                return _webp_pixels(data)
            case "image/jpeg":
                return _jpeg_pixels(data)
    except IndexError:
        pass
    return None


def _webp_pixels(data: bytes) -> tuple[int, int] | None:
    match data[12:16]:
        case b"VP8X":
            return int.from_bytes(data[24:27], "little") + 1, int.from_bytes(data[27:30], "little") + 1
        case b"VP8L":
            bits = int.from_bytes(data[21:25], "little")
            return (bits & 0x3FFF) + 1, (bits >> 14 & 0x3FFF) + 1
        case b"VP8 ":
            return int.from_bytes(data[26:28], "little") & 0x3FFF, int.from_bytes(data[28:30], "little") & 0x3FFF
    return None


def _jpeg_pixels(data: bytes) -> tuple[int, int] | None:
    at = 2
    while data[at] == 0xFF:
        marker, size = data[at + 1], int.from_bytes(data[at + 2 : at + 4])
        if 0xC0 <= marker <= 0xCF and marker not in (0xC4, 0xC8, 0xCC):
            return int.from_bytes(data[at + 7 : at + 9]), int.from_bytes(data[at + 5 : at + 7])
        at += 2 + size
    return None
