"""What differs between hosts that speak one protocol: a table of data. A new host is a row, or three lines of YAML.

The user's own host takes any row as its start (`host: vllm`) and may override every field. openai/request.py applies a row
to requests, openai/stream.py reads the fields of the last group on the way back. Sources, read on 2026-11-23: the pages named
at each row, the openai, groq, mistralai and openrouter SDKs' types, and the profiles of pydantic-ai-slim 2.68.0 and
litellm 1.109.1 (MIT), which record what hosts answered.
"""

from collections.abc import Mapping
from typing import Any, Final, Literal

import msgspec
from msgspec.structs import fields, replace

NAMED: Final = ("system", "developer", "user", "assistant", "tool")  # roles whose messages may have a name


class Host(msgspec.Struct, frozen=True):
    """One row. The user's configuration may override any field. The defaults: a host that takes all OpenAI takes."""

    # Where it is
    protocol: str = "openai"
    base_url: str = ""
    key_variable: str = ""  # the environment variable its documentation names; "" where no key is needed
    auth: str = "Authorization: Bearer {key}"  # the header that carries the key
    path: str = "/{operation}"  # under base_url; {operation}: chat/completions, embeddings …, {model}: its id
    query: Mapping[str, str] = {}  # of every call
    free: bool = False  # runs on one's own machine: costs nothing per token
    discover: bool = False  # its list of models is read, unless the provider's `models` says otherwise

    # Parameters of a request; all names are the client's, unless it says "there"
    usage: bool = True  # takes stream_options.include_usage; otherwise stream_options is left out
    openai_rules: bool = False  # serves OpenAI's models by OpenAI's rules: Model.chat and Model.chat_tools hold
    responses: bool = False  # has /v1/responses, and models that are better served there
    rename: Mapping[str, str] = {}  # parameter → its name there
    embed_rename: Mapping[str, str] = {}  # the same of embeddings
    drop: tuple[str, ...] = ()  # only tune: left out and named in x-modelserver-dropped
    refuse: tuple[str, ...] = ()  # without them the client would misread the answer: 400, unless they ask for nothing
    allow: tuple[
        str, ...
    ] = ()  # of the fields that gateway/restricted_fields.py refuses: what limited keys may send all the same
    top_k: bool = False  # takes top_k, which OpenAI does not: clients of Claude send it
    clamp: Mapping[str, tuple[float, float]] = {}  # parameter → least, most
    efforts: Mapping[str, str] = {}  # reasoning_effort → its name there; others by the model's
    effort: tuple[str, ...] = ("reasoning_effort",)  # where it goes there, as a path of keys; (): nowhere
    thinking: Mapping[str, Any] = {}  # body fields that switch reasoning on, for any effort
    no_thinking: Mapping[str, Any] = {}  # … and off: sent instead of the effort none
    expose: Mapping[str, Any] = {}  # body fields that make a reasoning model's text visible
    json_schema: bool = True  # takes response_format json_schema; otherwise json_object and the schema in words

    # Tools
    custom_tools: bool = True  # takes tools of other types than function; otherwise 400
    strict_tools: bool = True  # takes function.strict; otherwise it is left out
    tool_choice: Mapping[str, str] = {}  # value → its name there
    # takes tool_choice required and named ones; only while not reasoning; never; "none": takes no tool_choice at all
    forced_tools: Literal["yes", "without_thinking", "no", "none"] = "yes"
    tool_ids: Literal["any", "nine"] = "any"  # tool call ids must be nine letters or digits
    tool_id_length: int = 0  # characters that a tool call's id may have; 0: any number
    tool_names: str = ""  # pattern of the names it takes, others are renamed and given back; "": any
    bare_tools: bool = True  # takes functions without parameters; otherwise they get an object without properties
    # takes any schema as a tool's parameters; otherwise type and properties are added, and unions at the top merged
    any_parameters: bool = True
    typed_unions: bool = True  # takes type beside anyOf, and keywords beside $ref; otherwise they are moved

    # Messages
    roles: Mapping[str, str] = {}  # role → its name there
    merge_system: bool = False  # takes one system message: those at the start are joined, later ones become the user's
    alternate: bool = False  # user and assistant must take turns, the user first: neighbours of one role are joined
    after_results: bool = True  # takes a user's message after a tool's result; otherwise a short answer comes between
    named: tuple[str, ...] = NAMED  # roles whose messages may have a name; of others it is left out
    join_text: bool = False  # a content of text parts only is joined to a string
    null_content: bool = True  # takes content null beside tool calls; otherwise ""
    empty_text: bool = True  # takes messages that hold no text; otherwise words stand for it
    # fields it refuses in messages, their parts and tool calls, in tools, and in the objects these hold
    strip: frozenset[str] = frozenset()
    reasoning_key: str = ""  # what an assistant message's reasoning_content is called there; "": as it came
    reasoning_back: bool = False  # while reasoning, assistant messages with tool calls must bring theirs back
    # a last message of the assistant's: taken as it is; only where it is marked as the beginning of the answer, always or
    # while the model thinks; never. Where it cannot be sent so, the user's "Continue." follows
    last_assistant: Literal["taken", "marked", "marked_thinking", "user"] = "taken"
    prefill: str = ""  # the field of a message that marks it so; "": there is none
    prefill_fields: Mapping[str, Any] = {}  # body fields that do so, or are sent beside it
    prefill_base: str = ""  # the end of the base URLs under which that is taken
    prefill_echoed: bool = False  # the answer begins with the words of that message
    inline_images: bool = False  # does not fetch image URLs
    tool_images: bool = False  # takes images and files in tools' results; otherwise they follow as the user's
    images: tuple[str, ...] = ()  # media types of inline images it reads; (): not known, it decides

    # /v1/responses of clients, passed on as it is
    responses_native: bool = (
        False  # its own /v1/responses is used; otherwise requests are translated to chat completions
    )
    responses_tools: tuple[str, ...] = ("function",)  # types of tools it takes; "*": any
    # types of input items it takes beside messages, reasoning and calls of functions; "*": any
    responses_items: tuple[str, ...] = ()
    responses_state: bool = False  # keeps responses: ids that it gave can be used again, by the same key
    responses_unique: bool = True  # an item's id is no other item's
    responses_reasoning: bool = True  # takes reasoning items that hold their text; otherwise they are left out
    responses_drop: tuple[str, ...] = ()  # parameters to leave out
    responses_done: bool = False  # its streams end with [DONE], behind the last event

    # The way back
    cost: tuple[str, ...] = ()  # where in its usage it tells what a request has cost, as a path of keys; (): nowhere
    cost_unit: float = 1  # of which there are so many in a dollar
    embed_int8: bool = False  # vectors come as base64 of 8 bit integers
    think_tags: bool = False  # reasoning may come as <think>…</think> at the start of content

    @property
    def remote(self) -> bool:
        """Whether there is an address to call; the built-in model has none."""
        return self.protocol != "echo"


