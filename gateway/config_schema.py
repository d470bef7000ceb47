"""The shape of config.yaml: every section, key, default and limit. config.yaml documents them, held together by a test.

Times are in seconds, sizes in bytes (YAML may say 32MiB). A field without a default is required.
"""

from collections.abc import Mapping
from typing import Annotated, Any, Final, Literal

import msgspec
from msgspec import Meta

from providers.hosts import Host


class Section(msgspec.Struct, frozen=True, kw_only=True):
    """A mapping of config.yaml. Its fields are the only keys it may have."""


class FieldsOf(msgspec.Struct, frozen=True):
    """Marks a mapping that may hold any field of a struct, typed as there. elsewhere: fields given outside it."""

    kind: type
    elsewhere: tuple[str, ...] = ()


Seconds = Annotated[float, Meta(gt=0, le=86_400)]
Size = Annotated[int, Meta(ge=1024, le=2**30)]
ByteBudget = Annotated[int, Meta(ge=1024, le=2**40)]
Month = Annotated[float, Meta(gt=0, le=30 * 86_400)]
Memory = Annotated[int, Meta(ge=0, le=2**40)]
Port = Annotated[int, Meta(ge=0, le=65_535)]
Count = Annotated[int, Meta(ge=0, le=10**9)]
PositiveCount = Annotated[int, Meta(ge=1, le=100_000)]
Dollars = Annotated[float, Meta(ge=0, le=100_000)]
Days = Annotated[int, Meta(ge=1, le=36_500)]
Tokens = Annotated[int, Meta(ge=1, le=10**6)]
Weight = Annotated[float, Meta(gt=0, le=1_000_000)]
OnDisconnect = Literal["cancel", "finish"]


class Timeouts(Section, frozen=True):
    """Limits of silence; a long answer is no fault."""

    connect: Seconds = 5.0  # until an upstream has accepted the connection, TLS included
    # From the request until the first byte of a stream, and of any silence until it has said something. An answer that is
    # not streamed upstream may take `total`.
    first_byte: Seconds = 120.0
    first_byte_reasoning: Seconds = 600.0  # the same for a model that thinks before it speaks
    between_bytes: Seconds = 60.0  # between two reads from an upstream that has said something
    write: Seconds = 60.0  # a client that reads nothing for this long is disconnected
    request_body: Seconds = 30.0  # until a client's body has arrived
    attempts: Seconds = 180.0  # after this no other target or key is tried
    total: Seconds = 3600.0  # of one request


class KeepAlive(Section, frozen=True):
    """Comments that keep proxies from closing a silent stream."""

    after: Seconds = 15.0  # silence before the first token, until the stream is opened with a comment
    every: Seconds = 10.0  # silence after that, until the next comment
    # Nothing but comments, until a client of /v1/messages that is shown thinking gets an empty block of it: to its watchdog
    # comments are silence. Then no other target can take over.
    thinking: Seconds = 240.0
    # Nothing but comments, until a client of /v1/responses, or one of /v1/messages whose answer has begun so, gets an event
    # that says nothing: Codex counts events.
    events: Seconds = 60.0


class CapacityConfig(Section, frozen=True):
    """Limits of what is handled at once. More is refused with 503 and Retry-After instead of slowing down the rest."""

    connections: PositiveCount = 2000  # of clients; fewer where the system allows fewer open files
    requests: PositiveCount = 1000  # being answered
    waiting: Annotated[int, Meta(ge=0, le=100_000)] = 200  # until they may begin
    wait: Seconds = 10.0  # until they may begin
    bytes: ByteBudget = 256 * 2**20  # of memory for request bodies, and for answers not yet taken
    # Resident memory of the process; 0: four fifths of what systemd's MemoryMax= or a container allows, if anything does.
    memory: Memory = 0
    lag: Seconds = 1.0  # by which the event loop is late, again and again


class Cooldown(Section, frozen=True):
    """When a target that fails is not called for a while."""

    failures: PositiveCount = 5  # in a row, until the target cools down
    seconds: Seconds = (
        10.0  # the first time, doubled each time the one request that tries again fails; at most 12 times
    )
    refused_key_seconds: Seconds = 300.0  # for so long a key that was refused is only used when no other is left


