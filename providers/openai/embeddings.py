"""Embeddings of OpenAI and the hosts that imitate it: the request passes, with what the host's row says."""

import struct
from base64 import b64decode
from collections.abc import Iterable
from functools import partial
from typing import Any, Final

from ..common.error_shapes import told_instead
from ..common.usage import count, usage_of
from ..common.vectors import embeddings_call, of_length_one
from ..contract import Call, Json, Upstream
from ..endpoints import endpoint, key_header
from ..errors import UpstreamBadOutput
from .errors import in_band, refuse_errors
from .params import drop

_PASS: Final = frozenset({"model", "input", "dimensions"})


def build_embeddings(body: Json, upstream: Upstream) -> Call:
    """Return the call as this host takes it. Vectors are asked for as floats where it is not sure to know base64."""
    host, changed = upstream.host, list[str]()
    out = body | {"model": upstream.model}
    drop(out, [name for name in host.drop if name not in _PASS], changed)
    if not host.openai_rules:
        out.pop("encoding_format", None)
    for name, there in host.embed_rename.items():
        if name in out:
            out[there] = out.pop(name)
    url = endpoint(host, upstream.base_url, upstream.model, "embeddings")
    return embeddings_call(
        url, key_header(host, upstream.api_key), [out], partial(read, upstream=upstream), body, tuple(changed)
    )


def read(answers: list[Any], upstream: Upstream) -> tuple[Iterable[Any], int]:
    """Vectors in the order of their indexes, and the prompt's tokens (0 where the host does not count)."""
    [body] = answers
    if not isinstance(body, dict):
        raise UpstreamBadOutput("The upstream's answer is not a JSON object.", code="upstream_bad_json")
    refuse_errors("", body, bool(body.get("data")))
    if not body.get("data") and (wrong := told_instead(body, sure=False)):
        raise in_band(wrong)
    data = sorted(body["data"], key=lambda each: each.get("index") or 0)
    vectors = (each["embedding"] for each in data)
    if upstream.host.embed_int8:
        vectors = (_from_int8(vector) for vector in vectors)
    return vectors, _tokens(body.get("usage"))


def _tokens(told: Any) -> int:
    """Return the prompt's tokens: of embeddings, some hosts tell only the total."""
    return int(usage_of(told)["prompt_tokens"]) or (count(told.get("total_tokens")) if isinstance(told, dict) else 0)


def _from_int8(vector: str) -> list[float]:
    data = b64decode(vector, validate=True)
    return of_length_one(struct.unpack(f"{len(data)}b", data))
