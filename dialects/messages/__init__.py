"""Anthropic's Messages API, for clients of Claude such as Claude Code. https://platform.claude.com/docs/en/api/messages"""

from collections.abc import Mapping
from typing import Final

from .. import conversations
from ..contract import HeaderForm
from .errors import error_body, error_status
from .message import completion
from .request import parse
from .stream import render

__all__ = [
    "begins_early",
    "completion",
    "error_body",
    "error_status",
    "header_form",
    "headers",
    "keep_alive",
    "operation",
    "parameters",
    "parse",
    "render",
    "told_in_stream",
]

operation: Final = "messages"
keep_alive: Final = b'event: ping\ndata: {"type": "ping"}\n\n'
begins_early: Final = False
headers: Final = frozenset({"anthropic-*", "?beta", *conversations.HEADERS})
header_form: Final = HeaderForm(
    limits="anthropic-ratelimit-{of}-{value}",
    moments=True,
    request_id="request-id",
    two_keys=True,
    unknown_key="invalid x-api-key",
)
told_in_stream: Final[frozenset[str]] = frozenset()
# "": what the client did not send, and is not told of.
parameters: Final[Mapping[str, str]] = {
    "reasoning_effort": "thinking",
    "max_completion_tokens": "max_tokens",
    "stop": "stop_sequences",
    "response_format": "output_config.format",
    "parallel_tool_calls": "tool_choice.disable_parallel_tool_use",
    "safety_identifier": "",
    "prompt_cache_key": "",
}
