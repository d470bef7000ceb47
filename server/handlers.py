"""Small handlers: models, usage, health, metrics. Each says who may call it."""

import os
import time

from aiohttp import web

from dialects import model_objects
from dialects.messages import model_list
from dialects.validation import check_model
from gateway.routing import Target
from providers.contract import Json

from . import auth, inspector, model_targets, page
from .ingress import authenticate_request
from .json_answer import json_answer
from .prometheus import CONTENT_TYPE, exposition
from .request import Request
from .state import STATE
from .usage import reports
from .whole_response import sent


async def models(request: Request) -> web.Response:
    """GET /v1/models: what the caller may use now, in the form of the API that its client speaks."""
    caller = authenticate_request(request)
    public = request.generation.settings.routes.public(caller.models)
    if model_list.wanted(request.headers, request.query):
        cards = [model_list.card(name, targets[0].upstream) for name, targets in public.items()]
        return json_answer(model_list.page(cards, request.query))
    listed: Json = {"object": "list", "data": [model_card(request, name, each) for name, each in public.items()]}
    if "client_version" in request.query:  # Codex looks for a list of another form, and is content with an empty one
        listed["models"] = []
    return json_answer(listed)


async def model(request: Request) -> web.Response:
    """GET /v1/models/{id}, with its targets; the id may hold slashes."""
    caller = authenticate_request(request)
    name = request.match_info["id"].rstrip("/")
    check_model(name)
    targets = request.generation.settings.routes.resolve(name, caller.models)
    if model_list.wanted(request.headers, request.query):
        return json_answer(model_list.card(name, targets[0].upstream))
    settings, health = request.generation.settings, request.generation.health
    details = model_targets.details(
        settings.routes, health, name, targets, caller.models, settings.config.strict_params
    )
    return json_answer(model_card(request, name, targets) | details)


def model_card(request: Request, name: str, targets: list[Target]) -> Json:
    """A model as OpenAI describes it, with what clients such as Chatbox and Cherry Studio look for besides."""
    return {
        "id": name,
        "object": "model",
        "created": model_objects.created(targets[0].upstream.facts),
        "owned_by": targets[0].upstream.name,
        "name": name,
        "type": "model",
        "display_name": name,
        "supported_endpoint_types": ["openai", "openai-response"],
        "status": "cooling_down" if request.generation.health.all_unavailable(targets, time.monotonic()) else "up",
        **model_objects.described(targets[0].upstream),
    }


async def usage(request: Request) -> web.Response:
    """GET /v1/usage: what the caller has used; what all have, for an admin key."""
    caller = authenticate_request(request)
    return await sent(request, await reports.usage(request.app_state.ledger, caller, request.query))


async def subscription(request: Request) -> web.Response:
    """GET /dashboard/billing/subscription: the budget, for chat clients that show a balance."""
    return json_answer(reports.subscription(authenticate_request(request)))


async def billed(request: Request) -> web.Response:
    """GET /dashboard/billing/usage: what was spent of it."""
    caller = authenticate_request(request)
    return json_answer(await reports.billed(request.app_state.ledger, caller, request.query))


async def preflight(request: Request) -> web.Response:
    """OPTIONS anywhere: a browser asks before it calls. The headers are added to every response alike."""
    return web.Response(status=204)


async def healthz(request: Request) -> web.Response:
    """GET /healthz: the process is alive; what does not work as it should, if anything.

    Programs on this machine also hear which process, for `reload`.
    """
    body: Json = {"status": "ok", "version": request.app_state.version}
    if trouble := request.app_state.ledger.problems():
        body["trouble"] = trouble
    if failed := request.app_state.discovery.failed:
        body["undiscovered"] = failed
    if auth.is_local_program(request):
        generations = request.app_state.generations
        body |= {
            "pid": os.getpid(),
            "generation": generations.generation,
            "begun": generations.begun,
            "ended": generations.ended,
            "failed": generations.failed,
            "reload": generations.error,
            "usage": store.path if (store := request.app_state.ledger.store) is not None else "",
        }
    return json_answer(body)


async def hello(request: Request) -> web.Response:
    """HEAD and GET /api/hello: Claude Code asks whether this server is there."""
    request.record.unlogged = True
    return web.Response()


async def client_events(request: Request) -> web.Response:
    """POST /api/event_logging/…: what older clients report to their maker. It is not read; a 404 would be asked again."""
    request.record.unlogged = True
    response = web.Response(status=204)
    response.force_close()
    return response


async def readyz(request: Request) -> web.Response:
    """GET /readyz: new requests are welcome; 503 while the server stops or has no room."""
    ready = request.app_state.admission.ready
    return json_answer({"status": "ready" if ready else "not ready"}, status=200 if ready else 503)


async def metrics(request: Request) -> web.Response:
    """GET /metrics, for programs on this machine and for callers with a key."""
    if not auth.is_local_program(request):
        auth.authenticate(request, request.generation.settings)
    return web.Response(body=exposition(request.app_state), headers={"Content-Type": CONTENT_TYPE})


async def home(request: Request) -> web.Response:
    """GET /: the page."""
    app = request.app
    request.record.unlogged = request.method == "HEAD"  # older Claude Code asks so whether this server is there
    kept = app[STATE].ledger.store is not None
    return app[page.SITE].home(request, bool(request.generation.settings.keys), kept, inspector.RECORDER in app)


def admin(request: Request) -> None:
    """For what shows everybody's doings. Raises unless the caller is an administrator."""
    auth.require_admin(request, request.generation.settings)
