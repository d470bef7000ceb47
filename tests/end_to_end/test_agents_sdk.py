"""The OpenAI Agents SDK in front of a real server: a loop of tools, a handoff, streamed, by native and translated answers.

Skipped where the SDK is not installed: it is none of the tests' requirements.
"""

import asyncio
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from answers import chat_call, chat_text, claude_call, claude_text, gemini, gemini_call, native, of_every_protocol
from process import Process
from responses_in import stream as rendered
from scripted import Script, Upstream, stream

from providers.chunks import chunk, usage_chunk

agents = pytest.importorskip("agents", reason="the Agents SDK is not installed")
from openai import AsyncOpenAI  # noqa: E402


def native_call(name: str, arguments: Any) -> Script:
    item = {"type": "function_call", "id": f"fc_{name}", "call_id": f"call_{name}", "name": name, "status": "completed"}
    return native({**item, "arguments": "{}" if not arguments else '{"city": "Oslo"}'})


def native_text(text: str) -> Script:
    """A whole stream of the Responses API, by an upstream with ids of its own."""
    usage = usage_chunk({"prompt_tokens": 10, "completion_tokens": 3, "total_tokens": 13})
    data = rendered([chunk({"content": text}), chunk({}, "stop"), usage])
    return stream(data.replace(b"_ms", b"_up"))


# Provider → a model of it, how its upstream calls a tool, and how it says a text.
UPSTREAMS: dict[str, tuple[str, Callable[[str, Any], Script], Callable[[str], Script]]] = {
    "chat": ("agents-m", chat_call, chat_text),
    "claude": ("claude-sonnet-4-5", claude_call, claude_text),
    "gemini": ("gemini-2.5-flash", gemini_call, lambda text: gemini({"text": text})),
    "openai": ("gpt-agents", native_call, native_text),
}


@pytest.fixture(scope="module")
def server(upstream: Upstream) -> Iterator[Process]:
    with Process(of_every_protocol(upstream)) as process:
        yield process


def ran(server: Process, agent: Any, streamed: bool) -> tuple[Any, list[str]]:
    """The result of a run, and the names of what its stream told."""

    async def run() -> tuple[Any, list[str]]:
        async with AsyncOpenAI(base_url=server.url, api_key="-", max_retries=0) as client:
            provider = agents.OpenAIProvider(openai_client=client, use_responses=True)
            config = agents.RunConfig(model_provider=provider, tracing_disabled=True)
            if not streamed:
                return await agents.Runner.run(agent, "Weather?", run_config=config, max_turns=4), []
            result = agents.Runner.run_streamed(agent, "Weather?", run_config=config, max_turns=4)
            told = [event.name async for event in result.stream_events() if event.type == "run_item_stream_event"]
            return result, told

    return asyncio.run(run())


@agents.function_tool
def get_weather(city: str) -> str:
    """The weather in a city."""
    return f"Sunny in {city}."


@pytest.mark.parametrize("streamed", [False, True], ids=["whole", "streamed"])
@pytest.mark.parametrize("provider", UPSTREAMS)
def test_a_loop_of_tools(server: Process, upstream: Upstream, provider: str, streamed: bool):
    name, call, say = UPSTREAMS[provider]
    model = upstream.script(name, call("get_weather", {"city": "Oslo"}), say("It is sunny."))
    before = len(upstream.of(model))
    agent = agents.Agent(name="Weather", model=f"{provider}/{model}", tools=[get_weather])
    result, told = ran(server, agent, streamed)
    assert result.final_output == "It is sunny."
    assert told == (["tool_called", "tool_output", "message_output_created"] if streamed else [])
    assert b"Sunny in Oslo." in upstream.of(model)[before + 1].body


@pytest.mark.parametrize("streamed", [False, True], ids=["whole", "streamed"])
@pytest.mark.parametrize("provider", UPSTREAMS)
def test_a_handoff(server: Process, upstream: Upstream, provider: str, streamed: bool):
    name, call, say = UPSTREAMS[provider]
    model = f"{provider}/{upstream.script(name, call('transfer_to_weather', {}), say('Rain.'))}"
    weather = agents.Agent(name="Weather", model=model)
    result, told = ran(server, agents.Agent(name="Front", model=model, handoffs=[weather]), streamed)
    assert (result.final_output, result.last_agent.name) == ("Rain.", "Weather")
    # The second name is spelt so there.
    assert told == (["handoff_requested", "handoff_occured", "message_output_created"] if streamed else [])


def test_echo(server: Process):
    result, _ = ran(server, agents.Agent(name="Parrot", model="echo"), False)
    assert result.final_output == "Weather?"
