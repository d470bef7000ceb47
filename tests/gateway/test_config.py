"""config.yaml: what is read, and every mistake with its line and, where it helps, a guess."""

import hashlib
import random
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from model_table import FACTS
from process import ROOT

from gateway import config_schema
from gateway.config import load
from gateway.config_schema import CapacityConfig, Config, Cooldown, KeepAlive, ServerConfig, Timeouts
from gateway.problems import ConfigError
from gateway.settings import Caller, Settings

SMALL = "families: {}\nmodels: {}\n"
EXAMPLE = (ROOT / "config.yaml").read_text(encoding="utf-8")
SECRET = "sk-topsecret"


def read(text: str, facts: str = SMALL, **environment: str) -> Settings:
    return load(text, environment, facts)


def mistakes(text: str, facts: str = SMALL, **environment: str) -> list[str]:
    with pytest.raises(ConfigError) as caught:
        load(text, environment, facts, "my.yaml")
    assert [f"my.yaml:{p.line}: {p.path + ': ' if p.path else ''}{p.message}" for p in caught.value.problems] == str(
        caught.value
    ).splitlines()
    return [line.removeprefix("my.yaml:") for line in str(caught.value).splitlines()]


KNOWN_SERVER = ", ".join(ServerConfig.__struct_fields__)
URL = 'expected a URL such as "https://llm.example.com/v1"'
PRINTABLE = "a key may only hold printable ASCII characters, without spaces"
HEX = "5e884898da28047151d0e56f8dc6292773603d0d6aabbd62a11ef721d1542d8"

