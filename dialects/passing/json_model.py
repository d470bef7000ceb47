"""Where the model's name stands in a JSON request, so that nothing else of its bytes is changed."""

import re
from typing import Final, NamedTuple

from providers import codec, raw_json
from providers.errors import BadRequest

from ..validation import count_and_read

_BLANK: Final = re.compile(rb"[ \t\r\n]*+")
# It takes nothing back (`*+`): else each character of a long name would take 110 bytes of memory.
_NAME: Final = re.compile(rb'"(?:[^"\\]++|\\.)*+"', re.DOTALL)


class JsonRequest(NamedTuple):
    """A request of JSON. start, end: where the value of `model` stands; the same where it has none."""

    data: bytes
    members: raw_json.Members
    start: int
    end: int

    def with_model(self, model: str) -> bytes:
        """Return the request with another model; all other bytes are the client's."""
        value = codec.encode(model)
        if self.start == self.end:  # right behind the opening brace
            value = b'"model":' + value + (b"," if self.members else b"")
        return self.data[: self.start] + value + self.data[self.end :]


def read(data: bytes) -> JsonRequest:
    """Return the request that these bytes hold. Raises BadRequest for what is no object, or names a member twice."""
    try:
        members = raw_json.members(data)
    except ValueError:
        count_and_read(data)  # which says what is wrong
        raise BadRequest("The request body must be a JSON object.", code="invalid_json") from None
    at = _over(data, 0) + 1
    start = end = at
    seen = 0
    while data[(at := _over(data, at)) : at + 1] != b"}":
        if seen:
            at = _over(data, at + 1)  # the comma
        found = _NAME.match(data, at)
        assert found is not None  # it has been read as JSON
        name = codec.decode(found[0])
        at = _over(data, _over(data, found.end()) + 1)
        value = bytes(members[name])
        seen += 1
        # Which of two a host would take is not known.
        if seen > len(members) or data[at : at + len(value)] != value:
            raise _twice(name)
        if name == "model":
            start, end = at, at + len(value)
        at += len(value)
        if data[_over(data, at) : _over(data, at) + 1] not in (b",", b"}"):
            raise _twice(name)
    return JsonRequest(data, members, start, end)


def _over(data: bytes, at: int) -> int:
    """Return where the blanks end that begin at a place."""
    found = _BLANK.match(data, at)
    assert found is not None
    return found.end()


def _twice(name: str) -> BadRequest:
    return BadRequest(
        f"The request body names '{name[:100]}' twice. Send it once.", param=name[:100], code="invalid_json"
    )
