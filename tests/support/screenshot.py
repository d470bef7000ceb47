"""Make the picture of the page that the READMEs show, in both languages: python tests/support/screenshot.py

The page is the real one, in Chromium; what the models say is scripted. Debian needs a Chinese font: fonts-wqy-zenhei.
"""

import tempfile
from pathlib import Path
from typing import Any, Final

from browser import CHROMIUM, FLAGS, browsing
from playwright.sync_api import sync_playwright
from process import ROOT, Process, config
from scripted import Upstream, sse, stream

SIZE: Final = {"width": 1200, "height": 720}
MODEL: Final = "claude-opus-5-5"
QUESTIONS: Final = {
    "en": ("en-US", "What does a gateway owe its clients?",
           "Three things:\n\n1. **A cut answer never looks whole.** It ends with an error, and no `[DONE]`.\n"
           "2. **Nothing is dropped silently.** A header names what the model did not take.\n"
           "3. **Budgets hold.** What a request may cost is reserved before it is sent."),
    "zh": ("zh-CN", "网关对客户端负有什么责任？",
           "三件事：\n\n1. **中断的回答绝不会看起来完整。** 它以错误结束，没有 `[DONE]`。\n"
           "2. **绝不悄悄丢掉任何东西。** 响应头写明模型没有接受的参数。\n"
           "3. **预算说到做到。** 请求发出之前，先预留它最多可能花的钱。"),
}  # fmt: skip


def answer(text: str) -> Any:
    def chunk(finish: str | None = None, **delta: Any) -> dict[str, Any]:
        choice = {"index": 0, "delta": delta, "finish_reason": finish}
        return {"id": "c", "object": "chat.completion.chunk", "created": 1, "model": MODEL, "choices": [choice]}

    pieces = [text[at : at + 12] for at in range(0, len(text), 12)]
    usage = {
        "prompt_tokens": 1843,
        "completion_tokens": 96,
        "total_tokens": 1939,
        "prompt_tokens_details": {"cached_tokens": 1536},
    }
    body = [chunk(content=piece) for piece in pieces]
    script = stream(sse(chunk(role="assistant", content=""), *body[:2], done=False), end=False)
    for piece in body[2:]:
        script += [0.04, *stream(sse(piece, done=False), end=False)[1:]]
    return [*script, *stream(sse(chunk("stop"), {**chunk(), "choices": [], "usage": usage}))[1:]]


def picture(page: Any, file: Path) -> None:
    page.screenshot(path=file)
    print(f"{file.relative_to(ROOT)}: {file.stat().st_size // 1000} kB")


def main() -> None:
    with Upstream() as upstream, tempfile.TemporaryDirectory() as folder, sync_playwright() as playwright:
        names = "\n".join(
            f"{name}: openrouter/{MODEL}" for name in (MODEL, "gpt-6-sol", "gemini-4-argon", "deepseek-v4-pro")
        )
        price = "{price: {input: 5, output: 25, cache_read: 0.5}}"
        more = f'usage: {{path: "{folder}/usage.db"}}\ninspector: {{enabled: true}}\nmodel_facts: {{{MODEL}: {price}}}'
        chromium = playwright.chromium.launch(executable_path=CHROMIUM, args=FLAGS)
        provider = f'openrouter: {{base_url: "{upstream.url}/v1", api_key: "sk-upstream-canary"}}'
        with Process(config(more=more, models=names, providers=provider)) as server:
            for language, (locale, question, said) in QUESTIONS.items():
                upstream.script(MODEL, answer(said))
                with browsing(chromium, server.root, locale=locale, viewport=SIZE, color_scheme="light") as browser:
                    browser.open("playground")
                    browser.say(question, MODEL)
                    browser.page.mouse.move(0, 0)
                    picture(browser.page, ROOT / "docs" / f"page.{language}.png")
        chromium.close()


if __name__ == "__main__":
    main()
