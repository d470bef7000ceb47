"""The facts of one request, read by the log, the metrics, the usage ledger and the inspector."""

from .limits import Limits


class RequestRecord:
    """What is known of one request; filled in while it runs.

    id: of the request; started: monotonic seconds.
    """

    key = ""
    model = ""
    upstream = ""
    stream = False
    first = 0.0  # monotonic seconds of the first byte of the answer
    prompt: int | None = None
    completion: int | None = None
    session = ""  # the client's name for the conversation, if it gives one
    code = ""  # of the error, if any
    limits: Limits | None = None  # of the caller's key
    waited = 0.0  # seconds spent waiting for upstreams until one answered
    gap = 0.0  # seconds, the longest between two pieces of a stream
    cost: float | None = None  # USD
    unlogged = False  # no log line: whether this server is there, asked by a client
    retried = False  # one target was asked twice
    doubted: tuple[str, int, int] | None = None  # a provider, and the tokens it told of: more than there can be

    def __init__(self, id: str, started: float) -> None:
        self.id, self.started = id, started
        self.tried: list[tuple[str, str]] = []  # attempts that failed: target, code
