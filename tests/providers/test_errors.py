"""The tree of failures, and how upstream failures are named for our clients."""

import inspect
import json
import re
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from providers import PROVIDERS, errors
from providers.errors import Failure, from_upstream

LINE = re.compile(r"^( *)(\w+) +(\d{3}) +(\w+) +(\(.*\)|\w+) +(yes|no)$")
CLASSES = {
    name: kind
    for name, kind in inspect.getmembers(errors, inspect.isclass)
    if issubclass(kind, Failure) and kind is not Failure
}


def documented() -> dict[str, dict[str, Any]]:
    """The table of the docstring; the indent tells the parent."""
    assert errors.__doc__
    rows: dict[str, dict[str, Any]] = {}
    above: list[tuple[int, str]] = [(0, "Failure")]
    for line in errors.__doc__.splitlines():
        if match := LINE.match(line):
            indent, name, status, kind, code, elsewhere = match.groups()
            while above[-1][0] >= len(indent):
                above.pop()
            rows[name] = {
                "parent": above[-1][1],
                "status": int(status),
                "type": kind,
                "code": None if code.startswith("(") else code,
                "elsewhere": elsewhere == "yes",
            }
            above.append((len(indent), name))
    return rows


def test_the_table_is_the_tree():
    assert documented() == {
        name: {
            "parent": kind.__bases__[0].__name__,
            "status": kind.status,
            "type": kind.type,
            "code": kind.code,
            "elsewhere": kind.try_next,
        }
        for name, kind in CLASSES.items()
    }
    assert len(CLASSES) >= 19


def made(kind: type[Failure]) -> Failure:
    return kind() if kind is errors.UpstreamTruncated else kind("Do this.", param="model")


@pytest.mark.parametrize("kind", [Failure, *CLASSES.values()], ids=lambda kind: kind.__name__)
def test_bodies_have_the_four_keys(kind: type[Failure]):
    failure = made(kind)
    truncated = kind is errors.UpstreamTruncated
    assert failure.body() == {
        "error": {
            "message": "The upstream closed the stream before completion." if truncated else "Do this.",
            "type": kind.type,
            "param": None if truncated else "model",
            "code": kind.code,
        }
    }
    assert str(failure) == failure.message


@pytest.mark.parametrize("kind", [Failure, *CLASSES.values()], ids=lambda kind: kind.__name__)
def test_types_follow_the_status(kind: type[Failure]):
    """As the service's public page has them."""
    named = {401: "authentication_error", 429: "rate_limit_error"}
    assert kind.type == named.get(kind.status, "server_error" if kind.status >= 500 else "invalid_request_error")


def test_an_own_code_wins_for_one_failure_only():
    assert errors.BadRequest("x", code="y").code == "y"
    assert errors.BadRequest("x").code is None


@pytest.mark.parametrize(
    "kind, again",
    [
        (errors.UpstreamAuthError, False),
        (errors.QuotaExhausted, False),
        (errors.UpstreamTruncated, False),
        (errors.UpstreamBadOutput, False),
        (errors.AuthenticationError, False),
        (errors.RateLimitExceeded, None),
        (errors.Overloaded, None),
        (errors.UpstreamError, None),
        (errors.UpstreamTimeout, None),
    ],
)
def test_what_sdks_are_told_about_a_retry(kind: type[Failure], again: bool | None):
    assert made(kind).should_retry is again


KEY = "The upstream refused this server's credentials. Tell the operator of this server."
QUOTA = "The upstream account of this server has no quota left. Tell the operator of this server."
AUTH = (502, "server_error", "upstream_auth_error", KEY, None)
MONEY = (503, "server_error", "upstream_quota_exhausted", QUOTA, None)


def named(status: int, kind: str, code: str | None, message: str = "Why.", param: str | None = None) -> tuple[Any, ...]:
    return status, kind, code, message, param