MISTAKES: dict[str, tuple[str, list[str]]] = {
    "a typo at the top": ("\n\nsever: {}\n", ["3: sever: unknown key; did you mean 'server'?"]),
    "a typo below": ("server:\n  prot: 1\n", ["2: server.prot: unknown key; did you mean 'port'?"]),
    "a typo far from all": ("server:\n  zzzzzz: 1\n", [f"2: server.zzzzzz: unknown key; known are {KNOWN_SERVER}"]),
    "a merge key": (
        "server: {<<: {port: 1}}\n",
        [f"1: server.<<: unknown key; known are {KNOWN_SERVER}"],
    ),
    "a key glued to its value": (
        f"providers:\n  echo: {{api_key:{SECRET}}}\n",
        ["2: providers.echo.api_key: unknown key; write a space after the colon"],
    ),
    "several, in the order of the file": (
        "server:\n  port: x\n  log: yaml\nkeys: 5\n",
        [
            "2: server.port: expected an integer",
            "3: server.log: expected auto or json or text",
            "4: keys: expected a list ([a, b] or lines with '- ')",
        ],
    ),
    "defaults no client could send": (
        "defaults:\n  temprature: 0.7\n  temperature: hot\n  top_p: 2\n  stream: true\n  top_k: 40\n",
        [
            "2: defaults.temprature: unknown parameter; did you mean 'temperature'?",
            "3: defaults.temperature: Invalid type for 'temperature': expected a decimal, but got a string instead.",
            "4: defaults.top_p: Invalid 'top_p': decimal above maximum value. Expected a value <= 1, but got 2 instead.",
            "5: defaults.stream: has no default: only the client can say it",
        ],
    ),
    "defaults of a model": (
        "providers: {echo: {}}\nmodels:\n  a:\n    targets: [echo]\n    defaults: {max_token: 5}\n",
        ["5: models.a.defaults.max_token: unknown parameter; did you mean 'max_tokens'?"],
    ),
    "options of another protocol, and of the wrong type": (
        "providers:\n  echo: {options: {delay: fast, web_search: true}}\n  gemini: {api_key: k, options: {safety: []}}\n"
        "  anthropic: {api_key: k, options: {headers: {a: [1]}}}\n"
        "  openai: {api_key: k, options: {reasoning_sumary: auto}}\n",
        [
            "2: providers.echo.options.delay: Expected 'float', got 'str'",
            "2: providers.echo.options.web_search: unknown option of protocol echo; known are delay",
            "3: providers.gemini.options.safety: unknown option of protocol gemini; known are safety_settings",
            "4: providers.anthropic.options.headers: Expected 'str', got 'array' - at '$[...]'",
            "5: providers.openai.options.reasoning_sumary: unknown option of protocol openai; did you mean 'reasoning_summary'?",
        ],
    ),
    "a section that is a list": (
        "server: []\n",
        ["1: server: expected a mapping (key: value); leave out the dash or the [ ] around it"],
    ),
    "a section that is a text": ("server: 8080\n", ["1: server: expected a mapping (key: value)"]),
    "the whole file a list": ("- 1\n", ["1: expected a mapping (key: value); leave out the dash or the [ ] around it"]),
    "the whole file a text": ("hello\n", ["1: expected a mapping (key: value)"]),
    "given twice": ("server: {}\nkeys: []\nserver: {}\n", ["3: server: given twice (first in line 1)"]),
    "given twice below": (
        "models:\n  a: echo\n  a: echo\nproviders: {echo: {}}\n",
        ["3: models.a: given twice (first in line 2)"],
    ),
    "a list as a key": ("? [a]\n: 1\n", ["1: keys must be plain texts"]),
    "an anchor": (
        "server: &a {}\n",
        ["1: YAML anchors and aliases are not allowed: write it out; a text that begins with & or * must be in quotes"],
    ),
    "an alias": (
        "server: {}\nkeys: *a\n",
        ["2: YAML anchors and aliases are not allowed: write it out; a text that begins with & or * must be in quotes"],
    ),
    "no YAML": ("server: {\n", ["1: not valid YAML: the { or [ that begins in this line is not closed"]),
    "a tab": ("server:\n\tport: 1\n", ["2: not valid YAML: the line is indented with a tab; YAML takes spaces only"]),
    "two documents": (
        "server: {}\n---\nkeys: []\n",
        ["2: not valid YAML: a line of --- begins a second document: the configuration is one"],
    ),
    "a control character": (
        "# é\n\na: \x00\n",
        ["3: not valid YAML: the line holds a control character, such as NUL or ESC: remove it"],
    ),
    "a port of text": ("server: {port: http}\n", ["1: server.port: expected an integer"]),
    "a port with a fraction": ("server: {port: 80.5}\n", ["1: server.port: expected an integer"]),
    "a port too large": ("server: {port: 65536}\n", ["1: server.port: Expected 'int' <= 65535"]),
    "a port below zero": ("server: {port: -1}\n", ["1: server.port: Expected 'int' >= 0"]),
    "a port of a list": ("server: {port: [1]}\n", ["1: server.port: expected an integer"]),
    "no port": ("server: {port: }\n", ["1: server.port: expected an integer"]),
    "a port of 5 000 digits": (f"server: {{port: {'9' * 5000}}}\n", ["1: server.port: expected an integer"]),
    "a host of a list": ("server: {host: []}\n", ["1: server.host: expected a text"]),
    "a size with an unknown unit": (
        "server: {max_body: 32MB}\n",
        ["1: server.max_body: expected a size such as 32MiB"],
    ),
    "a size too small": ("server: {max_body: 1023}\n", ["1: server.max_body: Expected 'int' >= 1024"]),
    "a size too large": ("server: {max_event: 2GiB}\n", ["1: server.max_event: Expected 'int' <= 1073741824"]),
    "a size of nothing": ("server: {max_answer: }\n", ["1: server.max_answer: expected a size such as 32MiB"]),
    "no time": ("server: {timeouts: {connect: 0}}\n", ["1: server.timeouts.connect: Expected 'float' > 0.0"]),
    "a time below zero": ("server: {drain: -1}\n", ["1: server.drain: Expected 'float' > 0.0"]),
    "a time too long": (
        "server: {keep_alive: {every: 86401}}\n",
        ["1: server.keep_alive.every: Expected 'float' <= 86400.0"],
    ),
    "a time that is none": ("server: {timeouts: {total: nan}}\n", ["1: server.timeouts.total: Expected 'float' > 0.0"]),
    "a time without end": (
        "server: {timeouts: {total: inf}}\n",
        ["1: server.timeouts.total: Expected 'float' <= 86400.0"],
    ),
    "a time with a unit": ("server: {drain: 60s}\n", ["1: server.drain: expected a number"]),
    "maybe": ("strict_params: maybe\n", ["1: strict_params: expected true or false"]),
    "a log of a colour": (
        "server: {log: jsn}\n",
        ["1: server.log: expected auto or json or text; did you mean 'json'?"],
    ),
    "a text for a list": (
        "server: {cors_origins: '*'}\n",
        ["1: server.cors_origins: expected a list ([a, b] or lines with '- ')"],
    ),
    "a list for a mapping": (
        "models: [gpt-4o]\n",
        ["1: models: expected a mapping (key: value); leave out the dash or the [ ] around it"],
    ),
    "a model without target": ("models:\n  a:\n", ["2: models.a: expected a text"]),
    "a model with an empty list": ("models:\n  a: []\n", ["2: models.a: has no target; for example openai/gpt-4o"]),
    "a route without targets": ("models:\n  a: {defaults: {}}\n", ["2: models.a: the key 'targets' is missing"]),
    "a target of a mapping": (
        "models:\n  a: [{}]\n",
        ["2: models.a: has no target; for example openai/gpt-4o", "2: models.a[0]: the key 'target' is missing"],
    ),
    "a target that does not exist": (
        "providers: {echo: {}}\nmodels:\n  a: ecko/x\n",
        ["3: models.a: there is no provider 'ecko'; did you mean 'echo'?"],
    ),
    "the second of a list": (
        "providers: {echo: {}}\nmodels:\n  a:\n    - echo\n    - zzz\n",
        ["5: models.a[1]: there is no provider 'zzz'"],
    ),
    "the second of the long form": (
        "providers: {echo: {}}\nmodels:\n  a:\n    targets:\n      - echo\n      - zzz\n",
        ["6: models.a.targets[1]: there is no provider 'zzz'"],
    ),
    "the second, after a first that is none": (
        "providers: {echo: {}}\nmodels:\n  a:\n    - {}\n    - zzz\n",
        ["4: models.a[0]: the key 'target' is missing", "5: models.a[1]: there is no provider 'zzz'"],
    ),
    "two stars": (
        "providers: {echo: {}}\nmodels: {'a*b*': echo}\n",
        ["2: models.a*b*: only one '*' is possible in a public name"],
    ),
    "a star in the target alone": (
        "providers: {echo: {}}\nmodels: {a: 'echo/echo-*'}\n",
        ["2: models.a: the target 'echo/echo-*' has a '*' but the public name has none"],
    ),
    "an unknown provider": (
        "providers: {opanai: {}}\n",
        [
            "1: providers.opanai: unknown provider: give a 'protocol' (openai, anthropic, gemini, echo); did you mean 'openai'?"
        ],
    ),
    "an unknown protocol": (
        "providers: {mine: {protocol: opanai}}\n",
        ["1: providers.mine.protocol: expected one of openai, anthropic, gemini, echo; did you mean 'openai'?"],
    ),
    "an unknown host": (
        "providers:\n  mine:\n    protocol: openai\n    host: opanai\n",
        ["4: providers.mine.host: there is no host 'opanai'; did you mean 'openai'?"],
    ),
    "a provider without key": (
        "providers: {openai: {}}\n",
        ["1: providers.openai: the key 'api_key' is missing; for example \"${OPENAI_API_KEY}\""],
    ),
    "a provider without address": (
        "providers: {mine: {protocol: openai}}\n",
        ['1: providers.mine.base_url: the URL is missing; for example "https://llm.example.com/v1"'],
    ),
    "an address without scheme": (
        "providers:\n  mine: {protocol: openai,\n    base_url: llm.example.com/v1}\n",
        [f"3: providers.mine.base_url: {URL}"],
    ),
    "an address of files": (
        "providers: {mine: {protocol: openai, base_url: 'file:///etc/passwd'}}\n",
        [f"1: providers.mine.base_url: {URL}"],
    ),
    "half an IPv6 address": (
        "providers: {mine: {protocol: openai, base_url: 'http://[::1'}}\n",
        [f"1: providers.mine.base_url: {URL}"],
    ),
    "a port out of range": (
        "providers: {mine: {protocol: openai, base_url: 'http://x:99999'}}\n",
        [f"1: providers.mine.base_url: {URL}"],
    ),
    "an address with a space": (
        "providers: {mine: {protocol: openai, base_url: 'http://x y'}}\n",
        [f"1: providers.mine.base_url: {URL}"],
    ),
    "an address with a user": (
        f"providers: {{mine: {{protocol: openai, base_url: 'https://me:{SECRET}@x'}}}}\n",
        ["1: providers.mine.base_url: the URL may not hold a user name, a query or a fragment; keys go into 'api_key'"],
    ),
    "an address with a key": (
        f"providers: {{mine: {{protocol: openai, base_url: 'https://x?key={SECRET}'}}}}\n",
        ["1: providers.mine.base_url: the URL may not hold a user name, a query or a fragment; keys go into 'api_key'"],
    ),
    "an address with half a user": (
        f"providers: {{mine: {{protocol: openai, base_url: 'https://me:{SECRET}'}}}}\n",
        [f"1: providers.mine.base_url: {URL}"],
    ),
    **{
        f"an address that holds the path of an operation: {url}": (
            f"providers: {{mine: {{protocol: {protocol}, base_url: '{url}'}}}}\n",
            [f"1: providers.mine.base_url: ends in {ending}, which is added to it: leave that out"],
        )
        for protocol, url, ending in (
            ("openai", "https://x.example/v1/chat/completions", "chat/completions"),
            ("openai", "https://x.example/v1/chat/completions/", "chat/completions"),
            ("openai", "https://x.example/v1/Completions", "Completions"),
            ("openai", "https://x.example/v1/embeddings", "embeddings"),
            ("openai", "https://x.example/v1/images/generations", "images/generations"),
            ("openai", "https://x.example/v1/audio/transcriptions", "audio/transcriptions"),
            ("openai", "https://x.example/v1/rerank", "rerank"),
            ("anthropic", "https://x.example/v1/messages/count_tokens", "messages/count_tokens"),
            ("openai", "https://x.example/v1/responses", "responses"),
            ("anthropic", "https://x.example/v1/messages", "messages"),
            ("gemini", "https://x.example/v1beta/models/g:generateContent", "models/g:generateContent"),
        )
    },
    "a provider with a slash": (
        "providers: {a/b: {protocol: echo}}\n",
        ["1: providers.a/b: a provider's name may not hold '/' or '*'"],
    ),
    "a key with a space": (
        f"providers: {{openai: {{api_key: '{SECRET} '}}}}\n",
        [f"1: providers.openai.api_key: {PRINTABLE}"],
    ),
    "a caller without name": ("keys:\n  - key: x\n", ["2: keys[0]: the key 'name' is missing"]),
    "a caller without key": ("keys:\n  - name: a\n", ["2: keys[0]: give either 'key' or 'sha256'"]),
    "a caller with two keys": (
        f"keys:\n  - name: a\n    key: {SECRET}\n    sha256: {HEX}a\n",
        ["2: keys[0]: give either 'key' or 'sha256'"],
    ),
    "a caller after one that is none": (
        "keys:\n  - {key: x}\n  - {name: b}\n",
        ["2: keys[0]: the key 'name' is missing", "3: keys[1]: give either 'key' or 'sha256'"],
    ),
    "a digest cut short": (
        f"keys:\n  - name: a\n    sha256: {HEX}\n",
        ["3: keys[0].sha256: expected the 64 hex digits of a SHA-256 digest"],
    ),
    "a caller's key with a space": (f"keys:\n  - name: a\n    key: '{SECRET} x'\n", [f"3: keys[0].key: {PRINTABLE}"]),
    "one name twice": (
        f"keys:\n  - {{name: a, key: {SECRET}1}}\n  - {{name: a, key: {SECRET}2}}\n",
        ["3: keys[1].name: another key is called 'a' too"],
    ),
    "one key twice": (
        f"keys:\n  - {{name: a, key: {SECRET}}}\n  - {{name: b, sha256: {hashlib.sha256(SECRET.encode()).hexdigest()}}}\n",
        ["3: keys[1]: is the same key as 'a'"],
    ),
    "a variable that is not set": (
        "server:\n  host: ${HOST}\n",
        ["2: server.host: the environment variable HOST is not set"],
    ),
    "a caller's variable that is not set": (
        "keys:\n  - {name: a, key: '${LAPTOP}'}\n",
        ["2: keys[0].key: the environment variable LAPTOP is not set"],
    ),
    "facts about nothing": (
        "model_facts: {m: {contxt: 5}}\n",
        ["1: model_facts: m: contxt: unknown field, did you mean 'context'?"],
    ),
}


