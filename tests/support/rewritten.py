"""What every function that rewrites a schema promises."""

import copy
from collections.abc import Callable
from typing import Any

Json = dict[str, Any]


def check_rewrite(rewrite: Callable[[Json, str], Json], schema: Json, expected: Json) -> None:
    """The result is the expected one, the schema given is not changed, and what is rewritten already stays the same object."""
    before = copy.deepcopy(schema)
    made = rewrite(schema, "p")
    assert made == expected
    assert schema == before
    assert rewrite(made, "p") is made
