"""The documentation's table of providers, its hosts in YAML, and config.yaml: what they say is what the code does."""

import re

import pytest
import yaml
from model_table import FACTS
from openai import OpenAI
from process import ROOT, Process

from gateway.config import load
from gateway.routing import ModelRouter
from gateway.settings import Settings
from providers import PROVIDERS
from providers.contract import Json, no_embeddings
from providers.hosts import HOSTS, Host
from providers.model_table import ModelTable
from providers.models import ModelFacts

LANGUAGES = ("en", "zh")
TEXT = (ROOT / "config.yaml").read_text(encoding="utf-8")
EXAMPLE: Json = yaml.load(TEXT, Loader=yaml.CSafeLoader)
MODELS = ModelTable.parse(FACTS)
PAGE = ("gpt-5.2", "gpt-4o", "gpt-4o-mini", "o1", "o3-mini", "claude-sonnet-4", "claude-3.5-sonnet", "claude-3-opus",
        "gemini-pro", "deepseek-r1", "llama-3.1")  # fmt: skip
EMBEDDINGS = ("text-embedding-3-small", "text-embedding-3-large", "gemini-embedding-001")


def page(language: str, name: str) -> str:
    return (ROOT / "docs" / language / f"{name}.md").read_text(encoding="utf-8")


def variables(provider: str) -> list[str]:
    return re.findall(r"\$\{(\w+)\}", str(EXAMPLE["providers"][provider]))


def targets(public: str) -> list[tuple[str, str]]:
    """Provider and model of each target of a public name in the example."""
    given = EXAMPLE["models"][public]
    pairs = [each.partition("/") for each in ([given] if isinstance(given, str) else given)]
    return [(provider, model or public) for provider, _, model in pairs]


def row(provider: str) -> str:
    """A provider's line of the table."""
    names = [name for name in EXAMPLE["models"] if any(by == provider for by, _ in targets(name))]
    if provider == "echo":
        return "| `echo` | – | echo, echo-429, echo-slow … |"
    needs = ", ".join(f"`{variable}`" for variable in variables(provider))
    return f"| `{provider}` | {needs} | {', '.join(names) or f'`{provider}/…`'} |"


@pytest.mark.parametrize("language", LANGUAGES)
def test_the_table_of_providers(language: str) -> None:
    lines = [line for line in page(language, "models").splitlines() if line.startswith("| `")]
    assert lines[: len(HOSTS)] == [row(provider) for provider in EXAMPLE["providers"]]


def test_every_known_host_is_in_the_example() -> None:
    assert EXAMPLE["providers"].keys() == HOSTS.keys()
    for provider, host in HOSTS.items():
        if host.key_variable:
            assert host.key_variable in variables(provider)


@pytest.mark.parametrize("language", LANGUAGES)
def test_both_tell_of_embeddings_and_of_what_is_dropped(language: str) -> None:
    assert "| `POST /v1/embeddings` |" in page(language, "api")
    text = page(language, "models")
    words = (
        "x-modelserver-dropped",
        "unsupported_value",
        "strict_params: true",
        "providers/hosts.py",
        "providers/models.yaml",
    )
    for word in words:
        assert word in text, word


@pytest.mark.parametrize("language", LANGUAGES)
def test_the_hosts_in_the_documentation_are_read(language: str) -> None:
    [block] = re.findall(r"```yaml\n(providers:\n.*?)```", page(language, "configuration"), re.S)
    settings = load(block, {"MY_KEY": "k"}, FACTS)
    assert settings.providers["mine"].host == Host()
    assert settings.providers["lab"].host.drop == ("seed",)
    assert settings.providers["lab"].base_url == "http://10.0.0.5:8000/v1"


def example(**environment: str) -> Settings:
    return load(TEXT, environment, FACTS)


def test_with_nothing_set_only_echo_is_on() -> None:
    settings = example()
    assert list(settings.providers) == ["echo"]
    assert list(settings.routes.public(("*",))) == ["echo"]


def everything() -> ModelRouter:
    return example(
        **{
            variable: "https://x.example.com/v1" if variable.endswith(("_URL", "_ENDPOINT")) else "k"
            for provider in EXAMPLE["providers"]
            for variable in variables(provider)
        }
    ).routes


def test_with_everything_set_every_model_is_served() -> None:
    public = everything().public(("*",))
    listed = [name for name in EXAMPLE["models"] if "*" not in name]
    assert list(public) == listed
    assert set(PAGE) <= public.keys()
    assert 40 <= len(listed) <= 60
    for name, found in public.items():
        assert [(target.upstream.name, target.upstream.model) for target in found] == targets(name)


@pytest.mark.parametrize("public", [name for name in EXAMPLE["models"] if "echo" not in name])
def test_every_model_ends_at_a_living_one(public: str) -> None:
    """The last target of each is known and has not been shut down by the day of the facts."""
    today = re.search(r"as_of\s+(\S+)", FACTS)
    assert today
    provider, model = targets(public)[-1]
    facts = MODELS.of(model, provider)
    assert facts.shutdown is None or facts.shutdown > today[1]
    if public in EMBEDDINGS:
        assert HOSTS[provider].protocol in {
            name for name, each in PROVIDERS.items() if each.build_embeddings is not no_embeddings
        }
    else:
        assert facts != ModelFacts(), f"{provider}/{model} is not in models.yaml"
        assert facts.price or HOSTS[provider].free, f"{provider}/{model} has no price, so nobody sells it"


def test_the_example_serves_echo_with_no_environment_at_all() -> None:
    with Process(re.sub(r"(?m)^  port: 8080 .*$", "  port: 0", TEXT)) as server:
        with OpenAI(base_url=server.url, api_key="-", max_retries=0) as sdk:
            found = sdk.chat.completions.create(model="echo", messages=[{"role": "user", "content": "Hello!"}])
            assert found.choices[0].message.content == "Hello!"
            assert [model.id for model in sdk.models.list()] == ["echo"]
        assert "  off  openai, anthropic, gemini, " in server.out