# Old word → a text that has it, and what is said.
RENAMED = {
    "server.at_once": ("server:\n  at_once: {requests: 5}\n", "2: server.at_once: renamed to capacity"),
    "server.watch": ("server:\n  port: 1\n  watch: true\n", "3: server.watch: renamed to reload_on_change"),
    "cooldown.rest": (
        "server:\n  cooldown:\n    rest: 5\n",
        "3: server.cooldown.rest: renamed to seconds",
    ),
    "cooldown.benched": (
        "server:\n  cooldown:\n    benched: 5\n",
        "3: server.cooldown.benched: renamed to refused_key_seconds",
    ),
    "providers.*.row": (
        "providers:\n  openai:\n    api_key: k\n    row: {drop: [seed]}\n",
        "4: providers.openai.row: renamed to overrides",
    ),
    "on_disconnect: drain": (
        "providers:\n  echo: {on_disconnect: drain}\n",
        "2: providers.echo.on_disconnect: drain is renamed to finish",
    ),
    "drain_seconds": (
        "providers:\n  echo: {drain_seconds: 5}\n",
        "2: providers.echo.drain_seconds: renamed to finish_seconds",
    ),
    "facts": ("strict_params: true\nfacts: {m: {context: 5}}\n", "2: facts: renamed to model_facts"),
    "keys[].unpriced": (
        f"keys:\n  - {{name: a, key: {SECRET}, unpriced: true}}\n",
        "2: keys[0].unpriced: renamed to allow_unpriced",
    ),
    "state": ("state: redis://127.0.0.1:6379/0\n", "1: state: renamed to shared_state"),
    "when_gone": (
        "shared_state:\n  url: redis://h/0\n  when_gone: open\n",
        "3: shared_state.when_gone: renamed to on_unavailable",
    ),
}


