"""Requests that pass as bytes to OpenAI and the hosts that imitate it: their path, the host's key, and nothing else."""

from ..common.model_ids import list_call
from ..contract import Call, Passed, Upstream, no_models, not_passed, passed_call
from ..endpoints import endpoint, key_header

OPERATIONS = frozenset(
    {
        *("completions", "images/generations", "images/edits", "images/variations"),
        *("audio/speech", "audio/transcriptions", "audio/translations", "moderations", "rerank"),
    }
)


def build_models(upstream: Upstream) -> Call:
    """Return the call that lists the models. Raises Unsupported where each has an address of its own."""
    if "{model}" in upstream.host.path:
        return no_models(upstream)
    return list_call(
        endpoint(upstream.host, upstream.base_url, "", "models"), key_header(upstream.host, upstream.api_key)
    )


def pass_on(asked: Passed, upstream: Upstream) -> Call:
    """Return the call that passes a request on. Raises Unsupported for another API's."""
    if asked.operation not in OPERATIONS:
        return not_passed(asked, upstream)
    url = endpoint(upstream.host, upstream.base_url, upstream.model, asked.operation)
    return passed_call(url, {**asked.headers, **key_header(upstream.host, upstream.api_key)}, asked.body)
