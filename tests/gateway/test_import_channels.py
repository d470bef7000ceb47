"""`modelserver.py import one-api FILE`, `import new-api FILE`: their channels, as their API and their database hold them."""

import json
import random
import sqlite3
from contextlib import closing
from pathlib import Path
from typing import Any, NamedTuple

import pytest
import yaml
from process import run

from gateway.config import load
from gateway.importing import channels
from gateway.importing.channel_words import FIELDS, NOT_SERVED, VENDORS
from providers.hosts import HOSTS
from server.commands.import_file import import_from, stand_ins
from server.config_file import Source
from server.key_file import Refused

FACTS = "families: {}\nmodels: {}\n"
ALWAYS = ("users, tokens, quotas and prices", "the address")  # the notes that every result has
OPENAI = {"api_key": "${OPENAI_API_KEY}"}


def channel(id: int, type: int, models: str, **more: Any) -> dict[str, Any]:
    """A channel as one-api's API shows it, with a key as its database has it."""
    return {
        "id": id, "type": type, "key": f"sk-canary-{id}", "status": 1, "name": f"c{id}", "weight": 0,
        "created_time": 1_750_000_000,
        "base_url": "", "other": "", "models": models, "group": "default", "model_mapping": "", "priority": 0, "config": "",
        "balance": 3.5, "used_quota": 12, **more,
    }  # fmt: skip


class Example(NamedTuple):
    """A program's channels; what is made of them, beside server.port and usage; the paths of what was not carried over."""

    program: str
    channels: list[dict[str, Any]]
    made: dict[str, Any]
    left: tuple[str, ...] = ()