INVALID, SERVER = "invalid_request_error", "server_error"
TOO_LONG = "context_length_exceeded"
MAPPING: dict[str, tuple[tuple[int, str], dict[str, Any], tuple[Any, ...]]] = {
    "401": ((401, "Incorrect API key provided: sk-1"), {}, AUTH),
    "407": ((407, "Why."), {}, AUTH),
    "403 of authentication": ((403, "Why."), {"code": "invalid_api_key"}, AUTH),
    "authentication in a stream": ((500, "Why."), {"code": "authentication_error"}, AUTH),
    "402": ((402, "Insufficient Balance"), {}, MONEY),
    "429 insufficient_quota": ((429, "You."), {"code": "insufficient_quota"}, MONEY),
    "429 billing_hard_limit_reached": ((429, "You."), {"code": "billing_hard_limit_reached"}, MONEY),
    "429 credit_balance_exhausted": ((429, "You."), {"code": "credit_balance_exhausted"}, MONEY),
    "429 organization_spend_limit_exceeded": ((429, "You."), {"code": "organization_spend_limit_exceeded"}, MONEY),
    "429 project_spend_limit_exceeded": ((429, "You."), {"code": "project_spend_limit_exceeded"}, MONEY),
    "429 organization_usage_limit_exceeded": ((429, "You."), {"code": "organization_usage_limit_exceeded"}, MONEY),
    "Anthropic's 400 of credit": ((400, "Your credit balance is too low to access the API."), {}, MONEY),
    "429": ((429, "Why."), {}, named(429, "rate_limit_error", "rate_limit_exceeded")),
    "429 with a code": ((429, "Why."), {"code": "tokens"}, named(429, "rate_limit_error", "rate_limit_exceeded")),
    "400": ((400, "Why."), {}, named(400, INVALID, None)),
    "400 with words for a code": ((400, "Why."), {"code": "what was said"}, named(400, "invalid_request_error", None)),
    "400 with a long code": ((400, "Why."), {"code": "x" * 65}, named(400, "invalid_request_error", None)),
    "400 with code and param": (
        (400, "Why."),
        {"code": "invalid_value", "param": "seed"},
        named(400, INVALID, "invalid_value", param="seed"),
    ),
    "422": ((422, "Why."), {"param": "n"}, named(400, INVALID, None, param="n")),
    "too long, by code": ((400, "Why."), {"code": TOO_LONG}, named(400, INVALID, TOO_LONG, param="messages")),
    "too long, OpenAI": (
        (400, "This model's maximum context length is 8192 tokens."),
        {"param": "input"},
        named(400, INVALID, TOO_LONG, "This model's maximum context length is 8192 tokens.", "input"),
    ),
    "too long, Anthropic": (
        (400, "Prompt is too long: 200001 tokens > 200000 maximum"),
        {},
        named(400, INVALID, TOO_LONG, "Prompt is too long: 200001 tokens > 200000 maximum", "messages"),
    ),
    "too long, Gemini": (
        (400, "The input token count (9) exceeds the maximum number of tokens allowed (8)."),
        {},
        named(
            400,
            INVALID,
            TOO_LONG,
            "The input token count (9) exceeds the maximum number of tokens allowed (8).",
            "messages",
        ),
    ),
    "too long, as 413": (
        (413, "prompt is too long"),
        {},
        named(400, INVALID, TOO_LONG, "prompt is too long", "messages"),
    ),
    "403": ((403, "Why."), {"code": "unsupported_country"}, named(403, INVALID, "permission_denied")),
    "404": ((404, "Why."), {}, named(404, INVALID, "model_not_found", param="model")),
    "404 model_not_found": (
        (404, "Why."),
        {"code": "model_not_found"},
        named(404, INVALID, "model_not_found", param="model"),
    ),
    "404 of something else": ((404, "Why."), {"code": "unknown_url"}, named(404, INVALID, "unknown_url")),
    "408": ((408, "Why."), {}, named(408, INVALID, "request_timeout")),
    "409": ((409, "Why."), {}, named(409, INVALID, "conflict")),
    "413": ((413, "Why."), {}, named(413, INVALID, "request_too_large")),
    "500": ((500, "Why."), {}, named(502, SERVER, "upstream_error")),
    "500 with a code": ((500, "Why."), {"code": "internal"}, named(502, SERVER, "upstream_error")),
    "502": ((502, "Why."), {}, named(502, SERVER, "upstream_error")),
    "503": ((503, "Why."), {}, named(503, SERVER, "overloaded")),
    "529": ((529, "Why."), {}, named(503, SERVER, "overloaded")),
    "504": ((504, "Why."), {}, named(504, SERVER, "upstream_timeout")),
    "418": ((418, "Why."), {}, named(502, SERVER, "upstream_error")),
    "599": ((599, "Why."), {}, named(502, SERVER, "upstream_error")),
}