@pytest.mark.parametrize("text, expected", RENAMED.values(), ids=RENAMED)
def test_an_old_word_is_refused_with_its_new_one(text: str, expected: str):
    assert mistakes(text) == [expected]


def test_every_old_word_is_tried():
    tried = {name.rpartition(".")[2].partition(":")[0] for name in RENAMED}
    words = {old for words in config_schema.RENAMED.values() for old in words}
    assert {name.replace("on_disconnect", "drain") for name in tried} == words


def test_all_that_is_wrong_below_an_old_word_is_found():
    assert mistakes("state: {when_gone: ajar, prefx: x}\nfacts: []\n") == [
        "1: state: renamed to shared_state",
        "1: state.prefx: unknown key; did you mean 'prefix'?",
        "1: state.when_gone: expected closed or open",
        "1: state.when_gone: renamed to on_unavailable",
        "2: facts: expected a mapping (key: value); leave out the dash or the [ ] around it",
        "2: facts: renamed to model_facts",
    ]


@pytest.mark.parametrize("text, expected", MISTAKES.values(), ids=MISTAKES)
def test_mistakes(text: str, expected: list[str]):
    assert mistakes(text) == expected
    assert SECRET not in "".join(expected)


@pytest.mark.parametrize(
    "text",
    [
        "keys: [{name: a, key: '${K} x'}]",
        "keys: [{name: a, key: '${K}'}, {name: b, key: '${K}'}]",
        "keys: [{name: a, sha256: '${K}'}]",
        "server: {port: '${K}'}",
        "server: {log: '${K}'}",
        "server: {max_body: '${K}'}",
        "server: {drain: '${K}'}",
        "strict_params: '${K}'",
        "providers: {openai: {api_key: '${K}\u00e9'}}",
        "providers: {mine: {protocol: openai, base_url: '${K}'}}",
        "providers: {mine: {protocol: openai, base_url: 'https://${K}@x'}}",
        "providers: {mine: {protocol: openai, base_url: 'https://x:${K}'}}",
    ],
)
def test_no_message_tells_a_secret(text: str):
    assert SECRET not in "\n".join(mistakes(text, K=SECRET))
    assert mistakes(text, K=SECRET)


