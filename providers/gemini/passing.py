"""Requests of clients that speak Gemini's own API, passed on as they are. https://ai.google.dev/api/generate-content"""

from typing import Final

from msgspec.structs import replace

from ..common.model_ids import list_call
from ..contract import Call, Passed, Upstream, not_passed, passed_call
from ..endpoints import endpoint, key_header, with_query

_METHODS: Final = frozenset({"generateContent", "streamGenerateContent", "countTokens"})


def build_models(upstream: Upstream) -> Call:
    """Return the call that lists the models. https://ai.google.dev/api/models#method:-models.list"""
    host = replace(upstream.host, path="/models")
    url = endpoint(host, upstream.base_url, upstream.model, query={"pageSize": "1000"})
    return list_call(url, key_header(host, upstream.api_key))


def pass_on(asked: Passed, upstream: Upstream) -> Call:
    """Return the call that passes a request on. Raises Unsupported for another API's."""
    if asked.operation not in _METHODS:
        return not_passed(asked, upstream)
    url = endpoint(upstream.host, upstream.base_url, upstream.model, asked.operation)
    return passed_call(
        with_query(url, asked.query), {**asked.headers, **key_header(upstream.host, upstream.api_key)}, asked.body
    )
