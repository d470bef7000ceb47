"""What LiteLLM's settings are here, as tables: (why something is not carried over, what to do)."""

from collections.abc import Mapping
from typing import Final

from .shared_words import VERTEX, Why

# LiteLLM's vendor → the row of providers/hosts.py and the variable of its key. "openai" with another api_base is any host.
VENDORS: Final[Mapping[str, tuple[str, str]]] = {
    "openai": ("openai", "OPENAI_API_KEY"),
    "text-completion-openai": ("openai", "OPENAI_API_KEY"),
    "azure": ("azure", "AZURE_API_KEY"),
    "anthropic": ("anthropic", "ANTHROPIC_API_KEY"),
    "gemini": ("gemini", "GEMINI_API_KEY"),
    "deepseek": ("deepseek", "DEEPSEEK_API_KEY"),
    "groq": ("groq", "GROQ_API_KEY"),
    "mistral": ("mistral", "MISTRAL_API_KEY"),
    "openrouter": ("openrouter", "OPENROUTER_API_KEY"),
    "together_ai": ("together", "TOGETHERAI_API_KEY"),
    "xai": ("xai", "XAI_API_KEY"),
    "moonshot": ("moonshot", "MOONSHOT_API_KEY"),
    "zai": ("zhipu", "ZAI_API_KEY"),
    "dashscope": ("dashscope", "DASHSCOPE_API_KEY"),
    "siliconflow": ("siliconflow", "SILICONFLOW_API_KEY"),
    "fireworks_ai": ("fireworks", "FIREWORKS_AI_API_KEY"),
    "deepinfra": ("deepinfra", "DEEPINFRA_API_KEY"),
    "cerebras": ("cerebras", "CEREBRAS_API_KEY"),
    "perplexity": ("perplexity", "PERPLEXITYAI_API_KEY"),
    "huggingface": ("huggingface", "HF_TOKEN"),
    "cohere": ("cohere", "COHERE_API_KEY"),
    "cohere_chat": ("cohere", "COHERE_API_KEY"),
    "minimax": ("minimax", "MINIMAX_API_KEY"),
    "volcengine": ("volcengine", "VOLCENGINE_API_KEY"),
    "novita": ("novita", "NOVITA_API_KEY"),
    "nebius": ("nebius", "NEBIUS_API_KEY"),
    "sambanova": ("sambanova", "SAMBANOVA_API_KEY"),
    "hyperbolic": ("hyperbolic", "HYPERBOLIC_API_KEY"),
    "nvidia_nim": ("nvidia", "NVIDIA_NIM_API_KEY"),
    "github": ("github", "GITHUB_API_KEY"),
    "vercel_ai_gateway": ("vercel", "VERCEL_AI_GATEWAY_API_KEY"),
    "databricks": ("databricks", "DATABRICKS_API_KEY"),
    "ollama": ("ollama", ""),
    "ollama_chat": ("ollama", ""),
    "hosted_vllm": ("vllm", ""),
    "lm_studio": ("lmstudio", ""),
    "llamafile": ("llamacpp", ""),
    "openai_like": ("openai", ""),
    "custom_openai": ("openai", ""),
    "litellm_proxy": ("openai", ""),
    "azure_ai": ("openai", "AZURE_AI_API_KEY"),
}
ANYWHERE: Final = frozenset(
    {"openai_like", "custom_openai", "litellm_proxy", "azure_ai", "databricks"}
)  # these need an api_base
# What stands behind the host in the addresses of these, which LiteLLM adds by itself.
HOSTED: Final = {"ollama": "/v1", "anthropic": "/v1", "gemini": "/v1beta"}
_ANOTHER: Final = "Name the model at another provider, or run a gateway that speaks OpenAI's API in front of it"
NOT_SERVED: Final[Mapping[str, Why]] = {
    "vertex_ai": VERTEX,
    "bedrock": (
        "Bedrock signs calls with AWS credentials, which this server does not do",
        "Name the model at its maker (Claude: the provider anthropic), or where Bedrock serves it by OpenAI's API add a provider "
        "with protocol: openai, base_url: https://bedrock-runtime.REGION.amazonaws.com/openai/v1 and a Bedrock API key",
    ),
    "sagemaker": ("SageMaker signs calls with AWS credentials, which this server does not do", _ANOTHER),
    "sagemaker_chat": ("SageMaker signs calls with AWS credentials, which this server does not do", _ANOTHER),
    **{
        vendor: (f"{vendor} has an API of its own, which this server does not speak", _ANOTHER)
        for vendor in (
            "replicate", "watsonx", "ai21", "nlp_cloud", "petals", "predibase", "triton",
            "voyage", "jina_ai", "snowflake", "oci", "baseten", "aleph_alpha", "palm", "vllm", "clarifai",
        )
    },
}  # fmt: skip
# The row, and how the names begin of models that it has at another address → why, and what to do.
ELSEWHERE: Final[Mapping[str, tuple[str, Why]]] = {
    "cohere": (
        "rerank",
        (
            "Cohere ranks documents at another address than that at which it speaks OpenAI's API",
            "Add a provider with protocol: openai, base_url: https://api.cohere.com/v2 and its key, and ask it at /v2/rerank",
        ),
    ),
}
MODES_ELSEWHERE: Final = {
    "realtime": "Delete the line: calls over WebSocket are not served",
    "batch": "Use the provider's own path, /p/PROVIDER/…, with a key of `keys add NAME --passthrough`",
}
# Prices per token → the names here, per million; "": known, and of no use here.
COSTS: Final = {
    "input_cost_per_token": "input",
    "output_cost_per_token": "output",
    "cache_read_input_token_cost": "cache_read",
    "cache_creation_input_token_cost": "cache_write",
    "input_cost_per_second": "",
    "output_cost_per_second": "",
}
_PER_KEY: Final = (
    "limits are a key's here, not a deployment's; it was taken as the weight",
    "Use `keys add NAME --rpm … --tpm …`, and concurrency of the provider",
)
# Parameters of a request, which a deployment gives a default.
DEFAULTS: Final = frozenset(
    {"temperature", "top_p", "top_k", "max_tokens", "max_completion_tokens", "presence_penalty", "frequency_penalty", "seed",
     "stop", "n", "reasoning_effort", "response_format", "logit_bias", "thinking", "verbosity", "service_tier", "dimensions"}
)  # fmt: skip
# Parameters of a deployment: None is carried over elsewhere, or needs nothing here.
PARAMETERS: Final[Mapping[str, Why | None]] = {
    **dict.fromkeys(
        ("model", "api_key", "api_base", "base_url", "api_version", "custom_llm_provider", "weight", "max_parallel_requests",
         "litellm_credential_name", "drop_params", "additional_drop_params", "model_info", "mock_timeout", "use_in_pass_through")
    ),
    "rpm": _PER_KEY,
    "tpm": _PER_KEY,
    "order": ("targets are tried in the order of the list", "Put them in order"),
    "timeout": ("the time of a whole request is one for all models", "Set server.timeouts.total, or the model's first_byte"),
    "max_retries": ("a repeat is never a second bill here, so how often is fixed", "Nothing"),
    "num_retries": ("a repeat is never a second bill here, so how often is fixed", "Nothing"),
    "organization": ("OpenAI's keys belong to a project", "Use a key of that organization's project"),
    "extra_headers": ("headers of your own are not sent", "For anthropic-beta see the provider's options"),
    "headers": ("headers of your own are not sent", "For anthropic-beta see the provider's options"),
    "region_name": ("regions are not chosen by here", "Give each region's address a provider of its own"),
    "tags": ("requests are not routed by tags", "Give each group a public name, and keys the models they may use"),
    "max_budget": ("budgets are a key's here, not a model's", "Use `keys add NAME --budget 5 --per month --models …`"),
    "budget_duration": ("budgets are a key's here, not a model's", "Use `keys add NAME --budget 5 --per month --models …`"),
    "mock_response": ("no model has a fixed answer", "Use the built-in echo"),
    "cache_control_injection_points": ("prompts are passed on as they came", "Let clients set cache_control"),
}  # fmt: skip
# LiteLLM's kinds of fallbacks beside those after failures → the cause, a target's `on`.
CAUSES: Final = {"context_window_fallbacks": "context", "content_policy_fallbacks": "content_filter"}
# The sections and their settings that are carried over, or are as they should be without.
SECTIONS: Final[Mapping[str, frozenset[str]]] = {
    "litellm_settings": frozenset(
        {"fallbacks", "default_fallbacks", *CAUSES, "request_timeout", "allowed_fails", "cooldown_time", "json_logs",
         "drop_params", "set_verbose", "telemetry", "modify_params"}
    ),
    "router_settings": frozenset(
        {"fallbacks", "default_fallbacks", *CAUSES, "model_group_alias", "timeout", "stream_timeout",
         "allowed_fails", "cooldown_time",
         "redis_host", "redis_port", "redis_password", "redis_url", "enable_pre_call_checks"}
    ),
    "general_settings": frozenset({"master_key", "max_parallel_requests", "global_max_parallel_requests"}),
}  # fmt: skip
_CALLBACKS: Final = (
    "what was said is sent nowhere",
    "The log is JSON lines, GET /metrics is Prometheus, GET /v1/usage has every request with its cost",
)
_RETRIES: Final = ("only what surely did no work is asked once more, so that nothing is paid for twice", "Nothing")
_DATABASE: Final = (
    "keys and teams in LiteLLM's database are not in this file",
    "Make each key anew with `keys add NAME --budget …`",
)
_SPEND: Final = ("a budget is a key's here", "Use `keys add NAME --budget 5 --per day`")
_ALERTS: Final = ("no alerts are sent", "Alert on GET /metrics, and on the log's warnings")
_BYTES: Final = (
    "a path of a provider is at /p/PROVIDER/path here",
    "Use it with a key of `keys add NAME --passthrough`",
)
LEFT: Final[Mapping[str, Why]] = {
    **dict.fromkeys(("callbacks", "success_callback", "failure_callback", "service_callback", "default_team_settings",
                     "langfuse_default_tags"), _CALLBACKS),
    **dict.fromkeys(("num_retries", "retry_policy", "model_group_retry_policy", "retry_after", "allowed_fails_policy"), _RETRIES),
    **dict.fromkeys(("database_url", "store_model_in_db", "database_connection_pool_limit", "proxy_batch_write_at",
                     "store_prompts_in_spend_logs", "key_management_system", "key_management_settings",
                     "default_internal_user_params", "upperbound_key_generate_params", "default_key_generate_params"), _DATABASE),
    **dict.fromkeys(("max_budget", "budget_duration", "max_internal_user_budget", "provider_budget_config", "max_user_budget",
                     "max_end_user_budget"), _SPEND),
    **dict.fromkeys(("alerting", "alerting_threshold", "alert_types", "alert_to_webhook_url", "alerting_args"), _ALERTS),
    "cache": ("answers are not kept to be given again", "Nothing: caches of providers' prompts work as they are"),
    "cache_params": ("answers are not kept to be given again", "Nothing: caches of providers' prompts work as they are"),
    "routing_strategy": ("targets are tried in order or shared by weight", "Set weights under models; what fails cools down"),
    "routing_strategy_args": ("targets are tried in order or shared by weight", "Set weights under models"),
    "guardrails": ("there is no framework of guardrails", "Run them in the client or in front"),
    "mcp_servers": ("this is no gateway for MCP", "Let clients connect to MCP servers themselves"),
    "environment_variables": ("variables are the environment's", "Set them there, or in the service's environment file"),
    "include": ("other files are not followed", "Import each of them, and put the results together"),
    "pass_through_endpoints": _BYTES,
    "custom_auth": ("code of your own is not run", "Give each client a key of `keys add`"),
    "enable_jwt_auth": ("tokens of a single sign-on are not read", "Give each client a key of `keys add`"),
    "litellm_jwtauth": ("tokens of a single sign-on are not read", "Give each client a key of `keys add`"),
    "finetune_settings": _BYTES,
    "files_settings": _BYTES,
}  # fmt: skip