def test_no_repr_tells_a_providers_key():
    settings = read("providers: {openai: {api_key: '${K}'}}", K=SECRET)
    assert SECRET not in repr(settings.providers)
    assert settings.providers["openai"].api_key == SECRET


EMPTY = ["", "\n", "# nothing\n", "---\n", "{}\n", "server:\nproviders:\nmodels:\n", "\ufeff"]


@pytest.mark.parametrize("text", EMPTY, ids=map(repr, EMPTY))
def test_an_empty_file_is_all_defaults(text: str):
    settings = read(text)
    assert settings.config == Config()
    assert (settings.keys, settings.providers, settings.off) == ({}, {}, {})


def test_everything():
    settings = read(
        """
server:
  host: "::1"
  port: 0
  max_body: 1 GiB
  max_event: 512KiB
  max_answer: 4096
  timeouts: {connect: 0.5, first_byte: 1e2, between_bytes: 3, write: 4, request_body: 5, total: 86400}
  keep_alive: {after: 1, every: 2}
  capacity: {connections: 1, requests: 2, waiting: 0, wait: 3, bytes: 2GiB}
  cooldown: {failures: 4, seconds: 5, refused_key_seconds: 6}
  cors_origins: []
  allowed_hosts: [llm.example.com, "[::1]"]
  drain: 1
  log: json
keys:
  - {name: laptop, key: "${LAPTOP}"}
  - {name: team, sha256: 5E884898DA28047151D0E56F8DC6292773603D0D6AABBD62A11EF721D1542D8A, models: ["gpt-*"]}
providers:
  openai: {api_key: "${OPENAI}", base_url: "https://eu.example.com/v1/", reasoning: no}
  off: {protocol: openai, base_url: "https://off.example.com", api_key: "${OFF}"}
  a.b: {host: openai, api_key: "${DOTTED}"}
  local: {protocol: openai, base_url: "http://127.0.0.1:11434/v1"}
  echo: {options: {delay: 0.5}}
models:
  gpt-4o: openai
  a: [openai/gpt-4o, echo]
  b: {targets: [echo], defaults: {temperature: 1, words: [1, yes, null, "1", 12:30, 1.10, 0x10], stop: null}}
defaults: {temperature: 0.7, stop: ["a"], logit_bias: {"50256": -100}, user: null}
strict_params: yes
model_facts: {my-model: {context: 8192}}
""",
        LAPTOP="sk-laptop",
        OPENAI="sk-openai",
    )
    assert settings.config.server == ServerConfig(
        host="::1",
        port=0,
        max_body=2**30,
        max_event=512 * 2**10,
        max_answer=4096,
        timeouts=Timeouts(connect=0.5, first_byte=100.0, between_bytes=3.0, write=4.0, request_body=5.0, total=86400.0),
        keep_alive=KeepAlive(after=1.0, every=2.0),
        capacity=CapacityConfig(connections=1, requests=2, waiting=0, wait=3.0, bytes=2**31),
        cooldown=Cooldown(failures=4, seconds=5.0, refused_key_seconds=6.0),
        cors_origins=(),
        allowed_hosts=("llm.example.com", "[::1]"),
        drain=1.0,
        log="json",
    )
    assert settings.keys == {
        hashlib.sha256(b"sk-laptop").hexdigest(): Caller("laptop", ("*",)),
        HEX + "a": Caller("team", ("gpt-*",)),
    }
    on = {name: (to.base_url, to.api_key, to.reasoning) for name, to in settings.providers.items()}
    assert on == {
        "openai": ("https://eu.example.com/v1", "sk-openai", False),
        "local": ("http://127.0.0.1:11434/v1", "", True),
        "echo": ("", "", True),
    }
    assert settings.off == {"off": "OFF", "a.b": "DOTTED"}
    assert settings.providers["echo"].options == {"delay": 0.5}
    words = [1, True, None, "1", "12:30", 1.10, "0x10"]  # an upstream's own parameter, as YAML reads it
    [target] = settings.routes.resolve("b", ("*",))
    assert target.defaults == {"temperature": 1, "words": words, "logit_bias": {"50256": -100}}
    assert settings.config.defaults == {"temperature": 0.7, "stop": ["a"], "logit_bias": {"50256": -100}, "user": None}
    assert settings.config.strict_params is True
    assert list(settings.routes.public(("*",))) == ["gpt-4o", "a", "b"]