class ServerConfig(Section, frozen=True):
    host: str = "127.0.0.1"  # keyless only on loopback
    port: Port = 8080
    max_body: Size = 32 * 2**20  # of a request
    # Of a form that is passed on while it arrives. Those that name their model behind a file wait for it on disk: all
    # together have as many bytes at most.
    max_upload: ByteBudget = 2**30
    max_event: Size = 8 * 2**20  # of one event of an upstream's stream
    max_answer: Size = 64 * 2**20  # of an upstream's answer to a call that is not streamed
    timeouts: Timeouts = Timeouts()
    keep_alive: KeepAlive = KeepAlive()
    capacity: CapacityConfig = CapacityConfig()
    cooldown: Cooldown = Cooldown()
    cors_origins: tuple[str, ...] = ("*",)  # origins of web pages that may call with a key
    allowed_hosts: tuple[
        str, ...
    ] = ()  # names by which the server may be called; none: any with keys, loopback without
    drain: Seconds = 60.0  # how long running answers may take to finish when the server stops
    reload_on_change: bool = False  # read this file again when it has changed; without it on SIGHUP and `reload` alone
    fetch_images: bool = True  # fetch image URLs for models whose provider does not
    log: Literal["auto", "json", "text"] = "auto"  # auto: text on a terminal, JSON lines elsewhere


class KeyConfig(Section, frozen=True):
    """A client key. Exactly one of key and sha256 is given."""

    name: str
    key: str = ""
    sha256: str = ""  # hex
    models: tuple[str, ...] = ("*",)  # public names, patterns allowed
    rpm: Count = 0  # requests per minute; of this and the next three, 0 is no limit
    tpm: Count = 0  # tokens per minute, prompt and answer
    concurrency: Count = 0  # requests at once
    budget_usd: Dollars = 0.0
    budget_period: Literal["day", "month", "total"] = "month"  # by UTC
    allow_unpriced: bool = (
        False  # with a budget: whether models of unknown price may be used; they cost the budget nothing
    )
    expires: str = ""  # a date (its last day, UTC) or an ISO 8601 time
    disabled: bool = False
    admin: bool = False  # sees the usage of all keys, and the inspector
    passthrough: bool = False  # may call any path of a provider at /p/{provider}/…, with the provider's key


class ProviderConfig(Section, frozen=True):
    """Where models are served. A known name brings everything but the key."""

    protocol: str = ""
    host: str = ""  # the row of hosts.py to take defaults from; the provider's own name if it is one
    base_url: str = ""
    api_key: str | tuple[str, ...] = ""  # several share the load; see Cooldown for refused and throttled ones
    ca_file: str = ""  # certificates to trust instead of the system's, for a host with a private authority
    proxy: str = ""  # an HTTP proxy to reach it through, http://[user:password@]host:port, or env: the environment's
    allow_insecure: bool = False  # http:// to a host that is neither this machine nor in a private network
    concurrency: PositiveCount = 500  # calls at once
    reasoning: bool = True  # whether clients are shown reasoning_content
    cache: Literal["on", "off"] = "on"  # mark Claude's prompts for its cache where clients do not
    # the list of its models: read in the background (discover), not read (listed), or what its row says
    models: Literal["auto", "discover", "listed"] = "auto"
    # requests to /v1/responses: passed on (native), translated to chat completions (hub), or what its row says
    responses: Literal["auto", "native", "hub"] = "auto"
    # fields of the row of hosts.py to replace, each as a whole
    overrides: Annotated[dict[str, Any], FieldsOf(Host, ("protocol", "base_url", "discover"))] = {}
    options: dict[str, Any] = {}  # settings of the protocol: echo's delay …
    # when a client leaves: cancel the upstream's answer, or read on, for at most finish_seconds, to learn what it costs
    on_disconnect: OnDisconnect = "cancel"
    finish_seconds: Seconds = 60.0


