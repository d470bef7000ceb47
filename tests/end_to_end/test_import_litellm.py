"""`modelserver.py import litellm FILE`: the kinds of configuration that LiteLLM's documentation shows, written anew."""

import hashlib
import random
from pathlib import Path
from typing import Any, NamedTuple

import pytest
import yaml
from process import run

from gateway.config import load
from gateway.importing import litellm
from server.commands.import_file import stand_ins

FACTS = "families: {}\nmodels: {}\n"
ADDRESS = "the address"  # the note that every result has
OPENAI = {"api_key": "${OPENAI_API_KEY}"}


class Example(NamedTuple):
    """LiteLLM's text; what of ours is made of it, beside server.port and usage; the paths of what was not carried over."""

    text: str
    made: dict[str, Any]
    left: tuple[str, ...] = ()


EXAMPLES = {
    "one model": Example(
        """
        model_list:
          - model_name: fast
            litellm_params: {model: openai/gpt-5.4-mini, api_key: os.environ/OPENAI_API_KEY}
        """,
        {"providers": {"openai": OPENAI}, "models": {"fast": "openai/gpt-5.4-mini"}},
    ),
    "vendors, and keys that their variables hold": Example(
        """
        model_list:
          - {model_name: gpt, litellm_params: {model: gpt-5.4}}
          - {model_name: claude, litellm_params: {model: claude-sonnet-5-5}}
          - {model_name: llama, litellm_params: {model: together_ai/meta-llama/Llama-3.3-70B, temperature: 0.2, max_tokens: 99}}
          - {model_name: glm, litellm_params: {model: zai/glm-5, api_key: os.environ/MY_GLM}}
        litellm_settings: {drop_params: true}
        """,
        {
            "providers": {
                "openai": OPENAI,
                "anthropic": {"api_key": "${ANTHROPIC_API_KEY}"},
                "together": {"api_key": "${TOGETHERAI_API_KEY}"},
                "zhipu": {"api_key": "${MY_GLM}"},
            },
            "models": {
                "gpt": "openai/gpt-5.4",
                "claude": "anthropic/claude-sonnet-5-5",
                "llama": {
                    "targets": ["together/meta-llama/Llama-3.3-70B"],
                    "defaults": {"temperature": 0.2, "max_tokens": 99},
                },
                "glm": "zhipu/glm-5",
            },
        },
    ),
    "wildcards": Example(
        """
        model_list:
          - {model_name: "anthropic/*", litellm_params: {model: "anthropic/*", api_key: os.environ/ANTHROPIC_API_KEY}}
          - {model_name: "gpt-*", litellm_params: {model: "openai/gpt-*", api_key: os.environ/OPENAI_API_KEY}}
          - {model_name: "*", litellm_params: {model: "openrouter/*"}}
          - {model_name: "all/*", litellm_params: {model: "*"}}
          - {model_name: one, litellm_params: {model: "groq/*"}}
        """,
        {
            "providers": {
                "anthropic": {"api_key": "${ANTHROPIC_API_KEY}"},
                "openai": OPENAI,
                "openrouter": {"api_key": "${OPENROUTER_API_KEY}"},
                "groq": {"api_key": "${GROQ_API_KEY}"},
            },
            "models": {"anthropic/*": "anthropic/*", "gpt-*": "openai/gpt-*", "*": "openrouter/*"},
        },
        ("model_list[3] all/*", "model_list[4] one"),
    ),
    "a group of deployments on Azure, shared by weight": Example(
        """
        model_list:
          - model_name: gpt
            litellm_params: {model: azure/gpt-eu, api_base: "https://eu.openai.azure.com/", api_key: os.environ/EU,
                             api_version: "2025-01-01-preview", rpm: 6}
          - model_name: gpt
            litellm_params: {model: azure/gpt-us, api_base: "https://us.openai.azure.com", api_key: os.environ/US, rpm: 3}
          - {model_name: new, litellm_params: {model: azure/new, api_base: "https://us.openai.azure.com/openai/v1"}}
        router_settings: {routing_strategy: usage-based-routing, num_retries: 2, enable_pre_call_checks: true}
        """,
        {
            "providers": {
                "azure": {
                    "overrides": {"query": {"api-version": "2025-01-01-preview"}},
                    "base_url": "https://eu.openai.azure.com",
                    "api_key": "${EU}",
                },
                "azure-2": {"host": "azure", "base_url": "https://us.openai.azure.com", "api_key": "${US}"},
                "azure_v1": {"base_url": "https://us.openai.azure.com/openai/v1", "api_key": "${AZURE_API_KEY}"},
            },
            "models": {"gpt": {"targets": {"azure/gpt-eu": 6, "azure-2/gpt-us": 3}}, "new": "azure_v1/new"},
        },
        (
            "model_list[0] gpt.litellm_params.rpm",
            "model_list[1] gpt.litellm_params.rpm",
            "router_settings.routing_strategy",
            "router_settings.num_retries",
        ),
    ),
    "fallbacks": Example(
        """
        model_list:
          - {model_name: small, litellm_params: {model: gpt-5.4-mini}}
          - {model_name: big, litellm_params: {model: gpt-5.5}}
          - {model_name: other, litellm_params: {model: gemini/gemini-2.5-pro}}
          - {model_name: pair, litellm_params: {model: groq/a}}
          - {model_name: pair, litellm_params: {model: cerebras/a}}
        litellm_settings:
          fallbacks: [{small: [big, other]}, {pair: [big]}, {gone: [big]}, {big: [nowhere]}]
          context_window_fallbacks: [{small: [big]}]
          default_fallbacks: [small]
        router_settings:
          content_policy_fallbacks: [{small: [pair]}]
        """,
        {
            "providers": {
                "openai": OPENAI,
                "gemini": {"api_key": "${GEMINI_API_KEY}"},
                "groq": {"api_key": "${GROQ_API_KEY}"},
                "cerebras": {"api_key": "${CEREBRAS_API_KEY}"},
            },
            "models": {
                "small": [
                    {"target": "openai/gpt-5.4-mini", "on": ["context", "content_filter"]},
                    *("openai/gpt-5.5", "gemini/gemini-2.5-pro", "groq/a", "cerebras/a"),
                ],
                "big": "openai/gpt-5.5",
                "other": ["gemini/gemini-2.5-pro", "openai/gpt-5.4-mini"],
                "pair": ["groq/a", "cerebras/a", "openai/gpt-5.5"],
            },
        },
        (
            "fallbacks of small for context and content_filter",
            "fallbacks of big",
            "model_name pair",
            "fallbacks of gone",
        ),
    ),
    "clouds that sign their calls": Example(
        """
        model_list:
          - {model_name: gemini, litellm_params: {model: vertex_ai/gemini-2.5-pro, vertex_project: p, vertex_location: us-east1}}
          - {model_name: claude, litellm_params: {model: bedrock/anthropic.claude-sonnet-4, aws_region_name: us-west-2}}
          - {model_name: own, litellm_params: {model: sagemaker/endpoint}}
          - {model_name: rerank, litellm_params: {model: cohere/rerank-v4}}
          - {model_name: odd, litellm_params: {model: unheard_of/model, custom_llm_provider: unheard_of}}
          - {model_name: kept, litellm_params: {model: deepseek/deepseek-v4-pro}}
        """,
        {
            "providers": {"deepseek": {"api_key": "${DEEPSEEK_API_KEY}"}},
            "models": {"kept": "deepseek/deepseek-v4-pro"},
        },
        (
            "model_list[0] gemini",
            "model_list[1] claude",
            "model_list[2] own",
            "model_list[3] rerank",
            "model_list[4] odd",
        ),
    ),
    "hosts of one's own": Example(
        """
        model_list:
          - {model_name: a, litellm_params: {model: openai/m, api_base: "https://llm.example.com/v1", api_key: sk-canary-literal}}
          - {model_name: b, litellm_params: {model: openai/n, api_base: "https://llm.example.com/v1/", api_key: none}}
          - {model_name: c, litellm_params: {model: hosted_vllm/q, api_base: "http://10.0.0.5:8000/v1"}}
          - {model_name: d, litellm_params: {model: ollama/llama3.1, api_base: "http://localhost:11434"}}
          - {model_name: e, litellm_params: {model: ollama_chat/llama3.1, api_base: "http://localhost:11434"}}
          - {model_name: f, litellm_params: {model: openai/o, api_base: "http://8.8.8.8/v1", api_key: os.environ/F}}
          - {model_name: g, litellm_params: {model: openai_like/x}}
          - {model_name: h, litellm_params: {model: openai/m, api_base: "https://llm.example.com/v1", api_key: sk-canary-other}}
        """,
        {
            "providers": {
                "llm-example-com": {
                    "protocol": "openai",
                    "base_url": "https://llm.example.com/v1",
                    "api_key": "${LLM_EXAMPLE_COM_API_KEY}",
                },
                "llm-example-com-2": {"protocol": "openai", "base_url": "https://llm.example.com/v1"},
                "vllm": {"base_url": "http://10.0.0.5:8000/v1"},
                "ollama": {"base_url": "http://localhost:11434/v1"},
                "8-8-8-8": {
                    "protocol": "openai",
                    "base_url": "http://8.8.8.8/v1",
                    "allow_insecure": True,
                    "api_key": "${F}",
                },
                "llm-example-com-3": {
                    "protocol": "openai",
                    "base_url": "https://llm.example.com/v1",
                    "api_key": "${LLM_EXAMPLE_COM_API_KEY_2}",
                },
            },
            "models": {
                "a": "llm-example-com/m",
                "b": "llm-example-com-2/n",
                "c": "vllm/q",
                "d": "ollama/llama3.1",
                "e": "ollama/llama3.1",
                "f": "8-8-8-8/o",
                "h": "llm-example-com-3/m",
            },
        },
        (
            "model_list[0] a.litellm_params.api_key",
            "model_list[5] f.litellm_params.api_base",
            "model_list[6] g",
            "model_list[7] h.litellm_params.api_key",
        ),
    ),
    "a master key, a database and budgets": Example(
        """
        model_list:
          - {model_name: gpt, litellm_params: {model: gpt-5.4, max_budget: 5, budget_duration: 1d}}
        litellm_settings: {max_budget: 100, budget_duration: 30d}
        general_settings:
          master_key: sk-1234
          database_url: "postgresql://u:p@h/d"
          store_model_in_db: true
          alerting: [slack]
          global_max_parallel_requests: 50
        """,
        {
            "server": {"port": 4000, "capacity": {"requests": 50}},
            "keys": [{"name": "master", "sha256": hashlib.sha256(b"sk-1234").hexdigest(), "admin": True}],
            "providers": {"openai": OPENAI},
            "models": {"gpt": "openai/gpt-5.4"},
        },
        (
            "model_list[0] gpt.litellm_params.max_budget",
            "model_list[0] gpt.litellm_params.budget_duration",
            "litellm_settings.max_budget",
            "litellm_settings.budget_duration",
            "general_settings.database_url",
            "general_settings.store_model_in_db",
            "general_settings.alerting",
        ),
    ),
    "callbacks and a cache": Example(
        """
        model_list: [{model_name: gpt, litellm_params: {model: gpt-5.4}}]
        litellm_settings:
          success_callback: [langfuse]
          callbacks: [prometheus, otel]
          cache: true
          cache_params: {type: redis}
          json_logs: true
          num_retries: 3
          set_verbose: false
        environment_variables: {LANGFUSE_SECRET_KEY: sk-canary-secret}
        guardrails: [{guardrail_name: pii}]
        mcp_servers: {a: {url: "https://x"}}
        """,
        {
            "server": {"port": 4000, "log": "json"},
            "providers": {"openai": OPENAI},
            "models": {"gpt": "openai/gpt-5.4"},
        },
        (
            "litellm_settings.success_callback (langfuse)",
            "litellm_settings.callbacks (prometheus, otel)",
            "litellm_settings.cache",
            "litellm_settings.cache_params",
            "litellm_settings.num_retries",
            "environment_variables",
            "guardrails",
            "mcp_servers",
        ),
    ),
    "timeouts, cooldown and Redis": Example(
        """
        model_list:
          - {model_name: slow, litellm_params: {model: gpt-5.5, timeout: 300, stream_timeout: 60, max_parallel_requests: 7}}
        router_settings:
          timeout: 600
          stream_timeout: 30
          allowed_fails: 3
          cooldown_time: 45
          redis_host: os.environ/REDIS_HOST
          redis_port: os.environ/REDIS_PORT
          redis_password: os.environ/REDIS_PASSWORD
        general_settings: {master_key: os.environ/LITELLM_MASTER_KEY}
        """,
        {
            "server": {
                "port": 4000,
                "timeouts": {"total": 600, "first_byte": 30},
                "cooldown": {"failures": 3, "seconds": 45},
            },
            "keys": [{"name": "master", "key": "${LITELLM_MASTER_KEY}", "admin": True}],
            "providers": {"openai": {**OPENAI, "concurrency": 7}},
            "models": {"slow": {"targets": ["openai/gpt-5.5"], "first_byte": 60}},
            "shared_state": "redis://:${REDIS_PASSWORD}@${REDIS_HOST}:${REDIS_PORT}/0",
        },
        ("model_list[0] slow.litellm_params.timeout", "router_settings.redis_host"),
    ),
    "other names, prices and other APIs": Example(
        """
        model_list:
          - model_name: mine
            litellm_params: {model: openai/mine, api_base: "https://llm.example.com", input_cost_per_token: 0.000001}
            model_info: {output_cost_per_token: 0.0000025, max_input_tokens: 8192, mode: chat}
          - {model_name: embed, litellm_params: {model: mistral/mistral-embed}, model_info: {mode: embedding}}
          - {model_name: draw, litellm_params: {model: gpt-image-2}, model_info: {mode: image_generation}}
          - {model_name: talk, litellm_params: {model: text-completion-openai/gpt-live}, model_info: {mode: realtime}}
        router_settings: {model_group_alias: {other: mine, hidden: {model: embed, hidden: true}, lost: gone}}
        """,
        {
            "providers": {
                "llm-example-com": {
                    "protocol": "openai",
                    "base_url": "https://llm.example.com",
                    "api_key": "${OPENAI_API_KEY}",
                },
                "mistral": {"api_key": "${MISTRAL_API_KEY}"},
                "openai": OPENAI,
            },
            "models": {
                "mine": "llm-example-com/mine",
                "embed": "mistral/mistral-embed",
                "draw": "openai/gpt-image-2",
                "talk": "openai/gpt-live",
                "other": "llm-example-com/mine",
                "hidden": "mistral/mistral-embed",
            },
            "model_facts": {"mine": {"price": {"input": 1, "output": 2.5}, "context": 8192}},
        },
        ("model_list[3] talk.model_info.mode", "model_group_alias.lost"),
    ),
    "credentials by name, parameters to drop, settings nobody knows": Example(
        """
        credential_list:
          - {credential_name: prod, credential_values: {api_key: os.environ/PROD, api_base: "https://prod.example.com/v1"}}
        model_list:
          - model_name: a
            litellm_params: {model: openai/a, litellm_credential_name: prod, additional_drop_params: [seed], frobnicate: 1}
          - {model_name: b, litellm_params: {model: groq/b, order: 2, extra_headers: {x: y}, tags: [t]}}
        litellm_settings: {frobnicate: 1}
        frobnicate: {a: 1}
        """,
        {
            "providers": {
                "prod-example-com": {
                    "protocol": "openai",
                    "base_url": "https://prod.example.com/v1",
                    "api_key": "${PROD}",
                    "overrides": {"drop": ["seed"]},
                },
                "groq": {"api_key": "${GROQ_API_KEY}"},
            },
            "models": {"a": "prod-example-com/a", "b": "groq/b"},
        },
        (
            "model_list[0] a.litellm_params.frobnicate",
            "model_list[1] b.litellm_params.order",
            "model_list[1] b.litellm_params.extra_headers",
            "model_list[1] b.litellm_params.tags",
            "litellm_settings.frobnicate",
            "frobnicate",
        ),
    ),
    "settings alone": Example(
        "router_settings: {redis_url: 'redis://:canary@redis.example.com:6379'}\n",
        {"providers": {"echo": {}}, "shared_state": "${REDIS_URL}"},
        ("router_settings.redis_url", "router_settings.redis_host"),
    ),
}


