"""Events of a Responses stream: numbered, framed, one JSON line each."""

from typing import Any, Final

from providers import codec
from providers.contract import Json

_PLAIN: Final = codec.encoder.encode


class Events:
    """Writes events into `data`. Texts that grow piece by piece are written from a head that is made once."""

    def __init__(self, quiet: bool = False) -> None:
        self.data = bytearray()
        self.number = 0
        self.quiet = quiet  # nothing is written: an answer that is not streamed needs the Response only

    def say(self, kind: str, **fields: Any) -> None:
        """Write one event."""
        if self.quiet:
            return
        self.data += f"event: {kind}\ndata: ".encode()
        self.data += codec.encode({"type": kind, "sequence_number": self.number, **fields})
        self.data += b"\n\n"
        self.number += 1

    def head(self, kind: str, fields: Json) -> bytes:
        """Return what events of one place in an answer begin with, up to their number."""
        return f"event: {kind}\ndata: ".encode() + codec.encode({"type": kind, **fields})[:-1] + b',"sequence_number":'

    def piece(self, head: bytes, text: str, logprobs: bytes = b"") -> None:
        """Write the next piece of a text. logprobs: encoded, where this kind of event has them."""
        if self.quiet:
            return
        try:
            encoded = _PLAIN(text)
        except UnicodeEncodeError:
            encoded = codec.encode(text)
        more = b',"logprobs":' + logprobs if logprobs else b""
        self.data += b'%b%d%b,"delta":%b}\n\n' % (head, self.number, more, encoded)
        self.number += 1
