"""Vercel's AI SDK in front of a real server: two turns with tools, by its default to name earlier items (item_reference).

Skipped where there is no such SDK: MODELSERVER_AI_SDK names a folder whose node_modules hold `ai`, `@ai-sdk/openai` and `zod`.
"""

import json
import os
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
from answers import of_every_protocol
from process import Process
from scripted import Upstream
from test_agents_sdk import UPSTREAMS

FOLDER = os.environ.get("MODELSERVER_AI_SDK")
NODE = shutil.which("node")
pytestmark = pytest.mark.skipif(not (FOLDER and NODE), reason="the AI SDK is not installed")
SCRIPT = """
import { createOpenAI } from "@ai-sdk/openai";
import { generateText, stepCountIs, streamText, tool } from "ai";
import { z } from "zod";

const [baseURL, model, streamed] = process.argv.slice(2);
const asked = [];
const record = (url, init) => (asked.push(JSON.parse(init.body)), fetch(url, init));
const openai = createOpenAI({ baseURL, apiKey: "-", fetch: record });
const get_weather = tool({
  description: "The weather in a city.",
  inputSchema: z.object({ city: z.string() }),
  execute: async ({ city }) => `Sunny in ${city}.`,
});

async function turn(messages) {
  const options = { model: openai(model), messages, tools: { get_weather }, stopWhen: stepCountIs(3), maxRetries: 0 };
  if (streamed === "whole") {
    const result = await generateText(options);
    return [result.text, result.response.messages];
  }
  const result = streamText(options);
  let text = "";
  for await (const piece of result.textStream) text += piece;
  return [text, (await result.response).messages];
}

const messages = [{ role: "user", content: "Weather?" }];
const [first, made] = await turn(messages);
const [second] = await turn([...messages, ...made, { role: "user", content: "And now?" }]);
console.log(JSON.stringify({ said: [first, second], input: asked.at(-1).input.map((item) => item.type ?? item.role) }));
"""


@pytest.mark.parametrize("streamed", ["whole", "streamed"])
@pytest.mark.parametrize("provider", UPSTREAMS)
def test_two_turns_with_tools(upstream: Upstream, tmp_path: Path, provider: str, streamed: str):
    name, call, say = UPSTREAMS[provider]
    model = upstream.script(name, call("get_weather", {"city": "Oslo"}), say("It is sunny."), say("Still sunny."))
    before = len(upstream.of(model))
    (tmp_path / "node_modules").symlink_to(Path(str(FOLDER)) / "node_modules")
    (tmp_path / "run.mjs").write_text(SCRIPT, encoding="utf-8")
    with Process(of_every_protocol(upstream)) as server:
        command = [str(NODE), str(tmp_path / "run.mjs"), server.url, f"{provider}/{model}", streamed]
        done = subprocess.run(command, capture_output=True, text=True, timeout=60)
    print(done.stderr)  # for pytest to show
    told: Any = json.loads(done.stdout)
    assert told["said"] == ["It is sunny.", "Still sunny."]
    assert "item_reference" in told["input"]
    _, _, last = upstream.of(model)[before:]
    assert b"Sunny in Oslo." in last.body and b"It is sunny." in last.body