@pytest.mark.parametrize("name", EXAMPLES)
def test_an_example_is_carried_over(name: str) -> None:
    example = EXAMPLES[name]
    imported = litellm.convert(yaml.safe_load(example.text))
    assert imported.config == {"server": {"port": 4000}, "usage": {"path": "usage.db"}, **example.made}
    assert tuple(each.path for each in imported.left if each.path != ADDRESS) == example.left
    text = imported.text("litellm.yaml")
    assert yaml.safe_load(text) == imported.config  # as YAML it says the same
    settings = load(text, stand_ins(text), FACTS)
    assert settings.warnings == ()
    for each in imported.left:
        assert each.why and each.what_to_do
        assert f"# - {each}" in text
    assert "canary" not in text and "u:p@h" not in text


def test_whatever_stands_where_it_should_not_ends_in_no_traceback() -> None:
    chance = random.Random(3)
    others = [None, "x", 5, True, [], {}, ["x"], {"x": 1}, [["x"]], [{"x": ["y"]}], 1e400, "os.environ/X"]

    def bent(value: Any) -> Any:
        if chance.random() < 0.06:
            return chance.choice(others)
        if isinstance(value, dict):
            return {name: bent(each) for name, each in value.items()}
        return [bent(each) for each in value] if isinstance(value, list) else value

    for text in [example.text for example in EXAMPLES.values()] * 15:
        document = bent(yaml.safe_load(text))
        try:
            imported = litellm.convert(document)
        except ValueError as error:
            assert "model_list" in str(error)
        else:
            assert yaml.safe_load(imported.text("x")) == imported.config


