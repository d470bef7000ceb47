"""The provider contract: what a module under providers/ must offer, and the values that cross its border.

A provider speaks one wire protocol in pure functions. It opens no socket, reads no clock and keeps nothing between
requests, so a test is: dicts in, dicts out.
"""

from collections.abc import Callable, Generator, Iterable, Mapping
from typing import Any, Final, NamedTuple, Protocol

import msgspec

from .errors import Failure, Unsupported
from .hosts import Host
from .models import ModelFacts
from .sse import Event

Json = dict[str, Any]
_LIMITS: Final = ("max_completion_tokens", "max_tokens")  # of an answer

# The state of one answer as a generator: it is sent upstream events and yields the OpenAI chunks that each one makes.
# It returns its last chunks at the upstream's terminal event. None means that the upstream closed: it then returns its last
# chunks, raises UpstreamTruncated, or yields the Call that goes on with the answer, whose events it is sent next. It ignores
# events it does not know. id, created and model of a chunk are the dialect's: what is said of them here is replaced.
# A list of class Ended says that the upstream has told why its answer ended.
Translator = Generator["list[Json] | Call", Event | None, list[Json]]


class Ended(list[Json]):
    """The chunks of an event after which the answer is complete: only usage and the end of the stream may follow.

    A translator that is sent None after it yielded this returns its last chunks.
    """


class Repeatable(list[Json]):
    """The one chunk of an event in the middle of an answer, whose delta is one text (or null), and which changes nothing in the
    translator.

    So an event of the same bytes but for its text makes the same chunk but for its text, and need not be sent. skipped: is
    told the characters of those that were not, if it is not None. padding: letters and digits of the event that the chunk
    says nothing of, whatever they are ("" where there are none).
    """

    skipped: Callable[[int], object] | None = None
    padding = ""


class Upstream(msgspec.Struct, frozen=True):
    """One target of a request: which model of which provider, and how to reach it."""

    name: str  # the provider's name in config.yaml
    model: str  # the model's id there
    base_url: str = ""
    api_key: str = ""
    row: str = ""  # the name of its row in hosts.py, if it has one
    host: Host = Host()  # what differs between hosts of one protocol
    facts: ModelFacts = ModelFacts()  # what this model takes
    reasoning: bool = True  # whether the client gets reasoning_content
    options: Mapping[str, Any] = {}  # provider settings of config.yaml (safety settings …)
    finish_seconds: float = 0.0  # seconds to read on when the client has left; 0: the call is cancelled
    api_keys: tuple[str, ...] = ()  # all there are, when there are several
    cache: bool = True  # whether requests that mark nothing for the upstream's prompt cache are marked here

    def __repr__(self) -> str:
        return f"Upstream({self.target_name})"  # without its keys

    @property
    def target_name(self) -> str:
        """The provider and the model, as operators and clients are told; the provider alone where no model is named."""
        return f"{self.name}/{self.model}" if self.model else self.name

    @property
    def limit_name(self) -> str:
        """The name, of the two that OpenAI has, of a limit of the answer that this server adds.

        Hosts that imitate OpenAI may know the older one only; a host that wants one name is given it by its row.
        """
        older = self.host.protocol == "openai" and not self.host.openai_rules
        return "max_tokens" if older and self.facts.max_tokens != "max_completion_tokens" else "max_completion_tokens"


class Batch(NamedTuple):
    """What one read from an upstream gave."""

    chunks: Iterable[Json]  # in the hub's form: a list, or a Run
    raw: bytes = b""  # of a native call, the same events as the upstream sent them
    large: bool = False  # worked on outside of the event loop


class ReplyStep(NamedTuple):
    """A piece of an answer that is made here: wait, then these bytes arrive."""

    delay: float  # seconds
    data: bytes


class CannedReply(NamedTuple):
    """An upstream answer that needs no upstream: what the socket would have given."""

    status: int
    headers: Mapping[str, str]
    steps: Iterable[ReplyStep]
    cut: bool = False  # the connection breaks at the end instead of closing cleanly


class Passed(NamedTuple):
    """A request that is passed on as bytes, whatever it asks for."""

    operation: str  # its path under base_url, or Gemini's method
    body: Any  # for this target: bytes, or what sends them while they arrive
    headers: Mapping[str, str]  # of the client's, those that go on
    query: str = ""  # the same of its query


class Call(NamedTuple):
    """An upstream HTTP call: a POST of JSON, unless its method is another; then it has no body."""

    url: str
    headers: Mapping[str, str]  # a Content-Type among them replaces application/json
    body: Any  # an object, or the bytes of one, which are sent as they are, or what sends them while they arrive
    stream: bool  # an event stream is asked for
    # This call, and whether its answer is an event stream (else it is one event, the whole body) → a new translator of its
    # answer, ready for the first event.
    read: "Callable[[Call, bool], Translator]"
    dropped: tuple[str, ...] = ()  # parameters dropped, clamped or emulated: named in x-modelserver-dropped
    # Of a call whose answer is in the form of the client's own API, and passed on as it came: whether it is streamed → a new
    # translator that watches it. A stream's events have undecoded data (Frames); the chunks say how much was written and
    # what was used. `read` serves where the answer came in the other form than was asked for.
    native: "Callable[[bool], Translator] | None" = None
    reply: CannedReply | None = None
    # From an error that the upstream answered with to the call that may do better, if there is one: it is made at once.
    repair: "Callable[[Failure], Call | None] | None" = None
    method: str = "POST"
    added: tuple[str, ...] = ()  # parameters that the client did not send: named in x-modelserver-added
    # Whatever the answer is, the client gets it as it came: nothing reads it.
    passed: bool = False


