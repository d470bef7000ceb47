"""What one-api's and new-api's channels are here, as tables: (why something is not carried over, what to do).

Learnt from their sources, read on 2026-11-28: relay/channeltype of songquanpeng/one-api (8df4a26); constant/channel.go,
model/channel.go and dto/channel_settings.go of QuantumNous/new-api. From 26 on the two number their types differently.
"""

from collections.abc import Mapping
from typing import Final, NamedTuple

from .shared_words import VERTEX, Why


class Vendor(NamedTuple):
    """host: the row of providers/hosts.py, "" for a host of one's own that speaks OpenAI's API; base: where the vendor is.

    ending: what the two programs put behind a base by themselves.
    """

    host: str
    base: str
    ending: str = "/v1"


_BOTH: Final[Mapping[int, Vendor]] = {
    1: Vendor("openai", "https://api.openai.com"),
    3: Vendor("azure", "", ""),
    6: Vendor("", "https://api.openaimax.com"),
    7: Vendor("", "https://api.ohmygpt.com"),
    8: Vendor("", ""),
    9: Vendor("", "https://api.caipacity.com"),
    10: Vendor("", "https://api.aiproxy.io"),
    12: Vendor("", "https://api.api2gpt.com"),
    13: Vendor("", "https://api.aigc2d.com"),
    14: Vendor("anthropic", "https://api.anthropic.com"),
    16: Vendor("zhipu", "https://open.bigmodel.cn", "/api/paas/v4"),
    17: Vendor("dashscope", "https://dashscope.aliyuncs.com", "/compatible-mode/v1"),
    19: Vendor("", "https://api.360.cn"),
    20: Vendor("openrouter", "https://openrouter.ai/api"),
    22: Vendor("", "https://fastgpt.run/api/openapi"),
    24: Vendor("gemini", "https://generativelanguage.googleapis.com", "/v1beta"),
    25: Vendor("moonshot", "https://api.moonshot.cn"),
    31: Vendor("", "https://api.lingyiwanwu.com"),
}
_OLLAMA: Final = Vendor("ollama", "http://localhost:11434")
_MINIMAX: Final = Vendor("minimax", "https://api.minimax.chat")
_COHERE: Final = Vendor("cohere", "https://api.cohere.ai", "/compatibility/v1")
_MISTRAL: Final = Vendor("mistral", "https://api.mistral.ai")
_DEEPSEEK: Final = Vendor("deepseek", "https://api.deepseek.com")
_SILICONFLOW: Final = Vendor("siliconflow", "https://api.siliconflow.cn")
_XAI: Final = Vendor("xai", "https://api.x.ai")
_DOUBAO: Final = Vendor("volcengine", "https://ark.cn-beijing.volces.com", "/api/v3")
_QIANFAN: Final = Vendor("qianfan", "https://qianfan.baidubce.com", "/v2")
# The program → the number of a type → who it is.
VENDORS: Final[Mapping[str, Mapping[int, Vendor]]] = {
    "one-api": {
        **_BOTH,
        2: Vendor("", "https://oa.api2d.net"),
        4: Vendor("", "https://api.closeai-proxy.xyz"),
        5: Vendor("", "https://api.openai-sb.com"),
        26: Vendor("baichuan", "https://api.baichuan-ai.com"),
        27: _MINIMAX,
        28: _MISTRAL,
        29: Vendor("groq", "https://api.groq.com/openai"),
        30: _OLLAMA,
        32: Vendor("stepfun", "https://api.stepfun.com"),
        35: _COHERE,
        36: _DEEPSEEK,
        39: Vendor("together", "https://api.together.xyz"),
        40: _DOUBAO,
        41: Vendor("novita", "https://api.novita.ai/v3/openai", ""),
        44: _SILICONFLOW,
        45: _XAI,
        47: _QIANFAN,
        48: Vendor("spark", "https://spark-api-open.xf-yun.com"),
        49: Vendor("dashscope", "https://dashscope.aliyuncs.com", "/compatible-mode/v1"),
        50: Vendor("", "", ""),
        51: Vendor("", "https://generativelanguage.googleapis.com/v1beta/openai", ""),
    },
    "new-api": {
        **_BOTH,
        4: _OLLAMA,
        26: Vendor("zhipu", "https://open.bigmodel.cn", "/api/paas/v4"),
        27: Vendor("perplexity", "https://api.perplexity.ai", ""),
        34: _COHERE,
        35: _MINIMAX,
        38: Vendor("", "https://api.jina.ai"),
        40: _SILICONFLOW,
        42: _MISTRAL,
        43: _DEEPSEEK,
        44: Vendor("", "https://api.moka.ai"),
        45: _DOUBAO,
        46: _QIANFAN,
        47: Vendor("", ""),
        48: _XAI,
        53: Vendor("", "https://llm.submodel.ai"),
    },
}
# What new-api takes for a base by its name.
NAMED_BASES: Final = {
    "glm-coding-plan": "https://open.bigmodel.cn/api/coding/paas/v4",
    "glm-coding-plan-international": "https://api.z.ai/api/coding/paas/v4",
    "kimi-coding-plan": "https://api.kimi.com/coding/v1",
    "doubao-coding-plan": "https://ark.cn-beijing.volces.com/api/coding/v3",
}
CUSTOM: Final = 8  # whose base is the whole address of chat completions, in new-api
CHAT: Final = "/chat/completions"
WHOLE: Final = "https://gateway.ai.cloudflare.com/"  # bases that begin so have no ending, in both programs
# Until when new-api takes the dots out of the names of Azure's deployments, in seconds since 1970; one-api always does.
DOTS_UNTIL: Final = 1_746_835_200