# A host of each protocol of which nothing more is known: a user's own host begins with it.
PLAIN: Final = {
    "openai": Host(),
    "anthropic": Host(protocol="anthropic", auth="x-api-key: {key}"),
    "gemini": Host(protocol="gemini", auth="x-goog-api-key: {key}", path="/models/{model}:{operation}", top_k=True),
    "echo": Host(protocol="echo"),
}
_NATIVE: Final = ("key_variable", "auth", "path", "query", "free", "allow")
# The fields that have an effect with a protocol; all have with one that is not here.
_EFFECTIVE: Final = {
    "anthropic": _NATIVE,
    "gemini": (*_NATIVE, "top_k"),
    "echo": ("free", "allow"),
}


def effective_fields(protocol: str) -> tuple[str, ...]:
    """Return the fields of a row that have an effect with a protocol."""
    return _EFFECTIVE.get(protocol) or tuple(each.name for each in fields(Host))


# What clients send back as it came, or send for another provider, and strict hosts refuse: OpenAI (400 "Unknown
# parameter: 'messages[1].tool_calls[0].index'", '…content[0].cache_control'), Groq and Cerebras (400 "property
# 'reasoning_content' is unsupported"), Mistral (422 "Extra inputs are not permitted").
_FOREIGN = frozenset({"reasoning_content", "reasoning", "reasoning_details", "reasoning_items", "thinking_blocks",
                      "output_order", "cache_control", "index", "extra_content", "prefix", "partial"})  # fmt: skip
_ANSWERED = _FOREIGN | {"refusal", "annotations", "audio", "function_call", "images"}
# The same of hosts that take reasoning back. Fireworks: 400 "Extra inputs are not permitted, field:
# 'messages[0].content.list[ChatMessageContent][0].cache_control'".
_ALL_BUT_REASONING = _ANSWERED - {"reasoning_content"}
# OpenAI: 400 "Invalid 'tools[0].function.name': string does not match pattern", "… string too long. Expected a string with
# maximum length 64"; DeepSeek says the same, DashScope "The length of the tool name cannot exceed 64".
_NAMES = "[a-zA-Z0-9_-]{1,64}"
_ONLY_MAX_TOKENS = {"max_completion_tokens": "max_tokens"}
_OPENAI_ONLY = ("store", "metadata", "prediction", "prompt_cache_key", "prompt_cache_retention", "safety_identifier",
                "verbosity", "web_search_options", "service_tier")  # fmt: skip
_NO_CACHE_KEY = tuple(name for name in _OPENAI_ONLY if name != "prompt_cache_key")
_AUDIO_OUT = ("modalities", "audio")
_SYSTEM = {"developer": "system"}
_LOW_TO_HIGH = {"minimal": "low", "xhigh": "high", "max": "high"}
_LOW_HIGH_MAX = {"minimal": "low", "medium": "high", "xhigh": "max"}
_OFF: dict[str, Any] = {"thinking": {"type": "disabled"}}