@pytest.mark.parametrize("given_, extra, expected", MAPPING.values(), ids=MAPPING)
def test_upstream_failures(given_: tuple[int, str], extra: dict[str, Any], expected: tuple[Any, ...]):
    failure = from_upstream(*given_, **extra)
    assert (failure.status, failure.type, failure.code, failure.message, failure.param) == expected


@pytest.mark.parametrize("status, kept", [(429, 7.5), (503, 7.5), (504, 7.5), (500, 7.5)])
def test_retry_after_is_kept(status: int, kept: float):
    assert from_upstream(status, "Why.", retry_after=7.5).retry_after == kept


@given(st.integers(400, 599), st.text(max_size=20), st.none() | st.text(max_size=5), st.none() | st.text(max_size=5))
def test_any_upstream_failure_has_a_name(status: int, message: str, code: str | None, param: str | None):
    failure = from_upstream(status, message, code=code, param=param)
    assert failure.body()["error"].keys() == {"message", "type", "param", "code"}
    assert failure.status not in (401, 407)  # the client's own key is fine
    assert type(failure) in CLASSES.values()


SECRET = "sk-aB3-dE6_gH9jK2mN5pQ8rS1"


@pytest.mark.parametrize("before", range(295, 301))
def test_the_beginning_of_a_text_ends_at_a_blank(before: int) -> None:
    words = "word " * 60  # 300 characters
    assert (
        errors.shortened(words[:before] + SECRET, 300) == (words[:295].rstrip() if before < 300 else words[:-1]) + "…"
    )


@pytest.mark.parametrize(
    "text, found",
    [
        ("short", "short"),
        ("x" * 300, "x" * 300),
        ("x" * 301, ""),
        ("中" * 301, "中" * 300 + "…"),
        ("中" * 290 + SECRET, "中" * 290 + "…"),
        ("a b\n" * 100, ("a b\n" * 75)[:-1] + "…"),
    ],
)
def test_the_beginning_of_a_text(text: str, found: str) -> None:
    assert errors.shortened(text, 300) == found


@pytest.mark.parametrize("protocol", ["openai", "anthropic", "gemini"])
@pytest.mark.parametrize("shape", ["message", "text", "detail", "an object"])
def test_no_half_of_a_secret_is_left_where_a_long_message_ends(protocol: str, shape: str) -> None:
    """What is left of a secret by a cut is not known as one any more (Scrubber)."""
    for longest in (300, 1000, 2000, 4000):
        for place in range(longest - len(SECRET) - 15, longest + 1):
            message = "x " * (place // 2) + "x" * (place % 2) + f" {SECRET} " + "x " * 3000
            body: Any = {
                "message": {"error": {"message": message}},
                "text": message,
                "detail": {"detail": message},
                "an object": {"error": {"message": {"a": message}}},
            }[shape]
            data = body.encode() if isinstance(body, str) else json.dumps(body).encode()
            told = PROVIDERS[protocol].parse_error(400, data).message
            assert SECRET in told or SECRET[:6] not in told
            assert len(told) <= 4001


def test_a_field_of_a_long_name() -> None:
    assert from_upstream(400, "No.", param="messages. " * 100).param == ("messages. " * 20)[:-1] + "…"
