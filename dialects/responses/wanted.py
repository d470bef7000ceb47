"""What the answer to a Responses request depends on: made by the request's parser, read by its renderer."""

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any, NamedTuple

from providers.contract import Json

from .params import NOWHERE, Places


class LoweredTool(NamedTuple):
    """A tool of the client's that was sent as a function: what its calls are raised to again."""

    kind: str  # function, custom, shell, local_shell, apply_patch, tool_search …
    name: str  # the client's
    namespace: str | None = None


class Wanted(NamedTuple):
    """ClientRequest.answer of the Responses dialect."""

    body: Json  # the client's request: its settings are repeated in the Response object
    tools: Mapping[str, LoweredTool] = MappingProxyType({})  # name of a function as sent → the client's tool
    summary: bool = False  # reasoning is shown, as a summary
    carried: bool = False  # what the upstream wants back goes to the client as encrypted_content
    logprobs: bool = False
    previous: str | None = None  # previous_response_id, as asked
    stored: bool = False  # the answer is kept under its id
    places: Places = NOWHERE  # where the client's request holds what the chat request does: paths in errors
    extra: Any = None