# fmt: off
HOSTS: dict[str, Host] = {
    # developers.openai.com/api/reference/resources/chat
    "openai": Host(
        base_url="https://api.openai.com/v1",
        key_variable="OPENAI_API_KEY",
        openai_rules=True,
        responses=True,
        responses_native=True,
        responses_tools=("*",),
        responses_items=("*",),
        responses_state=True,
        responses_reasoning=False,
        efforts={"max": "xhigh"},  # chat completions refuses max on every model
        strip=_FOREIGN,
        tool_id_length=40,  # "Invalid 'messages[2].tool_calls[0].id': string too long"
        tool_names=_NAMES,
        any_parameters=False,
    ),
    # learn.microsoft.com/azure/ai-services/openai/reference: base_url is https://NAME.openai.azure.com, a model is a
    # deployment's name. For the newer v1 API take azure_v1, with https://NAME.openai.azure.com/openai/v1.
    "azure": Host(
        key_variable="AZURE_OPENAI_API_KEY",
        auth="api-key: {key}",
        path="/openai/deployments/{model}/{operation}",
        query={"api-version": "2024-10-21"},
        openai_rules=True,
        efforts={"max": "xhigh"},
        strip=_FOREIGN,
        tool_id_length=40,
        tool_names=_NAMES,
        any_parameters=False,
        roles=_SYSTEM,  # "Invalid value: 'developer'": its role is newer than this api-version
    ),
    "azure_v1": Host(
        key_variable="AZURE_OPENAI_API_KEY",
        auth="api-key: {key}",
        openai_rules=True,
        responses=True,
        responses_native=True,
        responses_tools=("*",),
        responses_items=("*",),
        responses_state=True,
        responses_reasoning=False,
        efforts={"max": "xhigh"},
        strip=_FOREIGN,
        tool_id_length=40,
        tool_names=_NAMES,
        any_parameters=False,
    ),
    # api-docs.deepseek.com/guides/thinking_mode, /api/create-chat-completion
    "deepseek": Host(
        base_url="https://api.deepseek.com",
        key_variable="DEEPSEEK_API_KEY",
        rename=_ONLY_MAX_TOKENS,  # it ignores the other in silence
        drop=(*_OPENAI_ONLY, "logit_bias", "parallel_tool_calls"),
        refuse=("n", *_AUDIO_OUT),
        responses_native=True,  # api-docs.deepseek.com/api/create-response
        responses_tools=("function", "custom", "web_search"),
        responses_items=("custom_tool_call", "custom_tool_call_output", "web_search_call"),
        efforts=_LOW_HIGH_MAX | {"xhigh": "high"},
        no_thinking=_OFF,
        json_schema=False,
        custom_tools=False,
        forced_tools="without_thinking",
        roles=_SYSTEM,
        strip=_ALL_BUT_REASONING,
        reasoning_key="reasoning_content",
        reasoning_back=True,
        tool_names=_NAMES,
        any_parameters=False,
        join_text=True,  # "invalid type: sequence, expected a string"
        # "The last message of deepseek-reasoner must be a user message, or an assistant message with prefix mode on"
        last_assistant="marked_thinking",
        prefill="prefix",
        prefill_base="/beta",
    ),
    # console.groq.com/docs/openai, /docs/reasoning
    "groq": Host(
        base_url="https://api.groq.com/openai/v1",
        key_variable="GROQ_API_KEY",
        usage=False,
        drop=("logit_bias", "presence_penalty", "frequency_penalty", "store", "metadata", "prediction", "verbosity",
              "prompt_cache_key", "prompt_cache_retention", "safety_identifier", "web_search_options"),
        refuse=("n", "logprobs", "top_logprobs", *_AUDIO_OUT),
        efforts=_LOW_TO_HIGH,
        expose={"reasoning_format": "parsed"},
        custom_tools=False,
        roles=_SYSTEM,
        strip=_ANSWERED,
        think_tags=True,  # the default of some models
        tool_names=_NAMES,
        join_text=True,  # "'messages.0.content' : value must be a string"
    ),
    # docs.mistral.ai/api
    "mistral": Host(
        base_url="https://api.mistral.ai/v1",
        key_variable="MISTRAL_API_KEY",
        usage=False,
        rename=_ONLY_MAX_TOKENS | {"seed": "random_seed"},
        embed_rename={"dimensions": "output_dimension"},
        drop=(*_NO_CACHE_KEY, "user", "logit_bias"),
        refuse=("logprobs", "top_logprobs", *_AUDIO_OUT),
        efforts={"minimal": "high", "low": "high", "medium": "high", "xhigh": "high", "max": "high"},
        tool_choice={"required": "any"},
        tool_ids="nine",
        custom_tools=False,
        roles=_SYSTEM,
        strip=_ANSWERED,
        tool_names=_NAMES,
        join_text=True,  # of tools' results: "Input should be a valid string"
        merge_system=True,
        after_results=False,
        named=("tool",),  # "messages.1.user.name: Extra inputs are not permitted"
        bare_tools=False,
        last_assistant="marked",  # "Expected last role User or Tool (or Assistant with prefix True) for serving"
        prefill="prefix",
        prefill_echoed=True,
    ),
    # openrouter.ai/docs/api-reference/parameters
    "openrouter": Host(
        base_url="https://openrouter.ai/api/v1",
        top_k=True,
        cost=("cost",),  # openrouter.ai/docs/use-cases/usage-accounting
        key_variable="OPENROUTER_API_KEY",
        rename=_ONLY_MAX_TOKENS,
        responses_done=True,
        responses_drop=("store", "client_metadata"),  # 400 where true; unknown keys
        effort=("reasoning", "effort"),
        tool_names=_NAMES,
    ),
    # docs.together.ai/reference/chat-completions-1
    "together": Host(
        base_url="https://api.together.xyz/v1",
        top_k=True,
        key_variable="TOGETHER_API_KEY",
        usage=False,
        rename=_ONLY_MAX_TOKENS,
        drop=_OPENAI_ONLY,
        refuse=_AUDIO_OUT,
        efforts=_LOW_TO_HIGH,
        roles=_SYSTEM,
        think_tags=True,
        tool_names=_NAMES,
        join_text=True,  # but for users, contents are strings (together 3.1.1, types/chat)
        strip=_ALL_BUT_REASONING - {"reasoning"},
    ),
    # docs.x.ai/docs/api-reference
    "xai": Host(
        base_url="https://api.x.ai/v1",
        cost=("cost_in_usd_ticks",),  # docs.x.ai/docs/guides/cost-tracking
        cost_unit=10**10,
        key_variable="XAI_API_KEY",
        drop=("store", "metadata", "prediction", "verbosity", "prompt_cache_retention", "safety_identifier"),
        refuse=_AUDIO_OUT,
        responses_native=True,
        responses_tools=("function", "web_search", "x_search", "code_interpreter", "mcp", "file_search"),
        responses_items=("web_search_call", "x_search_call", "code_interpreter_call", "mcp_call", "mcp_list_tools",
                         "mcp_approval_request", "mcp_approval_response", "file_search_call"),
        responses_state=True,  # for 30 days
        responses_unique=False,
        efforts={"minimal": "low"},
        custom_tools=False,
        roles=_SYSTEM,
        reasoning_key="reasoning_content",
        tool_names=_NAMES,
        strip=_ALL_BUT_REASONING,
        named=("user",),  # "Only messages of role 'user' can have a name."
        join_text=True,
        null_content=False,  # "Each message must have at least one content element."
        empty_text=False,
        bare_tools=False,
    ),
    # platform.moonshot.ai/docs/guide/migrating-from-openai-to-kimi
    "moonshot": Host(
        base_url="https://api.moonshot.ai/v1",
        key_variable="MOONSHOT_API_KEY",
        rename=_ONLY_MAX_TOKENS,
        drop=("store", "metadata", "prediction", "prompt_cache_retention", "verbosity", "web_search_options", "service_tier",
              "logit_bias", "seed", "parallel_tool_calls", "user"),
        refuse=("logprobs", "top_logprobs", *_AUDIO_OUT),
        clamp={"temperature": (0, 1)},
        efforts=_LOW_HIGH_MAX,
        no_thinking=_OFF,
        json_schema=False,
        custom_tools=False,
        strict_tools=False,
        forced_tools="no",
        roles=_SYSTEM,
        reasoning_key="reasoning_content",
        inline_images=True,
        reasoning_back=True,
        tool_names="[a-zA-Z][a-zA-Z0-9_-]{0,63}",  # "function name is invalid, must start with a letter"
        any_parameters=False,
        typed_unions=False,
        join_text=True,  # its models without vision take no lists
        strip=_ALL_BUT_REASONING,
        empty_text=False,  # "the message at position 1 with role 'assistant' must not be empty"
        prefill="partial",  # platform.kimi.ai/docs/guide/use-partial-mode-feature-of-kimi-api
    ),
    # docs.z.ai/api-reference/llm/chat-completion (open.bigmodel.cn/api/paas/v4 in China)
    "zhipu": Host(
        base_url="https://api.z.ai/api/paas/v4",
        key_variable="ZAI_API_KEY",
        rename=_ONLY_MAX_TOKENS,
        drop=(*_OPENAI_ONLY, "logit_bias", "parallel_tool_calls", "presence_penalty", "frequency_penalty"),
        refuse=("n", "logprobs", "top_logprobs", *_AUDIO_OUT),
        clamp={"temperature": (0, 1)},
        efforts=_LOW_HIGH_MAX,
        no_thinking=_OFF,
        json_schema=False,
        custom_tools=False,
        roles=_SYSTEM,
        reasoning_key="reasoning_content",
        tool_names=_NAMES,
        join_text=True,
        strip=_ALL_BUT_REASONING - {"cache_control"},
        bare_tools=False,
    ),
    # help.aliyun.com/zh/model-studio/compatibility-of-openai-with-dashscope (dashscope.aliyuncs.com in China)
    "dashscope": Host(
        base_url="https://dashscope-intl.aliyuncs.com/compatible-mode/v1",
        key_variable="DASHSCOPE_API_KEY",
        rename=_ONLY_MAX_TOKENS,
        drop=(*_OPENAI_ONLY, "logit_bias", "user"),
        effort=(),
        thinking={"enable_thinking": True},
        no_thinking={"enable_thinking": False},
        custom_tools=False,
        strict_tools=False,
        forced_tools="without_thinking",
        roles=_SYSTEM,
        reasoning_key="reasoning_content",
        tool_names=_NAMES,
        prefill="partial",  # help.aliyun.com/en/model-studio/partial-mode; most models refuse it while they think
    ),
    # docs.siliconflow.cn/docs/api/chat-completions-post (api.siliconflow.com abroad)
    "siliconflow": Host(
        base_url="https://api.siliconflow.cn/v1",
        key_variable="SILICONFLOW_API_KEY",
        usage=False,  # it reports usage unasked
        rename=_ONLY_MAX_TOKENS,
        drop=(*_OPENAI_ONLY, "logit_bias", "seed", "user", "parallel_tool_calls"),
        refuse=("logprobs", "top_logprobs", *_AUDIO_OUT),
        effort=(),
        thinking={"enable_thinking": True},
        no_thinking={"enable_thinking": False},
        custom_tools=False,
        roles=_SYSTEM,
        reasoning_key="reasoning_content",
        tool_names=_NAMES,
        join_text=True,
        strip=_ALL_BUT_REASONING,
    ),
    # docs.fireworks.ai/api-reference/post-chatcompletions
    "fireworks": Host(
        base_url="https://api.fireworks.ai/inference/v1",
        top_k=True,
        key_variable="FIREWORKS_API_KEY",
        rename=_ONLY_MAX_TOKENS,
        drop=("store", "metadata", "verbosity", "web_search_options", "safety_identifier", "prompt_cache_retention"),
        refuse=_AUDIO_OUT,
        efforts={"minimal": "low"},
        custom_tools=False,
        tool_choice={"required": "any"},
        roles=_SYSTEM,
        reasoning_key="reasoning_content",
        think_tags=True,
        tool_names=_NAMES,
        strip=_ALL_BUT_REASONING,
        join_text=True,
    ),
    # deepinfra.com/docs/advanced/openai_api, /function_calling
    "deepinfra": Host(
        base_url="https://api.deepinfra.com/v1/openai",
        key_variable="DEEPINFRA_API_KEY",
        rename=_ONLY_MAX_TOKENS,
        drop=_OPENAI_ONLY,
        refuse=("logprobs", "top_logprobs", *_AUDIO_OUT),
        efforts=_LOW_TO_HIGH,
        custom_tools=False,
        forced_tools="no",
        roles=_SYSTEM,
        think_tags=True,
        tool_names=_NAMES,
        strip=_ALL_BUT_REASONING,
        join_text=True,  # it takes a tool's result as a string only
    ),
    # inference-docs.cerebras.ai/api-reference/chat-completions
    "cerebras": Host(
        base_url="https://api.cerebras.ai/v1",
        key_variable="CEREBRAS_API_KEY",
        drop=("logit_bias", "presence_penalty", "frequency_penalty", "store", "metadata", "verbosity",
              "web_search_options", "safety_identifier", "prompt_cache_retention"),
        refuse=("n", *_AUDIO_OUT),
        custom_tools=False,
        roles=_SYSTEM,
        strip=_ANSWERED,
        tool_names=_NAMES,
        join_text=True,  # "body.messages.0.system.content: Input should be a valid string"
    ),
    # docs.perplexity.ai/api-reference/chat-completions-post
    "perplexity": Host(
        base_url="https://api.perplexity.ai",
        cost=("cost", "total_cost"),  # docs.perplexity.ai/api-reference/chat-completions-post
        key_variable="PERPLEXITY_API_KEY",
        rename=_ONLY_MAX_TOKENS,
        drop=("store", "metadata", "verbosity", "safety_identifier", "prompt_cache_key", "prompt_cache_retention",
              "prediction", "service_tier", "logit_bias", "seed", "user", "parallel_tool_calls"),
        refuse=("n", "logprobs", "top_logprobs", *_AUDIO_OUT),
        custom_tools=False,
        roles=_SYSTEM,
        strip=_ANSWERED,
        embed_int8=True,
        think_tags=True,
        tool_names=_NAMES,
        named=(),  # "ChatMessage.__init__() got an unexpected keyword argument 'name'"
        merge_system=True,
        alternate=True,
        join_text=True,
        empty_text=False,
        last_assistant="user",  # "Last message must have role `user`."
    ),
    # huggingface.co/docs/inference-providers: routes to many of the hosts above
    "huggingface": Host(
        base_url="https://router.huggingface.co/v1",
        key_variable="HF_TOKEN",
        rename=_ONLY_MAX_TOKENS,
        drop=_OPENAI_ONLY,
        refuse=_AUDIO_OUT,
        custom_tools=False,
        roles=_SYSTEM,
        strip=_ANSWERED,
        think_tags=True,
        tool_names=_NAMES,
        join_text=True,  # as some of those hosts
    ),
    # docs.cohere.com/docs/compatibility-api lists what it takes, and what not; ranges: docs.cohere.com/reference/chat
    "cohere": Host(
        base_url="https://api.cohere.ai/compatibility/v1",
        key_variable="COHERE_API_KEY",
        usage=False,
        rename=_ONLY_MAX_TOKENS,
        drop=(*_OPENAI_ONLY, "logit_bias", "user", "parallel_tool_calls"),
        refuse=("n", "logprobs", "top_logprobs", *_AUDIO_OUT),
        clamp={"top_p": (0.01, 0.99), "presence_penalty": (0, 1), "frequency_penalty": (0, 1)},
        efforts=dict.fromkeys(("minimal", "low", "medium", "xhigh", "max"), "high"),  # it knows none and high
        custom_tools=False,
        forced_tools="none",  # tool_choice is in neither list
        strip=_ANSWERED,
        tool_names=_NAMES,
        join_text=True,
    ),
    # platform.minimax.io/docs/api-reference/text-openai-api, /text-chat (api.minimaxi.com in China); what it refuses, as its
    # users report: github.com/MiniMax-AI/MiniMax-M2/issues/51, QwenLM/qwen-code#11905, CherryHQ/cherry-studio#16431
    "minimax": Host(
        base_url="https://api.minimax.io/v1",
        key_variable="MINIMAX_API_KEY",
        drop=(*_OPENAI_ONLY, "presence_penalty", "frequency_penalty", "logit_bias", "seed", "user", "parallel_tool_calls"),
        refuse=("n", "logprobs", "top_logprobs", *_AUDIO_OUT),
        clamp={"temperature": (0.01, 1), "top_p": (0.01, 1)},
        effort=(),
        thinking={"thinking": {"type": "adaptive"}},  # "invalid thinking.type: enabled (allowed: adaptive, disabled)"
        no_thinking=_OFF,
        json_schema=False,
        custom_tools=False,
        strict_tools=False,
        forced_tools="none",
        roles=_SYSTEM,
        tool_names=_NAMES,
        bare_tools=False,  # "function parameters is empty (2013)"
        strip=_ALL_BUT_REASONING,
        merge_system=True,  # several system messages: "invalid chat setting (2013)"
        think_tags=True,
        join_text=True,
    ),
    # cloud.baidu.com/doc/qianfan-api/s/3m7of64lb; thinking: cloud.baidu.com/doc/qianfan-docs/s/Wm95lyynv
    "qianfan": Host(
        base_url="https://qianfan.baidubce.com/v2",
        key_variable="QIANFAN_API_KEY",
        drop=_OPENAI_ONLY,
        refuse=("n", *_AUDIO_OUT),
        effort=(),
        thinking={"enable_thinking": True},
        no_thinking={"enable_thinking": False},
        custom_tools=False,
        roles=_SYSTEM,
        reasoning_key="reasoning_content",
        tool_names=_NAMES,
        bare_tools=False,
        strip=_ALL_BUT_REASONING,
        merge_system=True,  # the first message alone may be the system's
        alternate=True,
        empty_text=False,
        last_assistant="user",
        join_text=True,
    ),
    # volcengine.com/docs/82379/1494384, docs.byteplus.com/docs/ModelArk/1298454 (ark.ap-southeast.bytepluses.com abroad); a
    # model may be the id of an endpoint, ep-…
    "volcengine": Host(
        base_url="https://ark.cn-beijing.volces.com/api/v3",
        key_variable="ARK_API_KEY",
        drop=(*_OPENAI_ONLY, "user"),
        refuse=("n", *_AUDIO_OUT),
        efforts={"xhigh": "high", "max": "high"},
        no_thinking=_OFF,
        custom_tools=False,
        roles=_SYSTEM,
        reasoning_key="reasoning_content",
        tool_names=_NAMES,
        strip=_ALL_BUT_REASONING,
        join_text=True,
    ),
    # cloud.tencent.com/document/product/1729/111007; turns: /1729/105701
    "hunyuan": Host(
        base_url="https://api.hunyuan.cloud.tencent.com/v1",
        key_variable="HUNYUAN_API_KEY",
        rename=_ONLY_MAX_TOKENS,
        drop=(*_OPENAI_ONLY, "logit_bias", "user", "parallel_tool_calls", "presence_penalty", "frequency_penalty"),
        refuse=("n", "logprobs", "top_logprobs", *_AUDIO_OUT),
        effort=(),
        custom_tools=False,
        roles=_SYSTEM,
        reasoning_key="reasoning_content",
        tool_names=_NAMES,
        strip=_ALL_BUT_REASONING,
        merge_system=True,
        alternate=True,
        empty_text=False,
        last_assistant="user",
        join_text=True,
    ),
    # Tencent's newer platform: cloud.tencent.com/document/product/1823/131208, intl.cloud.tencent.com/document/product/1300/80632
    # (tokenhub-intl.tencentcloudmaas.com abroad). Its MiniMax models want thinking.type adaptive.
    "tokenhub": Host(
        base_url="https://tokenhub.tencentmaas.com/v1",
        key_variable="TENCENT_TOKENHUB_API_KEY",
        rename=_ONLY_MAX_TOKENS,
        drop=_OPENAI_ONLY,
        refuse=_AUDIO_OUT,
        effort=(),
        thinking={"thinking": {"type": "enabled"}},
        no_thinking=_OFF,
        custom_tools=False,
        roles=_SYSTEM,
        reasoning_key="reasoning_content",
        tool_names=_NAMES,
        strip=_ALL_BUT_REASONING,
        join_text=True,
    ),
    # platform.stepfun.com/docs/zh/api-reference/chat/chat-completion-create, /guides/developer/reasoning (api.stepfun.ai abroad)
    "stepfun": Host(
        base_url="https://api.stepfun.com/v1",
        key_variable="STEP_API_KEY",
        rename=_ONLY_MAX_TOKENS,
        drop=(*_OPENAI_ONLY, "logit_bias", "user", "parallel_tool_calls"),
        refuse=("logprobs", "top_logprobs", *_AUDIO_OUT),
        efforts=_LOW_TO_HIGH,
        custom_tools=False,
        roles=_SYSTEM,
        reasoning_key="reasoning",
        tool_names=_NAMES,
        strip=_ALL_BUT_REASONING - {"reasoning"},
        join_text=True,  # but for users, contents are strings
    ),
    # xfyun.cn/doc/spark/HTTP调用文档.html: the key is the APIPassword; calls of tools come as an object, not a list
    "spark": Host(
        base_url="https://spark-api-open.xf-yun.com/v1",
        key_variable="SPARK_API_KEY",
        top_k=True,
        rename=_ONLY_MAX_TOKENS,
        drop=(*_OPENAI_ONLY, "logit_bias", "seed", "parallel_tool_calls"),
        refuse=("n", "logprobs", "top_logprobs", *_AUDIO_OUT),
        custom_tools=False,
        roles=_SYSTEM,
        reasoning_key="reasoning_content",
        tool_names=_NAMES,
        strip=_ALL_BUT_REASONING,
        join_text=True,
        merge_system=True,
    ),
    # platform.baichuan-ai.com/docs/api
    "baichuan": Host(
        base_url="https://api.baichuan-ai.com/v1",
        key_variable="BAICHUAN_API_KEY",
        rename=_ONLY_MAX_TOKENS,
        drop=(*_OPENAI_ONLY, "logit_bias", "user", "parallel_tool_calls"),
        refuse=("n", "logprobs", "top_logprobs", *_AUDIO_OUT),
        clamp={"temperature": (0, 1)},
        custom_tools=False,
        roles=_SYSTEM,
        strip=_ANSWERED,
        tool_names=_NAMES,
        join_text=True,
    ),
    # modelscope.cn/docs/model-service/API-Inference/intro
    "modelscope": Host(
        base_url="https://api-inference.modelscope.cn/v1",
        key_variable="MODELSCOPE_API_KEY",
        rename=_ONLY_MAX_TOKENS,
        drop=_OPENAI_ONLY,
        refuse=_AUDIO_OUT,
        custom_tools=False,
        roles=_SYSTEM,
        reasoning_key="reasoning_content",
        think_tags=True,
        tool_names=_NAMES,
        strip=_ALL_BUT_REASONING,
        join_text=True,
    ),
    # docs.tokenfactory.nebius.com
    "nebius": Host(
        base_url="https://api.tokenfactory.nebius.com/v1",
        key_variable="NEBIUS_API_KEY",
        rename=_ONLY_MAX_TOKENS,
        drop=_OPENAI_ONLY,
        refuse=_AUDIO_OUT,
        custom_tools=False,
        roles=_SYSTEM,
        think_tags=True,
        tool_names=_NAMES,
        strip=_ALL_BUT_REASONING,
        join_text=True,
    ),
    # novita.ai/docs/guides/llm-api
    "novita": Host(
        base_url="https://api.novita.ai/openai",
        key_variable="NOVITA_API_KEY",
        top_k=True,
        rename=_ONLY_MAX_TOKENS,
        drop=_OPENAI_ONLY,
        refuse=_AUDIO_OUT,
        custom_tools=False,
        roles=_SYSTEM,
        reasoning_key="reasoning_content",
        think_tags=True,
        tool_names=_NAMES,
        strip=_ALL_BUT_REASONING,
        join_text=True,
    ),
    # docs.sambanova.ai/cloud/api-reference; contents: litellm 1.109.1, llms/sambanova
    "sambanova": Host(
        base_url="https://api.sambanova.ai/v1",
        key_variable="SAMBANOVA_API_KEY",
        top_k=True,
        rename=_ONLY_MAX_TOKENS,
        drop=(*_OPENAI_ONLY, "logit_bias", "presence_penalty", "frequency_penalty", "seed", "user"),
        refuse=("n", "logprobs", "top_logprobs", *_AUDIO_OUT),
        custom_tools=False,
        roles=_SYSTEM,
        strip=_ANSWERED,
        think_tags=True,
        tool_names=_NAMES,
        join_text=True,
    ),
    # docs.hyperbolic.xyz/docs/rest-api
    "hyperbolic": Host(
        base_url="https://api.hyperbolic.xyz/v1",
        key_variable="HYPERBOLIC_API_KEY",
        rename=_ONLY_MAX_TOKENS,
        drop=(*_OPENAI_ONLY, "logit_bias", "parallel_tool_calls"),
        refuse=("logprobs", "top_logprobs", *_AUDIO_OUT),
        custom_tools=False,
        roles=_SYSTEM,
        strip=_ANSWERED,
        think_tags=True,
        tool_names=_NAMES,
        join_text=True,
    ),
    # docs.api.nvidia.com/nim; parameters: litellm 1.109.1, llms/nvidia_nim
    "nvidia": Host(
        base_url="https://integrate.api.nvidia.com/v1",
        key_variable="NVIDIA_API_KEY",
        rename=_ONLY_MAX_TOKENS,
        drop=(*_OPENAI_ONLY, "logit_bias", "user"),
        refuse=("n", "logprobs", "top_logprobs", *_AUDIO_OUT),
        custom_tools=False,
        roles=_SYSTEM,
        strip=_ALL_BUT_REASONING,
        think_tags=True,
        tool_names=_NAMES,
        join_text=True,
    ),
    # scaleway.com/en/docs/managed-inference/reference-content/openai-compatibility
    "scaleway": Host(
        base_url="https://api.scaleway.ai/v1",
        key_variable="SCW_SECRET_KEY",
        rename=_ONLY_MAX_TOKENS,
        drop=(*_OPENAI_ONLY, "frequency_penalty", "logit_bias", "user"),
        refuse=("n", "top_logprobs", *_AUDIO_OUT),
        custom_tools=False,
        roles=_SYSTEM,
        strip=_ALL_BUT_REASONING,
        tool_names=_NAMES,
        join_text=True,
    ),
    # docs.github.com/en/rest/models/inference: models are named publisher/model
    "github": Host(
        base_url="https://models.github.ai/inference",
        key_variable="GITHUB_TOKEN",
        strip=_FOREIGN,
        tool_names=_NAMES,
    ),
    # vercel.com/docs/ai-gateway/openai-compat: routes to many of these hosts; models are named maker/model
    "vercel": Host(
        base_url="https://ai-gateway.vercel.sh/v1",
        key_variable="AI_GATEWAY_API_KEY",
        tool_names=_NAMES,
    ),
    # developers.cloudflare.com/workers-ai/configuration/open-ai-compatibility: base_url is
    # https://api.cloudflare.com/client/v4/accounts/ACCOUNT_ID/ai/v1
    "cloudflare": Host(
        key_variable="CLOUDFLARE_API_KEY",
        rename=_ONLY_MAX_TOKENS,
        drop=_OPENAI_ONLY,
        refuse=_AUDIO_OUT,
        custom_tools=False,
        roles=_SYSTEM,
        strip=_ANSWERED,
        think_tags=True,
        tool_names=_NAMES,
        join_text=True,  # "Type mismatch of '/messages/0/content', 'array' not in 'string'", of some models
        null_content=False,
    ),
    # docs.databricks.com/machine-learning/foundation-model-apis/api-reference: base_url is https://WORKSPACE/serving-endpoints, a
    # model is the name of an endpoint
    "databricks": Host(
        key_variable="DATABRICKS_TOKEN",
        rename=_ONLY_MAX_TOKENS,
        drop=(*_OPENAI_ONLY, "logit_bias", "seed", "user", "parallel_tool_calls", "presence_penalty", "frequency_penalty"),
        refuse=_AUDIO_OUT,
        custom_tools=False,
        roles=_SYSTEM,
        strip=_ANSWERED,
        tool_names=_NAMES,
        join_text=True,
    ),
    # github.com/ollama/ollama/blob/main/docs/api/openai-compatibility.mdx
    "ollama": Host(
        base_url="http://127.0.0.1:11434/v1",
        top_k=True,
        free=True,
        discover=True,
        rename=_ONLY_MAX_TOKENS,  # it ignores the other in silence
        drop=(*_OPENAI_ONLY, "logit_bias", "user", "parallel_tool_calls"),
        refuse=("n", *_AUDIO_OUT),
        efforts={"minimal": "low", "xhigh": "max"},
        custom_tools=False,
        forced_tools="none",
        roles=_SYSTEM,
        join_text=True,  # it would make a message of every part
        null_content=False,
        reasoning_key="reasoning",
        inline_images=True,
        images=("image/png", "image/jpeg", "image/webp"),
        think_tags=True,
        merge_system=True,  # "system message must be at the beginning", with some models
    ),
    # docs.vllm.ai/en/latest/serving/openai_compatible_server.html
    "vllm": Host(
        base_url="http://127.0.0.1:8000/v1",
        top_k=True,
        free=True,
        discover=True,
        drop=("store", "metadata", "prediction", "verbosity", "web_search_options"),
        refuse=_AUDIO_OUT,
        custom_tools=False,
        roles=_SYSTEM,
        merge_system=True,  # some chat templates refuse a second one
        reasoning_key="reasoning",
        think_tags=True,
        alternate=True,  # as some other templates demand
        join_text=True,
        prefill_fields={"continue_final_message": True, "add_generation_prompt": False},
    ),
    # github.com/ggml-org/llama.cpp/blob/master/tools/server/README.md
    "llamacpp": Host(
        base_url="http://127.0.0.1:8080/v1",
        free=True,
        discover=True,
        rename=_ONLY_MAX_TOKENS,
        drop=(*_OPENAI_ONLY, "user"),
        refuse=_AUDIO_OUT,
        custom_tools=False,
        roles=_SYSTEM,
        merge_system=True,
        null_content=False,
        reasoning_key="reasoning_content",
        inline_images=True,
        think_tags=True,
        alternate=True,
        join_text=True,
    ),
    # lmstudio.ai/docs/developer/openai-compat
    "lmstudio": Host(
        base_url="http://127.0.0.1:1234/v1",
        free=True,
        discover=True,
        rename=_ONLY_MAX_TOKENS,
        drop=(*_OPENAI_ONLY, "user", "parallel_tool_calls"),
        refuse=("n", "logprobs", "top_logprobs", *_AUDIO_OUT),
        custom_tools=False,
        roles=_SYSTEM,
        merge_system=True,
        join_text=True,
        null_content=False,
        reasoning_key="reasoning_content",
        inline_images=True,
        think_tags=True,
        alternate=True,
        empty_text=False,
    ),
    # Other protocols: one row each, read by their own modules
    "anthropic": replace(
        PLAIN["anthropic"],
        base_url="https://api.anthropic.com/v1",
        key_variable="ANTHROPIC_API_KEY",
    ),
    "gemini": replace(
        PLAIN["gemini"],
        base_url="https://generativelanguage.googleapis.com/v1beta",
        key_variable="GEMINI_API_KEY",
    ),
    "echo": Host(protocol="echo", free=True),
}
# fmt: on