@pytest.mark.parametrize(
    "word", ["no", "yes", "on", "null", "~", "1.10", "12:30", "2026-11-23", "0x10", "1e3", "0o17", "=", "007"]
)
def test_texts_stay_texts(word: str):
    settings = read(
        f"providers: {{echo: {{}}}}\nmodels: {{{word}: echo, x: echo/{word}}}\nserver: {{allowed_hosts: ['{word}']}}"
    )
    assert list(settings.config.models) == [word, "x"]
    assert settings.routes.resolve("x", ("*",))[0].upstream.model == word
    assert settings.config.server.allowed_hosts == (word,)


@pytest.mark.parametrize("word", ["no", "1.10", "12:30", "2026-11-23", "0x10", "1e3"])
def test_unquoted_texts_stay_texts(word: str):
    settings = read(f"providers: {{echo: {{}}}}\nkeys:\n- name: {word}\n  key: {word}\n  models: [{word}]")
    [caller] = settings.keys.values()
    assert caller == Caller(word, (word,))
    assert hashlib.sha256(word.encode()).hexdigest() in settings.keys


@pytest.mark.parametrize(
    "word, expected",
    [("true", True), ("Yes", True), ("ON", True), ("false", False), ("no", False), ("'off'", False)],
)
def test_true_and_false(word: str, expected: bool):
    assert read(f"strict_params: {word}").config.strict_params is expected