# Dialect.operation → from ClientRequest.raw and .headers to the call that this upstream takes natively. None: not natively,
# the request is translated.
Native = Mapping[str, Callable[[Any, Mapping[str, str], Upstream], Call | None]]


class Provider(Protocol):
    """A module of pure functions that speaks one protocol."""

    @property
    def options(self) -> Mapping[str, Any]:
        """The settings a provider of config.yaml may have under `options`, each with its type."""

    @property
    def native(self) -> Native:
        """How requests of client APIs that this protocol speaks itself are passed on. Each raises Unsupported for what this
        target cannot be sent so.
        """

    @property
    def build_request(self) -> Callable[[Json, Upstream], Call]:
        """OpenAI chat request (validated by gateway.requests) → upstream call. Never mutates the request.

        Raises Unsupported for what the model cannot do and the client would misread, BadRequest for what is wrong.
        """

    @property
    def answer_limit(self) -> Callable[[Json, Upstream], int | None]:
        """The tokens that one answer to a request has at most by the limit it is sent with, what the model thinks included.

        None: it is sent with none.
        """

    @property
    def parse_error(self) -> Callable[[int, bytes], Failure]:
        """Upstream HTTP failure (status, body as received) → ours."""

    @property
    def build_embeddings(self) -> Callable[[Json, Upstream], Call]:
        """OpenAI embeddings request (validated by dialects.embeddings) → upstream call. Never mutates the request.

        Raises Unsupported, ModelNotFound, BadRequest.
        """

    @property
    def build_count(self) -> Callable[[Json, Upstream], Call]:
        """OpenAI chat request → the call that counts the tokens of its prompt, answered as usage.prompt_tokens.

        Raises Unsupported where the upstream does not count.
        """

    @property
    def build_models(self) -> Callable[[Upstream], Call]:
        """The call that lists the models of a provider, answered as {"object": "list", "data": [{"id": …}]}.

        Raises Unsupported where there is no list.
        """

    @property
    def pass_on(self) -> Callable[[Passed, Upstream], Call]:
        """A request of an API that this protocol has → the call that passes it on. Raises Unsupported for others."""

    @property
    def must_inline(self) -> Callable[[str, Upstream], bool]:
        """Whether an image at this URL must be fetched here and sent inline: the upstream would not fetch it."""


def named_limit(body: Json, upstream: Upstream) -> int | None:
    """Return the limit of an answer that a request names, as this host is sent it; None where it is sent none."""
    host = upstream.host
    for name in _LIMITS:
        if name in body and name not in host.drop and name not in host.refuse:
            limit = int(body[name])
            for there in (host.rename.get(name, name), *_LIMITS) if host.clamp else ():
                if there in host.clamp:
                    least, most = host.clamp[there]
                    return int(min(max(limit, least), most))
            return limit
    return None


def no_embeddings(body: Json, upstream: Upstream) -> Call:
    """Raise Unsupported: for protocols without embeddings."""
    raise Unsupported("This model's provider has no embeddings.", param="model")


def no_count(body: Json, upstream: Upstream) -> Call:
    """Raise Unsupported: for protocols that do not count tokens."""
    raise Unsupported("This model's provider does not count tokens.", param="model")


def no_models(upstream: Upstream) -> Call:
    """Raise Unsupported: for protocols without a list of models."""
    raise Unsupported("This provider does not list its models.", param="model")


def passed_call(
    url: str, headers: Mapping[str, str], body: Any, method: str = "POST", reply: CannedReply | None = None
) -> Call:
    """Return a call whose answer nothing here reads."""
    return Call(url, headers, body, False, unread, method=method, passed=True, reply=reply)


def unread(call: Call, streamed: bool) -> Translator:
    """Raise: the answer of a call that is passed on is not translated."""
    raise AssertionError("the answer passes as it is")


def not_passed(asked: Passed, upstream: Upstream) -> Call:
    """Raise Unsupported: for protocols that have no such API."""
    raise Unsupported(
        f"This model's provider does not serve {asked.operation}. Choose a model of one that does, or ask this one by "
        "POST /v1/chat/completions, which takes every model.",
        param="model",
    )


def edited(translator: Translator, edit: Callable[[list[Json]], list[Json]]) -> Translator:
    """The translator of an answer, whose chunks go through `edit`, which may remember them. translator: primed."""
    chunks: list[Json] | Call = []
    while True:
        event = yield chunks
        try:
            chunks = translator.send(event)
        except StopIteration as end:
            return edit(end.value)
        if not isinstance(chunks, Call):
            chunks = edit([*chunks] if type(chunks) is Repeatable else chunks)


def prime(translator: Translator) -> Translator:
    """Run a translator to its first yield, so that it can be sent events."""
    next(translator)
    return translator
