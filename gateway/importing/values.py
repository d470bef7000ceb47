"""Values of another program's file, whatever stands there."""

from math import isfinite
from typing import Any, Final
from urllib.parse import urlsplit

from providers.contract import Json

ENVIRONMENT: Final = "os.environ/"


def hostname(url: str) -> str:
    try:
        return urlsplit(url).hostname or ""
    except ValueError:
        return ""


def list_of(value: Any) -> list[Any]:
    return value if isinstance(value, list) else []


def mapping(value: Any) -> Json:
    return value if isinstance(value, dict) else {}


def number(value: Any) -> float | None:
    """Return a number, whole where it is; None for what is none."""
    try:
        found = float(value) if not isinstance(value, bool) and value is not None else None
    except (TypeError, ValueError):
        return None
    if found is None or not isfinite(found):
        return None
    return int(found) if found.is_integer() else found


def as_variable(value: Any) -> str:
    """Return a value with LiteLLM's form of a variable in ours."""
    text = str(value)
    return f"${{{text.removeprefix(ENVIRONMENT)}}}" if text.startswith(ENVIRONMENT) else text


def expanded(value: Any) -> Any:
    if isinstance(value, dict):
        return {str(name): expanded(each) for name, each in value.items()}
    if isinstance(value, list):
        return [expanded(each) for each in value]
    return as_variable(value) if isinstance(value, str) else value
