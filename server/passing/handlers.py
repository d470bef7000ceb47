"""The handlers of routes that pass as bytes: a request is read as far as its model's name, its answer only beside.

A call of JSON is held, within server.max_body, and goes to another target where one fails. A form is passed on while it
arrives; then the target that got it is the last one.
"""

from collections.abc import Awaitable, Callable, Mapping
from functools import partial
from typing import Any, Final, NamedTuple, Protocol

from aiohttp import web

from dialects import chat
from dialects.contract import ClientRequest
from dialects.passing import (
    COUNT,
    GEMINI_METHODS,
    GEMINI_VERSIONS,
    OPERATIONS,
    Operation,
    form,
    generate_content,
    json_model,
)
from dialects.validation import check_model, count, missing_code
from gateway.estimates import Prompt
from gateway.restricted_fields import FIELDS, KNOWN, refusal
from gateway.routing import Target
from gateway.settings import Caller
from providers import PROVIDERS, raw_json
from providers.contract import Call, Json, Passed
from providers.errors import BadRequest, UnsupportedEncoding

from .. import inspector
from ..attempts import answer_headers, first_that_answers
from ..ingress import admit, authenticate_request, enter, read_body, worker_for
from ..outbound.passed import open_passed
from ..request import Handler, Request, post, route
from ..traces import HEAD
from ..worker import done
from . import passthrough
from .answers import pass_back
from .uploads import Form

_TIER: Final = "service_tier"
_LIMIT: Final = "max_tokens"
_READ: Final = frozenset({"model", "n", _TIER, _LIMIT})  # fields of JSON that are read, whoever sends them
# Those that limited keys may not send; a prompt is another thing in these APIs.
_REFUSED: Final = FIELDS.keys() - {"prompt"}
_PER_BYTE: Final = 4  # tokens: more than these, and _ADDED, are taken for a mistake of the upstream's
_ADDED: Final = 10**6
_MOST_ANSWERS: Final = 128  # of one request
_FORM_SIZE: Final = 2**20  # bytes that a form is taken for: its files are no text
Prepare = Callable[[Target], Awaitable[Call]]


class Body(Protocol):
    """A request's body without its model."""

    def with_model(self, model: str) -> Any: ...


class Read(NamedTuple):
    """A request that has been read as far as it is. fields: those of it by which limits go, and its model.

    answer: as of Prompt; tools: as ClientRequest.upstream_tools.
    """

    fields: Json
    body: Body
    headers: Mapping[str, str]
    size: int
    words: bool  # whether it is text, of which tokens can be estimated
    answer: int | None = None
    tools: tuple[str, ...] = ()


def routes() -> list[web.RouteDef]:
    """Return the routes that pass as bytes."""
    table = []
    for operation in OPERATIONS:
        handler = complete(operation)
        for path in operation.paths or (f"/v1/{operation.name}", f"/{operation.name}"):
            table += [post(path, handler), post(f"{path}/", handler)]
    for method in GEMINI_METHODS:
        handler = complete_gemini(method)
        table += [post(f"/{version}/models/{{model:(?s:.+)}}:{method}", handler) for version in GEMINI_VERSIONS]
    for verb in passthrough.METHODS:
        passed = route(verb, "/p/{provider}/{path:(?s:.*)}", pass_through)
        table.append(passed)
        if verb == "GET":
            passed.kwargs["allow_head"] = False
    return table


def complete(operation: Operation) -> Handler:
    """Return the handler of one of OpenAI's routes."""

    async def handler(request: Request) -> web.StreamResponse:
        caller = authenticate_request(request)
        with enter(request):
            boundary = form.boundary_of(request.headers.getall("Content-Type", [])) if operation.form else None
            if boundary is None:
                return await passed(request, caller, operation.name, await read_json(request, caller, operation))
            upload = Form(request, boundary, partial(check_field, caller))
            try:
                return await passed(request, caller, operation.name, await read_form(request, upload))
            finally:
                upload.close()

    return handler


def complete_gemini(method: str) -> Handler:
    """Return the handler of one of Gemini's methods, whose model stands in the path."""

    async def handler(request: Request) -> web.StreamResponse:
        caller = authenticate_request(request)
        with enter(request):
            data = inspector.record_body(request, await read_body(request))
            model = request.match_info["model"]
            read = Read({"model": model}, AsSent(data), {}, len(data), True)
            if caller.restricted:
                look = partial(within_limits, read, (await json_of(request, data)).members, method)
                read = await done(worker_for(request, data), look)
            query = f"alt={request.query['alt']}" if request.query.get("alt") in ("sse", "json") else ""
            return await passed(request, caller, method, read, query)

    return handler