EXAMPLES = {
    "one channel": Example(
        "one-api",
        [channel(1, 1, "gpt-5.5,gpt-5.4-mini")],
        {"providers": {"openai": OPENAI}, "models": {"gpt-5.5": "openai/gpt-5.5", "gpt-5.4-mini": "openai/gpt-5.4-mini"}},
        ("channel 1 c1.key",),
    ),
    "the same number is another vendor": Example(
        "new-api",
        [channel(1, 26, "glm-5"), channel(2, 43, "deepseek-chat"), channel(3, 42, "mistral-large-4"), channel(4, 4, "llama3.2")],
        {
            "providers": {
                "zhipu": {"base_url": "https://open.bigmodel.cn/api/paas/v4", "api_key": "${ZAI_API_KEY}"},
                "deepseek": {"api_key": "${DEEPSEEK_API_KEY}"},
                "mistral": {"api_key": "${MISTRAL_API_KEY}"},
                "ollama": {"base_url": "http://localhost:11434/v1", "api_key": "${LOCALHOST_API_KEY}"},
            },
            "models": {
                "glm-5": "zhipu/glm-5",
                "deepseek-chat": "deepseek/deepseek-chat",
                "mistral-large-4": "mistral/mistral-large-4",
                "llama3.2": "ollama/llama3.2",
            },
        },
        ("channel 1 c1.key", "channel 2 c2.key", "channel 3 c3.key", "channel 4 c4.key"),
    ),
    "of one-api": Example(
        "one-api",
        [channel(1, 26, "baichuan4"), channel(2, 36, "deepseek-chat"), channel(3, 28, "mistral-large-4"),
         channel(4, 30, "llama3.2", key="none"), channel(5, 29, "openai/gpt-oss-120b"), channel(6, 41, "novita")],
        {
            "providers": {
                "baichuan": {"api_key": "${BAICHUAN_API_KEY}"},
                "deepseek": {"api_key": "${DEEPSEEK_API_KEY}"},
                "mistral": {"api_key": "${MISTRAL_API_KEY}"},
                "ollama": {"base_url": "http://localhost:11434/v1"},
                "groq": {"api_key": "${GROQ_API_KEY}"},
                "novita": {"base_url": "https://api.novita.ai/v3/openai", "api_key": "${NOVITA_API_KEY}"},
            },
            "models": {
                "baichuan4": "baichuan/baichuan4",
                "deepseek-chat": "deepseek/deepseek-chat",
                "mistral-large-4": "mistral/mistral-large-4",
                "llama3.2": "ollama/llama3.2",
                "openai/gpt-oss-120b": "groq/openai/gpt-oss-120b",
                "novita": "novita/novita",
            },
        },
        ("channel 1 c1.key", "channel 2 c2.key", "channel 3 c3.key", "channel 5 c5.key", "channel 6 c6.key"),
    ),
    "other names, and relays": Example(
        "one-api",
        [
            channel(1, 1, "gpt-4,fast,loop", base_url="https://relay.example.com/",
                    model_mapping=json.dumps({"gpt-4": "gpt-5.5", "fast": "gpt-4-turbo", "gpt-4-turbo": "gpt-5.4-mini",
                                              "loop": "pool", "pool": "loop"})),
            channel(2, 8, "own", base_url="http://8.8.8.8"),
            channel(3, 50, "compatible", base_url="https://llm.example.com/api/v4/"),
            channel(4, 14, "claude-opus-5-5", base_url="https://claude.example.com"),
            channel(5, 50, "nowhere"),
            channel(6, 1, "edge", base_url="https://gateway.ai.cloudflare.com/v1/account/name/openai"),
        ],
        {
            "providers": {
                "relay-example-com": {
                    "protocol": "openai",
                    "base_url": "https://relay.example.com/v1",
                    "api_key": "${RELAY_EXAMPLE_COM_API_KEY}",
                },
                "8-8-8-8": {
                    "protocol": "openai",
                    "base_url": "http://8.8.8.8/v1",
                    "allow_insecure": True,
                    "api_key": "${_8_8_8_8_API_KEY}",
                },
                "llm-example-com": {
                    "protocol": "openai",
                    "base_url": "https://llm.example.com/api/v4",
                    "api_key": "${LLM_EXAMPLE_COM_API_KEY}",
                },
                "anthropic": {"base_url": "https://claude.example.com/v1", "api_key": "${ANTHROPIC_API_KEY}"},
                "gateway-ai-cloudflare-com": {
                    "protocol": "openai",
                    "base_url": "https://gateway.ai.cloudflare.com/v1/account/name/openai",
                    "api_key": "${GATEWAY_AI_CLOUDFLARE_COM_API_KEY}",
                },
            },
            "models": {
                "gpt-4": "relay-example-com/gpt-5.5",
                "fast": "relay-example-com/gpt-5.4-mini",
                "loop": "relay-example-com/pool",
                "own": "8-8-8-8/own",
                "compatible": "llm-example-com/compatible",
                "claude-opus-5-5": "anthropic/claude-opus-5-5",
                "edge": "gateway-ai-cloudflare-com/edge",
            },
        },
        (
            "channel 1 c1.key",
            "channel 2 c2.base_url",
            "channel 2 c2.key",
            "channel 3 c3.key",
            "channel 4 c4.key",
            "channel 5 c5",
            "channel 6 c6.key",
        ),
    ),
    "priorities": Example(
        "one-api",
        [channel(1, 36, "chat"), channel(2, 44, "chat", priority=5), channel(3, 1, "chat,alone", priority=5, weight=9)],
        {
            "providers": {
                "deepseek": {"api_key": "${DEEPSEEK_API_KEY}"},
                "siliconflow": {"api_key": "${SILICONFLOW_API_KEY}"},
                "openai": OPENAI,
            },
            "models": {"chat": ["siliconflow/chat", "openai/chat", "deepseek/chat"], "alone": "openai/alone"},
        },
        ("channel 1 c1.key", "channel 2 c2.key", "channel 3 c3.key", "model chat"),
    ),
    "weights": Example(
        "new-api",
        [channel(1, 1, "a,b", weight=3), channel(2, 1, "a,b", weight=1, key="sk-canary-1"), channel(3, 1, "a", weight=6),
         channel(4, 43, "a"), channel(5, 20, "c"), channel(6, 40, "c")],
        {
            "providers": {
                "openai": OPENAI,
                "openai-2": {"host": "openai", "api_key": "${OPENAI_API_KEY_2}"},
                "deepseek": {"api_key": "${DEEPSEEK_API_KEY}"},
                "openrouter": {"api_key": "${OPENROUTER_API_KEY}"},
                "siliconflow": {"api_key": "${SILICONFLOW_API_KEY}"},
            },
            "models": {
                "a": {"targets": {"openai/a": 4, "openai-2/a": 6}},
                "b": "openai/b",
                "c": {"targets": {"openrouter/c": 1, "siliconflow/c": 1}},
            },
        },
        (*(f"channel {id} c{id}.key" for id in range(1, 7)), "model a, deepseek/a"),
    ),
    "groups of users": Example(
        "one-api",
        [channel(1, 1, "a", group="default,vip"), channel(2, 36, "a,b", group="vip"), channel(3, 44, "b", group="svip")],
        {
            "providers": {
                "openai": OPENAI,
                "deepseek": {"api_key": "${DEEPSEEK_API_KEY}"},
                "siliconflow": {"api_key": "${SILICONFLOW_API_KEY}"},
            },
            "models": {"a": "openai/a", "b": {"targets": {"deepseek/b": 1, "siliconflow/b": 1}}},
        },
        (
            "channel 1 c1.key",
            "channel 1 c1.group (vip)",
            "channel 2 c2.key",
            "channel 2 c2.group (vip)",
            "channel 3 c3.key",
            "channel 3 c3.group (svip)",
        ),
    ),
    "several keys, one of them off; a list without keys": Example(
        "new-api",
        [
            channel(1, 1, "a", key="sk-canary-x\nsk-canary-y\n\nsk-canary-z\n",
                    channel_info='{"is_multi_key": true, "multi_key_size": 3, "multi_key_status_list": {"1": 3}}'),
            channel(2, 14, "b", key='["sk-canary-x", "sk-canary-b"]', channel_info={"is_multi_key": True}),
            channel(3, 1, "c", key=""),
            channel(4, 1, "d", key=None),
            channel(5, 4, "e", key=""),
        ],
        {
            "providers": {
                "openai": {"api_key": ["${OPENAI_API_KEY}", "${OPENAI_API_KEY_2}"]},
                "anthropic": {"api_key": ["${ANTHROPIC_API_KEY}", "${ANTHROPIC_API_KEY_2}"]},
                "openai-2": {"host": "openai", "api_key": "${OPENAI_API_KEY_3}"},
                "openai-3": {"host": "openai", "api_key": "${OPENAI_API_KEY_4}"},
                "ollama": {"base_url": "http://localhost:11434/v1"},
            },
            "models": {"a": "openai/a", "b": "anthropic/b", "c": "openai-2/c", "d": "openai-3/d", "e": "ollama/e"},
        },
        ("channel 1 c1.key", "channel 2 c2.key", "channel 3 c3.key", "channel 4 c4.key"),
    ),
    "Azure": Example(
        "new-api",
        [
            channel(1, 3, "gpt-4.1", base_url="https://eu.openai.azure.com", other="2025-04-01-preview"),
            channel(2, 3, "gpt-4.1", base_url="https://us.openai.azure.com/", created_time=1_700_000_000),
            channel(3, 3, "gpt-5.5", base_url="https://us.openai.azure.com/openai/v1"),
        ],
        {
            "providers": {
                "azure": {
                    "overrides": {"query": {"api-version": "2025-04-01-preview"}},
                    "base_url": "https://eu.openai.azure.com",
                    "api_key": "${AZURE_OPENAI_API_KEY}",
                },
                "azure-2": {
                    "host": "azure",
                    "base_url": "https://us.openai.azure.com",
                    "api_key": "${AZURE_OPENAI_API_KEY_2}",
                },
                "azure_v1": {
                    "base_url": "https://us.openai.azure.com/openai/v1",
                    "api_key": "${AZURE_OPENAI_API_KEY_3}",
                },
            },
            "models": {"gpt-4.1": {"targets": {"azure/gpt-4.1": 1, "azure-2/gpt-41": 1}}, "gpt-5.5": "azure_v1/gpt-5.5"},
        },
        ("channel 1 c1.key", "channel 2 c2.key", "channel 3 c3.key"),
    ),
    "what has no place here": Example(
        "new-api",
        [
            channel(1, 1, "off", status=2),
            channel(2, 33, "claude"),
            channel(3, 57, "codex"),
            channel(4, 999, "?"),
            channel(5, 8, "x", base_url="https://x.example.com/generate"),
            channel(6, 8, "y", base_url="https://y.example.com/v3/chat/completions"),
            channel(7, 1, "z,z-thinking,two*stars*", base_url="glm-coding-plan", tag="t", remark="r", openai_organization="org-1",
                    param_override='{"temperature": 0}', header_override="{}", status_code_mapping='{"400": "500"}',
                    setting=json.dumps({"proxy": "socks5://127.0.0.1:1080", "system_prompt": "Be brief.", "force_format": True,
                                        "frobnicate": 1}),
                    settings='{"disable_store": false, "allow_service_tier": true}', frobnicated="yes"),
            channel(8, 43, "p", setting='{"proxy": "http://proxy.example.com:3128"}', header_override='{"X-A": "b"}'),
            channel(9, 43, "q", setting='{"proxy": "http://u:canary@proxy.example.com:3128"}', key="sk-canary-8"),
        ],
        {
            "providers": {
                "y-example-com": {
                    "protocol": "openai",
                    "base_url": "https://y.example.com/v3",
                    "api_key": "${Y_EXAMPLE_COM_API_KEY}",
                },
                "open-bigmodel-cn": {
                    "protocol": "openai",
                    "base_url": "https://open.bigmodel.cn/api/coding/paas/v4",
                    "api_key": "${OPEN_BIGMODEL_CN_API_KEY}",
                },
                "deepseek": {"api_key": "${DEEPSEEK_API_KEY}", "proxy": "http://proxy.example.com:3128"},
                "deepseek-2": {"host": "deepseek", "api_key": "${DEEPSEEK_API_KEY}"},
            },
            "models": {
                "y": "y-example-com/y",
                "z": "open-bigmodel-cn/z",
                "z-thinking": "open-bigmodel-cn/z-thinking",
                "p": "deepseek/p",
                "q": "deepseek-2/q",
            },
        },
        (
            *(f"channel {id} c{id}" for id in range(1, 6)),
            "channel 6 c6.key",
            "channel 7 c7.openai_organization",
            "channel 7 c7.param_override",
            "channel 7 c7.status_code_mapping",
            "channel 7 c7.frobnicated",
            "channel 7 c7.system_prompt",
            "channel 7 c7.force_format",
            "channel 7 c7.frobnicate",
            "channel 7 c7.key",
            "channel 7 c7.setting.proxy",
            "channel 7 c7.models z-thinking",
            "channel 7 c7.models two*stars*",
            "channel 8 c8.header_override",
            "channel 8 c8.key",
            "channel 9 c9.key",
            "channel 9 c9.setting.proxy",
        ),
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", EXAMPLES)
def test_channels_are_carried_over(name: str) -> None:
    example = EXAMPLES[name]
    imported = channels.convert(example.channels, example.program)
    assert imported.config == {"server": {"port": 3000}, "usage": {"path": "usage.db"}, **example.made}
    assert tuple(each.path for each in imported.left) == (*example.left, *ALWAYS)
    text = imported.text("channels.json")
    assert yaml.safe_load(text) == imported.config
    settings = load(text, stand_ins(text), FACTS)
    assert settings.warnings == ()
    assert list(settings.routes.public(("*",))) == list(imported.config["models"])
    for each in imported.left:
        assert each.why and each.what_to_do
        assert f"# - {each}" in text
    assert "canary" not in text


@pytest.mark.parametrize("program", VENDORS)
def test_each_type_is_served_or_told_of(program: str) -> None:
    """one-api numbers its types from 1 to 51, new-api to 57; 28, 29, 30 and 32 it has taken back."""
    served, not_served = VENDORS[program], NOT_SERVED[program]
    assert not {*served} & {*not_served}
    missing = {"one-api": set(), "new-api": {28, 29, 30, 32}}[program]
    assert {*served, *not_served} == {*range(1, {"one-api": 52, "new-api": 58}[program])} - missing
    assert all(vendor.host == "" or vendor.host in HOSTS for vendor in served.values())


@pytest.mark.parametrize("shape", ["list", "data", "items", "page"])
def test_the_forms_of_a_list(shape: str) -> None:
    listed = [channel(1, 1, "gpt-5.5")]
    forms: dict[str, Any] = {
        "list": listed,
        "data": {"success": True, "message": "", "data": listed},
        "items": {"items": listed, "total": 1},
        "page": {"success": True, "message": "", "data": {"items": listed, "total": 1, "page": 1, "page_size": 20}},
    }
    assert channels.convert(forms[shape], "new-api").config["models"] == {"gpt-5.5": "openai/gpt-5.5"}


def test_whatever_stands_where_it_should_not_ends_in_no_traceback() -> None:
    chance = random.Random(5)
    others = [
        None,
        "x",
        5,
        True,
        [],
        {},
        ["x"],
        {"x": 1},
        [["x"]],
        1e400,
        -1,
        '{"a": ["b"]}',
        "[" * 10_000,
        "http://[",
        "a*b*c",
    ]
    for example in [each for each in EXAMPLES.values() for _ in range(8)]:
        bent = [
            {name: chance.choice(others) if chance.random() < 0.15 else value for name, value in each.items()}
            for each in example.channels
        ]
        imported = channels.convert(bent, example.program)
        assert yaml.load(imported.text("x"), Loader=yaml.CSafeLoader) == imported.config


def test_the_command_reads_json_and_the_database(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    rows = [channel(1, 1, "gpt-5.5"), channel(2, 36, "gpt-5.5,deepseek-chat", group="vip")]
    listed, database = tmp_path / "channels.json", tmp_path / "one-api.db"
    listed.write_text(json.dumps({"success": True, "data": rows}), encoding="utf-8")
    with closing(sqlite3.connect(database)) as file:
        file.execute(f"CREATE TABLE channels ({', '.join(f'`{name}`' for name in rows[0])})")
        file.executemany(
            f"INSERT INTO channels VALUES ({', '.join('?' * len(rows[0]))})", [[*row.values()] for row in rows]
        )
        file.commit()
    of_json = run("import", "one-api", str(listed))
    assert import_from("one-api", str(database), Source(tmp_path, {}), "") == of_json.returncode == 0
    assert of_json.stdout.replace("channels.json", "one-api.db") == capsys.readouterr().out
    assert of_json.stdout.splitlines()[:4] == [
        "# Made from channels.json by `python modelserver.py import`; `check` tells what is wrong with it.",
        "#",
        "# Not carried over, or not as it was:",
        "# - channel 1 c1.key: keys do not go from file to file. Set OPENAI_API_KEY to it in the environment.",
    ]
    assert of_json.stderr.startswith("2 models and 2 providers; 5 things were not carried over, or not as they were: ")


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("[", "is not valid JSON: "),
        ("{}", "it has no channels, each with a `type` and `models`"),
        ('{"success": false, "message": "no"}', "it has no channels"),
        ('[{"type": 1}, 5]', "it has no channels"),
        ("[" * 100_000, "is nested too deeply"),
        ("SQLite format 3\0", "has no table `channels` that could be read: "),
    ],
    ids=["no JSON", "nothing", "an error", "no channel", "deep", "no database"],
)
def test_what_is_no_list_of_channels(tmp_path: Path, text: str, says: str) -> None:
    file = tmp_path / "x"
    file.write_text(text, encoding="utf-8")
    with pytest.raises(Refused) as raised:
        import_from("new-api", str(file), Source(tmp_path, {}), "")
    assert str(raised.value).startswith(str(file)) and says in str(raised.value)


def test_the_fields_are_those_of_channels() -> None:
    assert {name for name in channel(1, 1, "") if name not in FIELDS} == set()