def test_the_command_prints_a_configuration_that_passes_check(tmp_path: Path) -> None:
    file, made = tmp_path / "litellm.yaml", tmp_path / "config.yaml"
    file.write_text(EXAMPLES["fallbacks"].text, encoding="utf-8")
    done = run("import", "litellm", str(file))
    assert done.returncode == 0
    assert done.stderr == (
        "4 models and 4 providers; 5 things were not carried over, or not as they were: the top of the output says which, "
        "why, and what to do. Save it as config.yaml, then `check`.\n"
    )
    assert done.stdout.splitlines()[:6] == [
        "# Made from litellm.yaml by `python modelserver.py import`; `check` tells what is wrong with it.",
        "#",
        "# Not carried over, or not as it was:",
        "# - fallbacks of small for context and content_filter: what is asked for a cause is asked after failures too. "
        "See `on` in config.yaml.",
        "# - fallbacks of big: no model nowhere was carried over. Add its target behind the others.",
        "# - model_name pair: targets are shared by weight or tried in order, and this group has fallbacks. "
        "It is tried in order.",
    ]
    made.write_text(done.stdout, encoding="utf-8")
    assert run("check", "--config", str(made)).returncode == 0


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("[1]", "this is no config.yaml of LiteLLM's proxy: it has no model_list"),
        ("model_list: 5", "this is no config.yaml of LiteLLM's proxy: it has no model_list"),
        ("a: [", "is not valid YAML: "),
    ],
)
def test_what_is_no_configuration_of_litellm(tmp_path: Path, text: str, says: str) -> None:
    file = tmp_path / "x.yaml"
    file.write_text(text, encoding="utf-8")
    done = run("import", "litellm", str(file))
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.startswith(f"modelserver: {file}") and says in done.stderr