def within_limits(read: Read, members: raw_json.Members, method: str) -> Read:
    """Return a request of Gemini's own API with what a key's limits must know of it. Raises BadRequest."""
    if "model" in members:
        raise BadRequest("Name the model in the path alone.", param="model", code="invalid_value")
    if method == COUNT:
        return read
    return read._replace(
        fields={**generate_content.fields(members, KNOWN), **read.fields, "n": generate_content.answers(members)},
        answer=generate_content.longest(members),
        tools=generate_content.upstream_tools(members),
    )


class AsSent(NamedTuple):
    """A body that does not name its model."""

    data: bytes

    def with_model(self, model: str) -> bytes:
        return self.data


async def read_json(request: Request, caller: Caller, operation: Operation) -> Read:
    """Return a request of JSON. Raises BadRequest, ModelNotFound and as read_body does."""
    data = await read_body(request)
    inspector.record_body(request, data[:HEAD])
    request.in_flight.hold_bytes(2 * len(data))  # with what goes upstream
    body = await json_of(request, data)
    wanted = _READ | _REFUSED if caller.restricted else _READ
    fields = {name: raw_json.decoded(body.members[name]) for name in wanted & body.members.keys()}
    model = fields.get("model") or operation.default
    if not isinstance(model, str) or not model:
        raise no_model(model)
    limit = fields.pop(_LIMIT, 0)
    answer = (limit if type(limit) is int and limit > 0 else 0) if operation.text else None
    return Read({**fields, "model": model}, body, {}, len(data), True, answer)


async def json_of(request: Request, data: bytes) -> json_model.JsonRequest:
    """Return the JSON of a request's body; a large one is read outside of the event loop. Raises BadRequest."""

    def work() -> json_model.JsonRequest:
        count(data)
        return json_model.read(data)

    return await done(worker_for(request, data), work)


async def read_form(request: Request, upload: Form) -> Read:
    """Return a form whose model has come. Raises BadRequest, ModelNotFound, RequestTooLarge, Overloaded …"""
    if "Content-Encoding" in request.headers:
        raise UnsupportedEncoding(
            "This server does not unpack forms: send the form as it is, without Content-Encoding."
        )
    model = await upload.find_model()
    inspector.record_body(request, upload.head)
    if not model:
        raise no_model(model)
    kind = {"Content-Type": request.headers["Content-Type"]}
    return Read({"model": model}, upload, kind, min(request.content_length or _FORM_SIZE, _FORM_SIZE), False)


def no_model(model: Any) -> BadRequest:
    """Return the error of a request that names no model."""
    return BadRequest("You must provide a model: GET /v1/models lists them.", param="model", code=missing_code(model))


def check_field(caller: Caller, name: str) -> None:
    """Raise Unsupported for a field of a form that this key may not send."""
    plain = name.partition("[")[0]
    if caller.restricted and plain in _REFUSED:
        raise refusal(plain)


async def passed(request: Request, caller: Caller, operation: str, read: Read, query: str = "") -> web.StreamResponse:
    """Admit a request, pass it on to the first target that answers, and pass the answer back."""
    check_model(read.fields["model"])
    tokens = read.size // _PER_BYTE if read.words else 0
    answers = read.fields.pop("n", 1)
    answers = max(1, min(answers, _MOST_ANSWERS)) if type(answers) is int else 1
    prompt = Prompt(tokens, tokens, read.size * _PER_BYTE + _ADDED, answers, read.fields.get(_TIER), answer=read.answer)
    asked = ClientRequest(read.fields, upstream_tools=read.tools)
    targets = await admit(request, caller, asked, prompt, operation)

    async def prepare(target: Target) -> Call:
        upstream = target.upstream
        sent = Passed(operation, read.body.with_model(upstream.model), read.headers, query)
        return PROVIDERS[upstream.host.protocol].pass_on(sent, upstream)

    return await answered(request, asked, targets, prepare)


async def pass_through(request: Request) -> web.StreamResponse:
    """Any method of /p/{provider}/{path}: what the provider answers there, for keys that may ask it anything."""
    caller = authenticate_request(request)
    with enter(request):
        wanted = passthrough.read(request, caller)
        asked = ClientRequest({"model": f"{wanted.upstream.name}/*"})
        targets = await passthrough.admit(request, caller, wanted, asked)

        async def prepare(target: Target) -> Call:
            return passthrough.call(wanted, target.upstream)

        return await answered(request, asked, targets, prepare)


async def answered(
    request: Request, asked: ClientRequest, targets: list[Target], prepare: Prepare
) -> web.StreamResponse:
    """Return the answer of the first target that gives one, passed back as it came."""
    request.meter.passed = True
    exchange, answer = await first_that_answers(request, asked, targets, prepare, open_passed)
    return await pass_back(request, exchange, answer, answer_headers(exchange, chat))