Cause = Literal["context", "content_filter", "budget"]


class TargetConfig(Section, frozen=True):
    """A target, in its long form."""

    target: str
    weight: Weight | None = None  # its share of the load; None: targets are asked in order
    on: tuple[Cause, ...] = ()  # causes, beside failure, for which the next target is asked


class RouteConfig(Section, frozen=True):
    """A public model, in its long form."""

    # in order; or target: weight, to share the load
    targets: tuple[str | TargetConfig, ...] | dict[str, Weight]
    first_byte: Seconds | None = None  # instead of the timeouts' own
    defaults: dict[str, Any] = {}  # on top of the global ones


class UsageConfig(Section, frozen=True):
    """The usage ledger: one row per request."""

    path: str = ""  # the SQLite file, relative to $STATE_DIRECTORY or this file's folder; "": no ledger
    retention_days: Days = 90  # rows older than this are deleted; the sums of each day stay
    fail_closed: bool = False  # refuse requests while rows cannot be written
    # Reserved for the answer to a request of a key with a budget or tpm that names no max_tokens, and sent as its limit …
    reserve_tokens: Tokens = 4096
    cap_output: bool = True  # … unless this is off: then the model's longest answer is reserved


class SharedStateConfig(Section, frozen=True):
    """The Redis in which several processes share their limits."""

    url: str = ""  # redis://… or rediss://…; "": in this process
    on_unavailable: Literal["closed", "open"] = "closed"  # refuse limited keys (503), or count in each process
    prefix: str = "modelserver"  # of the names in Redis


class InspectorConfig(Section, frozen=True):
    """The page's inspector: the last exchanges, with their content, in memory only."""

    enabled: bool = False
    exchanges: Annotated[int, Meta(ge=1, le=10_000)] = 100  # kept at most
    max_bytes: Size = 16 * 2**20  # of all of them together; one may have a quarter


class ResponsesConfig(Section, frozen=True):
    """What is kept of answers to /v1/responses, so that clients may go on with them by their ids."""

    store: str = "memory"  # memory, off, or a SQLite file, relative to $STATE_DIRECTORY or this file's folder
    ttl: Month = 3600.0  # since a response was used last
    store_mb: Annotated[int, Meta(ge=1, le=100_000)] = 32  # MiB, of all of them together
    # An id that is not known here is passed on to a provider that keeps responses itself, or refused. auto: passed where
    # at most one key is configured, as providers' keys are shared by all clients.
    unknown_ids: Literal["auto", "pass", "refuse"] = "auto"


class Config(Section, frozen=True):
    """The whole file."""

    server: ServerConfig = ServerConfig()
    keys: tuple[KeyConfig, ...] = ()
    providers: dict[str, ProviderConfig] = {}
    models: dict[str, str | tuple[str | TargetConfig, ...] | RouteConfig] = {}
    defaults: dict[str, Any] = {}  # parameters sent upstream when the client sends none and the model takes them
    strict_params: bool = False  # refuse what would be dropped or clamped, instead of saying so in a header
    inspector: InspectorConfig = InspectorConfig()
    responses: ResponsesConfig = ResponsesConfig()
    model_facts: dict[str, dict[str, Any]] = {}  # rows on top of providers/models.yaml
    usage: UsageConfig = UsageConfig()
    shared_state: str | SharedStateConfig = SharedStateConfig()  # a text is its url


# Words of config.yaml that have another name now: section, or values of a key → old word → new word.
RENAMED: Final[Mapping[Any, Mapping[str, str]]] = {
    ServerConfig: {"at_once": "capacity", "watch": "reload_on_change"},
    Cooldown: {"rest": "seconds", "benched": "refused_key_seconds"},
    KeyConfig: {"unpriced": "allow_unpriced"},
    ProviderConfig: {"row": "overrides", "drain_seconds": "finish_seconds"},
    OnDisconnect: {"drain": "finish"},
    SharedStateConfig: {"when_gone": "on_unavailable"},
    Config: {"facts": "model_facts", "state": "shared_state"},
}