_BEDROCK: Final = (
    "Bedrock signs calls with AWS credentials, which this server does not do",
    "Name the models at their maker, or where Bedrock serves them by OpenAI's API add a provider with protocol: openai, "
    "base_url: https://bedrock-runtime.REGION.amazonaws.com/openai/v1 and a Bedrock API key",
)
_CLOUDFLARE: Final = (
    "its address holds the account",
    "Add a provider with protocol: openai and base_url: https://api.cloudflare.com/client/v4/accounts/ACCOUNT/ai/v1",
)
_TASKS: Final = (
    "pictures, sounds and films that are made by tasks have no place here",
    "Use the provider's own path, /p/PROVIDER/…, with a key of `keys add NAME --passthrough`",
)
_APPS: Final = (
    "it is an application with an API of its own, which this server does not speak",
    "Let its clients call it themselves",
)
_NOWHERE: Final[Mapping[int, Why]] = {
    11: ("PaLM has ended", "Use Gemini"),
    15: (
        "Baidu's older API signs calls with two keys",
        "Take an API key of Qianfan: protocol: openai, base_url: https://qianfan.baidubce.com/v2",
    ),
    18: (
        "Xunfei's older API signs calls over WebSocket",
        "Take its APIPassword: protocol: openai, base_url: https://spark-api-open.xf-yun.com/v1",
    ),
    21: _APPS,
    23: (
        "Tencent's older API signs calls with two keys",
        "Take an API key of Hunyuan: protocol: openai, base_url: https://api.hunyuan.cloud.tencent.com/v1",
    ),
    33: _BEDROCK,
}
NOT_SERVED: Final[Mapping[str, Mapping[int, Why]]] = {
    "one-api": {
        **_NOWHERE,
        34: _APPS,
        37: _CLOUDFLARE,
        38: ("DeepL translates, and is no model", "Let its clients call it themselves"),
        42: VERTEX,
        43: ("it passes any path on", "That is /p/PROVIDER/… here, with a key of `keys add NAME --passthrough`"),
        46: _TASKS,
    },
    "new-api": {
        **_NOWHERE,
        **dict.fromkeys((2, 5, 36, 50, 51, 52, 54, 55, 56), _TASKS),
        37: _APPS,
        39: _CLOUDFLARE,
        41: VERTEX,
        49: _APPS,
        57: (
            "it calls ChatGPT with the login of a person, which its terms leave to Codex itself",
            "Use a key of OpenAI's API: openai: {api_key: ${OPENAI_API_KEY}}",
        ),
    },
}
_BODY: Final = (
    "requests are not rewritten beside what the host needs",
    "Use defaults of the model, or overrides of the provider, in config.yaml",
)
_PROMPT: Final = ("prompts are passed on as they came", "Let clients send it")
_SHOWN: Final = ("answers have one form here, with reasoning as reasoning_content", "Nothing")
# Fields of a channel, and of the objects in it. None: carried over, or of no use here.
FIELDS: Final[Mapping[str, Why | None]] = {
    **dict.fromkeys(
        ("id", "type", "key", "status", "name", "weight", "priority", "base_url", "other", "models", "group", "model_mapping",
         "config", "setting", "settings", "channel_info", "created_time", "test_time", "response_time", "balance",
         "balance_updated_time", "used_quota", "test_model", "auto_ban", "other_info", "tag", "remark", "need_reconcile",
         "api_version", "proxy", "azure_responses_version", "vertex_key_type", "aws_key_type", "force_stream",
         "system_prompt_override", "upstream_model_update_check_enabled", "upstream_model_update_auto_sync_enabled",
         "upstream_model_update_last_check_time", "upstream_model_update_last_detected_models",
         "upstream_model_update_last_removed_models", "upstream_model_update_ignored_models", "openrouter_enterprise",
         "allow_service_tier", "allow_safety_identifier", "allow_include_obfuscation", "allow_inference_geo", "allow_speed",
         "claude_beta_query")
    ),
    "param_override": _BODY,
    "header_override": ("headers of your own are not sent", "For anthropic-beta see the provider's options"),
    "status_code_mapping": ("statuses are those of OpenAI's own API here", "Nothing"),
    "openai_organization": ("OpenAI's keys belong to a project", "Use a key of that organization's project"),
    "system_prompt": _PROMPT,
    "force_format": _SHOWN,
    "thinking_to_content": _SHOWN,
    "pass_through_body_enabled": _BODY,
    "disable_store": _BODY,
}  # fmt: skip
UNKNOWN: Final = ("this server has no such setting", "Nothing, unless something is missed: see config.yaml")
OFF: Final = ("it is off there", "Turn it on there and import again, or write it under providers")
UNKNOWN_TYPE: Final = (
    "this server knows no channels of its type",
    "If it speaks OpenAI's API add a provider with protocol: openai, base_url and api_key",
)
USERS: Final = (
    "they stand in the database, not in the channels",
    "Make each client a key with `keys add NAME --budget … --models …`; prices are in providers/models.yaml",
)
ADDRESS: Final = (
    "one-api and new-api listen on every address, this server on this machine alone",
    "Set server.host to 0.0.0.0 once there are keys; the port is theirs, so clients keep it",
)
GROUPS: Final = (
    "groups of users are not known here; channels of the group default serve a model, or, where it has none, all the others",
    "Give each client's key `models`; every channel's models are provider/model too",
)
LONGEST: Final = 200  # characters of a model's name
LONG: Final = (f"a model's name has at most {LONGEST} characters here", "Shorten it")
ENDING: Final = (
    "new-api asks for reasoning by the end of a name, which here is a part of it",
    "Write {targets: [provider/model], defaults: {reasoning_effort: high}} under models, without that end",
)
ORDER: Final = (
    "targets are shared by weight or tried in order, and some of its channels have one priority",
    "It is tried in order",
)
NO_WEIGHT: Final = (
    "it has no weight, where others of the model have one: it was never asked",
    "Give it a weight under models, or leave it out",
)
