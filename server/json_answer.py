"""Answers of JSON to requests that no dialect answers: all are encoded alike."""

from typing import Any

from aiohttp import web

from providers import codec


def json_answer(value: Any, status: int = 200) -> web.Response:
    """Return the HTTP answer that holds `value` as JSON."""
    return web.Response(body=codec.encode(value), status=status, content_type="application/json", charset="utf-8")
