"""The facts of one request, read by the log, the metrics, the usage ledger and the inspector."""

import msgspec

from .limits import Limits


class RequestRecord(msgspec.Struct):
    """What is known of one request; filled in while it runs."""

    id: str
    started: float  # monotonic seconds
    key: str = ""
    model: str = ""
    upstream: str = ""
    stream: bool = False
    first: float = 0.0  # monotonic seconds of the first byte of the answer
    prompt: int | None = None
    completion: int | None = None
    session: str = ""  # the client's name for the conversation, if it gives one
    code: str = ""  # of the error, if any
    limits: Limits | None = None  # of the caller's key
    waited: float = 0.0  # seconds spent waiting for upstreams until one answered
    gap: float = 0.0  # seconds, the longest between two pieces of a stream
    cost: float | None = None  # USD
    tried: list[tuple[str, str]] = []  # attempts that failed: target, code
    unlogged: bool = False  # no log line: whether this server is there, asked by a client
    retried: bool = False  # one target was asked twice
    doubted: tuple[str, int, int] | None = None  # a provider, and the tokens it told of: more than there can be
