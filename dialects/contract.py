"""The dialect contract: what a package under dialects/ must offer to serve a client API. The mirror image of a provider.

    client bytes ── parse ──→ ClientRequest.body ── build_request ──→ Call ──→ upstream
    client bytes ←─ Renderer ─ Batch.chunks ←─ Translator ─ events ←─ Decoder ── upstream bytes

Pure: no clock, no chance, no socket. The hub's form of a request and of an answer is OpenAI's chat completion.
"""

from collections.abc import Callable, Generator, Mapping, Sequence
from typing import Any, NamedTuple, Protocol

from providers.contract import Batch, Json, Upstream
from providers.errors import Failure

NO_HEADERS: Mapping[str, str] = {}
Seals = Mapping[int, list[Json]]
NO_SEALS: Seals = {}


class ClientRequest(NamedTuple):
    """A valid request of a client."""

    body: Json  # in the hub's form
    raw: Any = None  # as the client sent it, for native calls; None where the dialect has none
    stream: bool = False
    tool_calls: bool = False  # its messages hold tool calls: the reasoning cache is asked
    images: bool = False  # its messages hold images
    headers: Mapping[str, str] = NO_HEADERS  # of Parser.headers, those that the client sent
    seals: Seals = NO_SEALS  # what upstreams gave the client to bring back (seal.py), by index of the message in body
    answer: Any = None  # what the dialect must know of the request to write its answer
    # The conversation it belongs to, where only the dialect knows that; "": conversations.py tells it from the rest.
    session: str = ""
    session_name: str = ""  # the client's name for that conversation, if it gives one: for the log
    # Why it cannot be translated to the hub's form, for which body then is a stand-in: only native calls can be made of it.
    refusal: Failure | None = None
    # What body lacks of what the client asked for, in the client's own words; native calls have it.
    dropped: tuple[str, ...] = ()
    # "tools." and the type of each tool that an upstream would run by itself, where it is sent the request as it is; or the
    # parameter that asks for such a tool.
    upstream_tools: tuple[str, ...] = ()
    # From body, and the target that is asked, to the request as that model takes it, and the parameters of the hub that this
    # drops or changes: for APIs whose clients must not be refused what the model does not take. None: the provider decides.
    fit: Callable[[Json, Upstream], tuple[Json, tuple[str, ...]]] | None = None
    # From a path of body to one of the client's own request, for Failure.param. None: they are the same, or it is not known.
    address: Callable[[str], str] | None = None


class Envelope(NamedTuple):
    """What an answer says of itself that no upstream decides: ids of upstreams change in mid-stream, and fallback exists."""

    unique: str  # 32 random hexadecimal digits, for ids
    created: int  # Unix time
    model: str  # the name that the client asked for
    request_id: str = ""
    provider: str = ""  # who answers: its name in config.yaml
    upstream_model: str = ""  # the model's id there
    prompt_tokens: int = 0  # of the request, estimated: for APIs that tell them before the upstream does
    context: int = 0  # tokens that the model reads and writes in all; 0: not known


# What an answer is written by: sent the batch that one read from the upstream gave, it yields the bytes for the client,
# empty where the client is to be told of none of it; Batch.raw goes out as it is. Sent a batch of nothing, because the
# upstream has been silent for long, it yields what a client is to get instead of Dialect.keep_alive, empty where that will
# do. Sent None after a complete answer, it returns the end. Thrown a Failure, at any time, it returns what ends a stream that
# has failed: the client must not mistake it for the end of an answer.
Renderer = Generator[bytes | bytearray, Batch | None, bytes]


class HeaderForm(NamedTuple):
    """How the SDKs of an API use headers. The defaults are OpenAI's."""

    limits: str = "x-ratelimit-{value}-{of}"  # value: limit, remaining, reset; of: requests, tokens
    moments: bool = False  # a reset is a moment (RFC 3339), not a number of seconds
    request_id: str = "x-request-id"
    two_keys: bool = False  # Authorization and x-api-key may differ: the one that is known here counts
    unknown_key: str = ""  # the words for a key that is not, or is missing; "": the server's
    google_key: bool = False  # a key may come as x-goog-api-key, or as the parameter `key` of the query


class Parser(Protocol):
    """What reads the requests of a client API."""

    @property
    def headers(self) -> frozenset[str]:
        """Names of request headers, in lower case, that parse reads or native calls forward. No other is looked at.

        `name-*` stands for all that begin so, `?name` for a parameter of the query.
        """

    def parse(self, data: bytes, headers: Mapping[str, str]) -> ClientRequest:
        """Return what a client sent. headers: of Parser.headers, those that it sent. Raises BadRequest, ModelNotFound."""


class ErrorForm(Protocol):
    """What clients of an API are told beside answers."""

    @property
    def operation(self) -> str:
        """Its path under /v1, and the key of Provider.native."""

    @property
    def header_form(self) -> HeaderForm:
        """How its SDKs want headers to be named."""

    def error_status(self, failure: Failure) -> int:
        """Return the HTTP status of an error."""

    def error_body(self, failure: Failure, request_id: str) -> Json:
        """Return the body of an error."""


class Dialect(Parser, ErrorForm, Protocol):
    """A client API for chat."""

    @property
    def keep_alive(self) -> bytes:
        """What is sent while an open stream has nothing to say."""

    @property
    def begins_early(self) -> bool | None:
        """Whether an answer may begin before the upstream has said anything.

        True: as soon as the stream is opened, and another target may go on with what has begun; False: after
        server.keep_alive.thinking, and no other target follows; None: never.
        """

    @property
    def parameters(self) -> Mapping[str, str]:
        """Parameter of the hub → the client's own word for it, for x-modelserver-dropped; others are said as they are."""

    def render(
        self, request: ClientRequest, envelope: Envelope, reasoning: bool, begun: Renderer | None = None
    ) -> Renderer:
        """Return the primed renderer of a streamed answer. reasoning: whether the client is shown what the model thinks.

        begun: the renderer of this answer, where it has begun before it was known who gives it: it is returned.
        """

    def completion(
        self, request: ClientRequest, answer: Json, envelope: Envelope, reasoning: bool, chunks: Sequence[Json] = ()
    ) -> Json:
        """Return a whole answer (a chat.completion, which may be changed) in the client's form.

        chunks: those that it was put together of, which have its texts and calls in their order; none where it came whole.
        """

    @property
    def told_in_stream(self) -> frozenset[str]:
        """Codes of failures that a client which asked for a stream is told in one, though nothing has been sent yet."""


def end_of(renderer: Renderer, failure: Failure | None = None) -> bytes:
    """Return the end of a complete answer, or of one that has failed. Raises the failure where the renderer has raised before."""
    try:
        if failure is None:
            renderer.send(None)
        else:
            renderer.throw(failure)
    except StopIteration as end:
        return bytes(end.value)
    raise AssertionError("a renderer returns at the end")
