"""Fields of a request by which a client would choose another model, route, host or price than its key may use.

There are many, each host has its own, and a host may pass on what it does not know. So there is one list for all hosts: a key
that may not use every model, or that has a budget or a tpm, may not send them. Other keys may send what the host allows.
So it is with tools that the upstream runs, where a request is passed on as the client wrote it. `overrides: {allow: [...]}`
of a provider lets some of them pass.
"""

from collections.abc import Iterator, Sequence
from typing import Any, Final

from providers import PROVIDERS
from providers.contract import Json, Upstream
from providers.errors import Unsupported

from .pricing import times_the_price
from .routing import Target

_ROUTES: Final = "it chooses another model, route or price than this key may use. Leave it out"
_LIMIT: Final = "this key's limits know the length of an answer as 'max_tokens' only. Send that instead"
_COUNT: Final = "this key's limits know the number of answers as 'n' only. Send that instead"
_INSIDE: Final = "what is inside would pass this key's limits by. Send OpenAI's parameters instead"

FIELDS: Final[dict[str, str]] = {
    # OpenRouter, LiteLLM, Vercel and other gateways: models and routes
    **dict.fromkeys(
        ("models", "model_list", "route", "router", "provider", "providers", "providerOptions", "provider_options",
         "preset", "plugins", "transforms", "fallbacks", "default_fallbacks", "context_window_fallbacks",
         "content_policy_fallbacks", "context_window_fallback_dict", "router_settings_override", "custom_llm_provider",
         "litellm_params", "litellm_metadata", "user_config", "num_retries", "tags", "mock_response"),
        _ROUTES,
    ),
    # Where a host sends the request: an address, a key, a deployment; Azure's data_sources; servers that hand work to each other
    **dict.fromkeys(
        ("api_base", "base_url", "api_key", "api_version", "organization", "deployment_id", "data_sources", "dataSources",
         "kv_transfer_params", "bootstrap_host", "bootstrap_port", "bootstrap_room", "data_parallel_rank",
         "routed_dp_rank", "disagg_prefill_dp_rank"),
        _ROUTES,
    ),
    # Models beside the one that is named: Groq's compound, Together's safety model, adapters of vLLM, SGLang, llama.cpp
    **dict.fromkeys(("compound_custom", "safety_model", "lora", "lora_path", "adapter_id", "adapter_source"), _ROUTES),
    # Searches, which are paid for apart: xAI, Groq, DashScope
    **dict.fromkeys(("search_parameters", "search_settings", "enable_search", "search_options"), _ROUTES),
    # Gemini, in both of its spellings: a prompt that is not in the request, and has a price of its own
    **dict.fromkeys(("cachedContent", "cached_content"), _ROUTES),
    # /v1/responses: prompts that are not in the request
    **dict.fromkeys(("prompt", "previous_response_id", "conversation", "background"), _ROUTES),
    # /v1/messages: prices, places, accounts, tools that run elsewhere, and what is not in the request
    **dict.fromkeys(
        ("speed", "inference_geo", "billing_policy", "fallback_credit_token", "user_profile_id", "workspace_id", "container",
         "mcp_servers", "thread"),
        _ROUTES,
    ),
    # Other names of max_tokens and n: TGI, Ollama, llama.cpp, LM Studio, Llama, Claude's and Gemini's own, vLLM
    **dict.fromkeys(
        ("max_new_tokens", "max_output_tokens", "maxOutputTokens", "maxTokens", "max_tokens_to_sample", "max_gen_len",
         "max_length", "max_generated_tokens", "num_predict", "n_predict", "min_tokens", "min_new_tokens", "min_length",
         "ignore_eos"),
        _LIMIT,
    ),
    **dict.fromkeys(
        ("best_of", "n_cmpl", "num_return_sequences", "num_generations", "candidate_count", "candidateCount",
         "use_beam_search", "beam_width"),
        _COUNT,
    ),
    # Objects that hold any of these
    **dict.fromkeys(
        ("options", "parameters", "generation_config", "generationConfig", "sampling_params", "inference_config",
         "inferenceConfig", "additional_model_request_fields", "additionalModelRequestFields", "nvext", "extra_body",
         "extra_headers", "extra_query"),
        _INSIDE,
    ),
}  # fmt: skip
_TIER: Final = "service_tier"
KNOWN: Final = FIELDS.keys() | {_TIER}
_PRICE: Final = "the price of this tier is not known, and this key is limited. Leave it out"
_RUNS: Final = "the upstream runs it, which costs more than this key's limits know. Leave it out"
# Values by which a field asks for nothing.
_NOTHING: Final[tuple[Any, ...]] = (None, "", [], {})
_USUAL: Final[dict[str, tuple[Any, ...]]] = {
    "speed": ("standard",),
    "inference_geo": ("global",),
    "billing_policy": ("self", {"type": "self"}),
}


def permitted(
    body: Json, targets: list[Target], sent: Json | None = None, operation: str = "", tools: Sequence[str] = ()
) -> list[Target]:
    """Return the targets that a restricted key may ask with the fields this request has.

    sent: of KNOWN, the members of the client's own request, which targets that know its operation natively are sent as they
    are; None: `body` is the client's own, and any target is sent it; tools: ClientRequest.upstream_tools. Raises Unsupported
    where there is none.
    """
    if not tools and body.keys().isdisjoint(KNOWN) and not sent:
        return targets
    wrong: dict[int, str] = {}
    for i, target in enumerate(targets):
        as_sent = sent is None or operation in PROVIDERS[target.upstream.host.protocol].native
        if name := _refused({**body, **(sent or {})} if as_sent else body, tools if as_sent else (), target):
            wrong[i] = name
    if len(wrong) < len(targets):
        return [target for i, target in enumerate(targets) if i not in wrong]
    raise refusal(wrong[0])


def run_upstream(tools: Sequence[str], upstream: Upstream) -> str | None:
    """Return the first of these tools (ClientRequest.upstream_tools) that a restricted key may not have this upstream run."""
    return next((name for name in tools if name not in upstream.host.allow), None)


def refusal(name: str) -> Unsupported:
    """Return the error of a request that holds a field which a restricted key may not send."""
    why = FIELDS.get(name) or (_PRICE if name == _TIER else _RUNS)
    return Unsupported(
        f"Unsupported parameter: '{name}': {why}, or ask the operator of this server to let it pass (overrides: allow).",
        param=name,
        code="unsupported_parameter",
    )


def _refused(told: Json, tools: Sequence[str], target: Target) -> str | None:
    """Return the first field, or tool, that this target must not be sent."""
    host = target.upstream.host
    for name in _fields(told):
        if name not in host.allow:
            return name
    if (tool := run_upstream(tools, target.upstream)) is not None:
        return tool
    if _TIER in told and _TIER not in host.allow and times_the_price(told[_TIER], target.upstream) is None:
        return _TIER
    return None


def _fields(told: Json) -> Iterator[str]:
    for name, value in told.items():
        if name in FIELDS and value not in _NOTHING and value not in _USUAL.get(name, ()):
            yield name
