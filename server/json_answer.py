"""Answers of JSON to requests that no dialect answers: all are encoded alike."""

from collections.abc import Mapping
from typing import Any

from aiohttp import web

from providers import codec

from .answer import Answer


def json_answer(value: Any, status: int = 200, headers: Mapping[str, str] | None = None) -> web.Response:
    """Return the HTTP answer that holds `value` as JSON."""
    return Answer(codec.encode(value), {"Content-Type": "application/json; charset=utf-8", **(headers or {})}, status)
