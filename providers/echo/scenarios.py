"""The magic names of the built-in model: how each misbehaves, and the failures that `echo-<status>` answers with."""

import re
from collections.abc import Callable
from typing import Final

import msgspec

from .. import codec
from ..contract import CannedReply, ReplyStep
from ..errors import (
    AuthenticationError,
    BadRequest,
    Conflict,
    Failure,
    ModelNotFound,
    Overloaded,
    PermissionDenied,
    QuotaExhausted,
    RateLimitExceeded,
    RequestTimeout,
    RequestTooLarge,
    UpstreamError,
    UpstreamTimeout,
)

NEVER: Final = 10.0**9  # seconds: longer than any timeout

# What the client gets to see for echo-<status>: here the failure is the answer, not something behind it.
FAILURES: Final[dict[int, type[Failure]]] = {
    400: BadRequest,
    401: AuthenticationError,
    402: QuotaExhausted,
    403: PermissionDenied,
    404: ModelNotFound,
    408: RequestTimeout,
    409: Conflict,
    413: RequestTooLarge,
    429: RateLimitExceeded,
    500: Failure,
    502: UpstreamError,
    503: Overloaded,
    504: UpstreamTimeout,
    529: Overloaded,
}


class Scenario(msgspec.Struct, frozen=True):
    """How a magic model misbehaves. seconds: taken from the name's last part, `echo-slow-3`."""

    first: Callable[[float], float] = lambda seconds: 0.0  # delay before the first word
    between: Callable[[float], float | None] = lambda seconds: None  # delay between words instead of the setting
    stops_halfway: str = (
        ""  # cut: the connection breaks; error: an error event; stall: silence; end: a clean end, no finish
    )
    finish: str = "stop"
    seconds: float = 0.0  # the default


SCENARIOS: Final[dict[str, Scenario]] = {
    "echo": Scenario(),
    "echo-slow": Scenario(first=lambda s: s, between=lambda s: s / 10, seconds=5.0),
    "echo-silent": Scenario(first=lambda s: NEVER),
    "echo-stall": Scenario(stops_halfway="stall"),
    "echo-cut": Scenario(stops_halfway="cut"),
    "echo-end": Scenario(stops_halfway="end"),
    "echo-error": Scenario(stops_halfway="error"),
    "echo-length": Scenario(finish="length"),
    "echo-filter": Scenario(finish="content_filter"),
}
_NAME = re.compile(r"(echo(?:-[a-z]+)?)(?:-(\d{1,6}(?:\.\d{1,3})?))?", re.ASCII)


def simulate(model: str, data: bytes) -> CannedReply:
    """An answer of another kind, in one piece, as this model plays it. Raises ModelNotFound, BadRequest."""
    scene, seconds, reply = scene_of(model)
    if reply is not None:
        return reply
    halfway = len(data) // 2 if scene.stops_halfway else len(data)
    steps = [ReplyStep(scene.first(seconds), b""), ReplyStep(0.0, data[:halfway])]
    if scene.stops_halfway == "stall":
        steps.append(ReplyStep(NEVER, b""))
    return CannedReply(200, {"Content-Type": "application/json"}, steps, scene.stops_halfway == "cut")


def scene_of(model: str) -> tuple[Scenario, float, CannedReply | None]:
    """What a model's name asks for: its scene and the seconds of it, or the failure that is all it answers."""
    name = _NAME.fullmatch(model)
    if name and name[1] == "echo" and name[2]:
        return SCENARIOS["echo"], 0.0, _failing(int(float(name[2])))
    if not name or name[1] not in SCENARIOS:
        raise ModelNotFound(
            f"The model {model[:200]!r} does not exist. The built-in models are {', '.join(SCENARIOS)} and echo-<status>, "
            "such as echo-429.",
            param="model",
        )
    scene = SCENARIOS[name[1]]
    return scene, float(name[2]) if name[2] else scene.seconds, None


def parse_error(status: int, body: bytes) -> Failure:
    """echo-<status>: the failure is meant for the client, as it is."""
    wrong = codec.decode(body)["error"]
    return FAILURES[status](wrong["message"])


def _failing(status: int) -> CannedReply:
    if status not in FAILURES:
        raise BadRequest(
            f"echo-{status} does not exist: the statuses are {', '.join(map(str, FAILURES))}.", param="model"
        )
    body = {"error": {"message": f"This is the error that echo-{status} always answers with."}}
    headers = {"Content-Type": "application/json"} | ({"Retry-After": "1"} if status in (429, 503) else {})
    return CannedReply(status, headers, [ReplyStep(0.0, codec.encode(body))])
