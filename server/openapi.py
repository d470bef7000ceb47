"""GET /openapi.json: what this server serves under /v1 and /admin, as an OpenAPI 3.1 document made from the route table.

A route appears by being served; SUMMARIES only says what it is for. Schemas are given for what this server checks itself;
all other bodies are those of the API that a path belongs to.
"""

from typing import Any, Final

from aiohttp import web

from gateway.key_fields import FLAGS, PERIODS
from gateway.secret_checks import LONGEST_NAME
from providers.contract import Json

from . import auth, responses_endpoints
from .json_answer import json_answer
from .page import SITE
from .request import Request

SUMMARIES: Final = {
    "/v1/chat/completions": "Create a chat completion (OpenAI)",
    "/v1/responses": "Create a response (OpenAI)",
    "/v1/messages": "Create a message (Anthropic)",
    "/v1/messages/count_tokens": "Count the tokens of a message (Anthropic)",
    "/v1/embeddings": "Create embeddings (OpenAI)",
    "/v1/models": "List the models that the key may use",
    "/v1/models/{id}": "Retrieve one model",
    "/v1/usage": "Requests, tokens and cost of the key",
    "/v1/explain": "Where a request would go, and as what; nothing is sent to a model",
    "/admin/providers": "State, latest failures, latency and list of models of each provider (admin keys)",
    "/admin/keys": "Every client key with its limits and what it has used (admin keys)",
    "/admin/keys/add": "Make a client key, which stands in this answer only (admin keys)",
    "/admin/keys/disable": "Refuse a client key from now on (admin keys)",
    "/admin/keys/enable": "Let a disabled client key in again (admin keys)",
}
_NUMBER: Final = {"type": "number"}
_INTEGER: Final = {"type": "integer"}
_CHAT: Final[Json] = {
    "type": "object",
    "required": ["model", "messages"],
    "properties": {
        "model": {"type": "string"},
        "messages": {"type": "array", "minItems": 1, "items": {"type": "object", "required": ["role"]}},
        "stream": {"type": "boolean", "default": False},
        "max_tokens": {**_INTEGER, "minimum": 1},
        "max_completion_tokens": {**_INTEGER, "minimum": 1},
        "temperature": {**_NUMBER, "minimum": 0, "maximum": 2},
        "top_p": {**_NUMBER, "minimum": 0, "maximum": 1},
        "presence_penalty": {**_NUMBER, "minimum": -2, "maximum": 2},
        "frequency_penalty": {**_NUMBER, "minimum": -2, "maximum": 2},
        "stop": {"oneOf": [{"type": "string"}, {"type": "array", "maxItems": 4, "items": {"type": "string"}}]},
        "seed": _INTEGER,
        "n": {**_INTEGER, "minimum": 1, "maximum": 128},
        "tools": {"type": "array", "items": {"type": "object"}},
        "response_format": {"type": "object"},
        "reasoning_effort": {"type": "string"},
    },
}
_ERROR: Final[Json] = {
    "type": "object",
    "required": ["error"],
    "properties": {
        "error": {
            "type": "object",
            "required": ["message", "type"],
            "properties": {
                "message": {"type": "string"},
                "type": {"type": "string"},
                "param": {"type": ["string", "null"]},
                "code": {"type": ["string", "null"]},
            },
        }
    },
}
_NAME: Final[Json] = {"name": {"type": "string", "minLength": 1, "maxLength": LONGEST_NAME}}
_KEY: Final[Json] = {"type": "object", "required": ["name"], "additionalProperties": False, "properties": _NAME}
_NEW_KEY: Final[Json] = {
    **_KEY,
    "properties": {
        **_NAME,
        "models": {"oneOf": [{"type": "string"}, {"type": "array", "items": {"type": "string"}}]},
        **{key: {**_INTEGER, "minimum": 1, "maximum": 10**9} for key in ("rpm", "tpm", "concurrency")},
        "budget_usd": {**_NUMBER, "exclusiveMinimum": 0, "maximum": 100_000},
        "budget_period": {"enum": [*PERIODS]},
        "expires": {"type": "string"},
        **{key: {"type": "boolean"} for key in FLAGS},
    },
}
_REF_ERROR: Final = {"$ref": "#/components/schemas/Error"}
_BODIES: Final = {
    "/v1/chat/completions": {"$ref": "#/components/schemas/ChatCompletionRequest"},
    "/admin/keys/add": {"$ref": "#/components/schemas/NewKey"},
    "/admin/keys/disable": {"$ref": "#/components/schemas/Key"},
    "/admin/keys/enable": {"$ref": "#/components/schemas/Key"},
}


def served(app: web.Application) -> dict[str, set[str]]:
    """Return the methods of each path under /v1 and /admin, without the spellings that are served for clients' mistakes."""
    found: dict[str, set[str]] = {}
    for route in app.router.routes():
        path = route.resource.canonical if route.resource is not None else ""
        if not path.startswith(("/v1/", "/admin/")) or path.startswith("/v1/v1/") or path.endswith("/"):
            continue
        if route.method != "HEAD" and route.handler is not responses_endpoints.upgrade:  # that one is no operation
            found.setdefault(path, set()).add(route.method.lower())
    return found


def _operation(path: str, method: str) -> Json:
    names = [part[1:-1] for part in path.replace(":", "/").split("/") if part.startswith("{")]
    answers: Json = {
        "200": {"description": "The answer", "content": {"application/json": {}}},
        "default": {"description": "What went wrong", "content": {"application/json": {"schema": _REF_ERROR}}},
    }
    operation: Json = {"summary": SUMMARIES.get(path, path.removeprefix("/v1/")), "responses": answers}
    if names:
        operation["parameters"] = [
            {"name": name, "in": "path", "required": True, "schema": {"type": "string"}} for name in names
        ]
    if method == "post":
        schema: Any = _BODIES.get(path, {"type": "object"})
        operation["requestBody"] = {"required": True, "content": {"application/json": {"schema": schema}}}
    return operation


def document(app: web.Application, version: str, base: str, keys: bool) -> Json:
    """Return the OpenAPI document. base: this server's address; keys: callers need one."""
    paths = {
        path: {method: _operation(path, method) for method in sorted(methods)}
        for path, methods in sorted(served(app).items())
    }
    return {
        "openapi": "3.1.0",
        "info": {"title": "ModelServer", "version": version},
        "servers": [{"url": base}],
        "security": [{"key": []}] if keys else [],
        "paths": paths,
        "components": {
            "securitySchemes": {"key": {"type": "http", "scheme": "bearer"}},
            "schemas": {"ChatCompletionRequest": _CHAT, "Key": _KEY, "NewKey": _NEW_KEY, "Error": _ERROR},
        },
    }


async def openapi(request: Request) -> web.Response:
    """GET /openapi.json: no key needed."""
    base = f"{auth.scheme(request)}://{request.host}"
    keys = bool(request.generation.settings.keys)
    return json_answer(
        document(request.app, request.app[SITE].version, base, keys), headers={"Cache-Control": "no-cache"}
    )