@pytest.mark.parametrize(
    "text, size",
    [("1024", 1024), ("2KiB", 2048), ("3 MiB", 3 * 2**20), ("1GiB", 2**30), ("4096B", 4096), ("'8MiB'", 8 * 2**20)],
)
def test_sizes(text: str, size: int):
    server = read(f"server: {{max_body: {text}, capacity: {{bytes: 1GiB}}}}").config.server
    assert (server.max_body, server.capacity.bytes) == (size, 2**30)


@pytest.mark.parametrize(
    "text, expected",
    [
        ("${A}", "1"),
        ("x${A}y${B}z", "x1y2z"),
        ("$A", "$A"),
        ("$${A}", "$1"),
        ("${A", "${A"),
        ("'${A}'", "1"),
        ("${C}", "${A}"),
        ("${D}", "}: [\n"),
    ],
)
def test_variables(text: str, expected: str):
    environment = {"A": "1", "B": "2", "C": "${A}", "D": "}: [\n"}
    settings = load(f"server:\n  allowed_hosts:\n  - {text}\n", environment, SMALL)
    assert settings.config.server.allowed_hosts == (expected,)


def test_an_empty_variable_is_not_set():
    assert mistakes("server: {host: '${A}'}", A="") == ["1: server.host: the environment variable A is not set"]
    assert read("providers: {openai: {api_key: '${A}'}}", A="").off == {"openai": "A"}


def test_the_environment_is_not_read(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("OPENAI_API_KEY", SECRET)
    assert read("providers: {openai: {api_key: '${OPENAI_API_KEY}'}}").off == {"openai": "OPENAI_API_KEY"}


def test_a_known_name_brings_protocol_and_address():
    settings = read("providers: {openai: {api_key: a}, mine: {host: openai, api_key: b}}")
    assert {name: (to.base_url, to.host.protocol) for name, to in settings.providers.items()} == {
        "openai": ("https://api.openai.com/v1", "openai"),
        "mine": ("https://api.openai.com/v1", "openai"),
    }


def test_another_protocol_than_the_names_own():
    settings = read("providers: {openai: {protocol: echo}}")
    assert settings.providers["openai"].host.protocol == "echo"


TOKENS = [
    "{",
    "}",
    "[",
    "]",
    ":",
    "- ",
    "\t",
    "'",
    '"',
    "&a ",
    "*a",
    "|",
    "${",
    "\x00",
    "\x85",
    "\ufeff",
    "!!int ",
    "? ",
    "#",
    "é",
    "%",
]


def broken(rng: random.Random, text: str) -> str:
    """A file with one to four accidents: cut, doubled or swapped lines, lost and stray characters."""
    for _ in range(rng.randint(1, 4)):
        lines = text.split("\n")
        i, j = rng.randrange(len(lines)), rng.randrange(len(lines))
        at = rng.randrange(len(text) + 1)
        match rng.randrange(7):
            case 0:
                text = text[:at]
            case 1:
                text = text[:at] + rng.choice(TOKENS) + text[at:]
            case 2:
                text = text[:at] + text[at + rng.randint(1, 5) :]
            case 3:
                lines[i], lines[j] = lines[j], lines[i]
                text = "\n".join(lines)
            case 4:
                text = "\n".join([*lines[:i], lines[j], *lines[i:]])
            case 5:
                lines[i] = lines[i][rng.randint(0, 3) :] if rng.random() < 0.5 else "  " + lines[i]
                text = "\n".join(lines)
            case 6:
                lines[i] = lines[i].replace("# ", "", 1)
                text = "\n".join(lines)
        text = text or " "
    return text


def test_broken_files_raise_nothing_but_config_errors():
    rng = random.Random(20261123)
    outcomes = {"read": 0, "refused": 0}
    for _ in range(200):
        text = broken(rng, EXAMPLE)
        try:
            load(text, {}, SMALL)
            outcomes["read"] += 1
        except ConfigError as error:
            assert error.problems and all(1 <= p.line <= text.count("\n") + 2 and p.message for p in error.problems), (
                text
            )
            outcomes["refused"] += 1
    assert min(outcomes.values()) > 20, outcomes


words = st.sampled_from(
    [
        "server",
        "keys",
        "providers",
        "models",
        "defaults",
        "facts",
        "port",
        "host",
        "timeouts",
        "name",
        "key",
        "sha256",
        "echo",
        "openai",
        "protocol",
        "base_url",
        "targets",
        "options",
        "echo/x",
        "a*",
        "${A}",
        "${B}",
        "8080",
        "no",
        "~",
        "",
    ]
)
nodes = st.recursive(
    words,
    lambda inner: (
        st.lists(inner, max_size=3).map(lambda each: "[" + ", ".join(each) + "]")
        | st.lists(st.tuples(words, inner), max_size=4).map(
            lambda each: "{" + ", ".join(f"{k}: {v}" for k, v in each) + "}"
        )
    ),
    max_leaves=12,
)


@given(st.lists(st.tuples(words, nodes), max_size=5))
def test_any_file_is_read_or_refused(sections: list[tuple[str, str]]):
    text = "".join(f"{name}: {node}\n" for name, node in sections)
    try:
        load(text, {"A": "value"}, SMALL)
    except ConfigError as error:
        assert error.problems


def test_deep_yaml():
    assert "my.yaml:" in f"my.yaml:{mistakes('a: ' + '[' * 5_000)[0]}"


def facts_of(value: Any) -> list[str]:
    return mistakes("{}", facts=value)


def test_a_broken_table_of_models_is_told_too():
    assert facts_of("families: {}\n") == ["1: model_facts: models.yaml: models: expected a mapping of rows"]


def test_the_example_with_the_real_table():
    settings = load(EXAMPLE, {}, FACTS)
    assert settings.off["openai"] == "OPENAI_API_KEY" and list(settings.providers) == ["echo"]
