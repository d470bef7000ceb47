"""The page's playground: conversations, settings, images, failures, and what models say."""

import json
import re
from typing import Any

import pytest
from browser import EVIL, PAYLOADS, Browsing, Scripted, browsing, chunk, paste, png, said
from process import Process, config
from scripted import FOREVER, Upstream, answer, chunked, sse, stream


def test_a_streamed_answer(browser: Browsing) -> None:
    browser.open("playground")
    turn = browser.say("Hello, 世界! <b>&amp;")
    assert turn.locator(".said").inner_text() == "Hello, 世界! <b>&amp;"
    stats = turn.locator(".stats").inner_text()
    assert all(name in stats for name in ("first token", "total", "in", "out", "cost", "$0", "stop", "echo/echo"))
    turn.locator("summary", has_text="Wire").click()
    assert '"include_usage": true' in turn.locator(".raw pre").nth(0).inner_text()
    assert "x-request-id: req_" in turn.locator(".raw pre").nth(1).inner_text()
    assert "data: [DONE]" in turn.locator(".raw pre").nth(2).inner_text()
    again = browser.say("And you?")
    body = json.loads(again.locator(".raw pre").nth(0).text_content())
    assert [message["role"] for message in body["messages"]] == ["user", "assistant", "user"]


def test_every_control_reaches_the_request(browser: Browsing) -> None:
    page = browser.open("playground")
    page.fill("#play-system", "Be brief.")
    page.fill("#play-temperature", "0.3")
    page.fill("#play-max", "2")
    page.select_option("#play-effort", "low")
    page.uncheck("#play-stream")
    turn = browser.say("one two three four")
    assert turn.locator(".said").inner_text() == "one two" and "low effort" in turn.locator(".thinking").inner_text()
    assert "length" in turn.locator(".stats").inner_text()
    body = json.loads(turn.locator(".raw pre").nth(0).text_content())
    assert body == {
        "model": "echo",
        "messages": [{"role": "system", "content": "Be brief."}, {"role": "user", "content": "one two three four"}],
        "temperature": 0.3,
        "max_tokens": 2,
        "reasoning_effort": "low",
    }


def test_structured_output_and_a_wrong_schema(browser: Browsing) -> None:
    page = browser.open("playground")
    page.click(".more summary")
    page.locator(".more button", has_text="Insert example").nth(1).click()
    assert json.loads(browser.say("A city").locator(".said pre").inner_text()) == {"city": "echo", "population": 1}
    page.fill("#play-schema", "{")
    page.fill("#play-message", "again")
    page.click("#play-send")
    page.locator("#toast.shown", has_text="is not valid JSON").wait_for()
    assert page.locator(".turn").count() == 2


def test_tool_calls(browser: Browsing) -> None:
    page = browser.open("playground")
    page.click(".more summary")
    page.locator(".more button", has_text="Insert example").nth(0).click()
    turn = browser.say("The weather in Paris?")
    assert (
        "get_weather" in turn.locator(".call").inner_text() and '"city": "echo"' in turn.locator(".args").inner_text()
    )
    turn.locator("textarea").fill('{"celsius": 21}')
    page.click("#play-results")
    final = page.locator(".turn.assistant").nth(1)
    final.locator(".stats").wait_for()
    assert '{"celsius": 21}' in page.locator(".turn.tool").inner_text()
    assert final.locator(".said").inner_text() == "The weather in Paris?"


MARKDOWN = """# Title

A **bold** and *slanted* `code` [good](https://good.example/a) [bad](javascript:alert(1)) [data](data:text/html,x)
![pixel](https://evil.example/x.png) <img src=//evil.example/y onerror=alert(1)> <script>alert(1)</script>

1. one
   - inner
2. two

| Left | Right |
|------|------:|
| a    | <b>b  |

```html
<script>alert(1)</script>
```

> quoted [worse](vbscript:x)"""


def test_markdown_is_drawn_and_inert(browser: Browsing) -> None:
    """Structure becomes elements; whatever would load, run or lead elsewhere than to http(s) and mail stays text."""
    page = browser.open("playground")
    page.context.grant_permissions(["clipboard-read", "clipboard-write"])
    said = browser.say(MARKDOWN).locator(".said")
    names = said.evaluate("one => [...new Set([...one.querySelectorAll('*')].map(each => each.localName))].sort()")
    assert names == [
        *("a", "blockquote", "button", "code", "div", "em", "figcaption", "figure", "li", "ol", "p", "pre", "span"),
        *("strong", "table", "tbody", "td", "th", "thead", "tr", "ul"),
    ]
    links = said.locator("a").evaluate_all("all => all.map(one => [one.textContent, one.href, one.rel, one.target])")
    safe = ["noopener noreferrer nofollow", "_blank"]
    assert links == [
        ["good", "https://good.example/a", *safe],
        ["pixel (https://evil.example/x.png)", "https://evil.example/x.png", *safe],
    ]
    text = said.inner_text()
    assert "[bad](javascript:alert(1))" in text and "[data](data:text/html,x)" in text and "(vbscript:x)" in text
    assert "<img src=//evil.example/y onerror=alert(1)>" in text and said.locator("[role=heading]").count() == 1
    assert said.locator("ol > li").count() == 2 and said.locator("ol ul li").inner_text() == "inner"
    assert [each.strip() for each in said.locator("tr").all_inner_texts()] == ["Left\tRight", "a\t<b>b"]
    said.locator(".copy").click()
    assert page.evaluate("navigator.clipboard.readText()") == "<script>alert(1)</script>"
    page.locator(".turn.assistant .actions >> text=Copy").click()
    assert page.evaluate("navigator.clipboard.readText()") == MARKDOWN
    toast, composer = page.locator("#toast.shown").bounding_box(), page.locator(".composer").bounding_box()
    assert toast["y"] + toast["height"] < composer["y"]


def test_markdown_that_grows_is_drawn_as_the_whole(browser: Browsing) -> None:
    """Cut at every place, and drawn piece by piece, it ends as what it is when drawn at once."""
    page = browser.open("playground")
    module = page.evaluate(
        "performance.getEntriesByType('resource').map(one => one.name).find(name => name.includes('/markdown.'))"
    )
    differ = page.evaluate(
        """async ([module, source]) => {
            const { Markdown, markdown } = await import(module);
            const whole = markdown(source).innerHTML, wrong = [];
            for (let step = 1; step < 40; step += 1) {
                const node = document.createElement("div"), drawn = new Markdown(node);
                for (let at = step; at < source.length; at += step) drawn.draw(source.slice(0, at));
                drawn.draw(source);
                if (node.innerHTML !== whole) wrong.push(step);
            }
            return wrong;
        }""",
        [module, MARKDOWN + "\n\n- a\n\n- b\n  c\n\nend\n***\n~~~\nopen"],
    )
    assert differ == []


def test_markdown_takes_time_in_proportion(browser: Browsing) -> None:
    """What makes other parsers slow is drawn before the test's patience is over."""
    page = browser.open("playground")
    module = page.evaluate(
        "performance.getEntriesByType('resource').map(one => one.name).find(name => name.includes('/markdown.'))"
    )
    for unit in ("**a ", "[", "![a](", "`", "_a", "> ", "- ", "| a ", "  - x\n", "~~a ", "<", "\\"):
        page.evaluate("async ([module, text]) => void (await import(module)).markdown(text)", [module, unit * 30_000])


def test_enter_sends_and_shift_enter_breaks(browser: Browsing) -> None:
    page = browser.open()
    page.click("#views >> text=Playground")
    page.wait_for_function("() => document.activeElement.id === 'play-message'")  # who has come here can write
    page.locator("#play-model option").nth(1).wait_for(state="attached")
    page.select_option("#play-model", "echo")
    page.wait_for_function("() => document.activeElement.id === 'play-message' || document.activeElement.blur()")
    page.focus("#play-message")
    page.keyboard.type("one")
    page.keyboard.press("Shift+Enter")
    page.keyboard.type("two")
    page.locator("#play-message").dispatch_event("keydown", {"key": "Enter", "isComposing": True})  # ends a word
    assert page.locator(".turn").count() == 0
    page.keyboard.press("Enter")
    page.locator(".turn.assistant .stats").wait_for()
    assert page.locator(".turn.user .said").inner_text() == "one\ntwo" and page.input_value("#play-message") == ""
    page.wait_for_function("() => document.activeElement.id === 'play-message'")


def test_a_conversation_outlasts_a_reload(browser: Browsing) -> None:
    page = browser.open("playground")
    page.fill("#play-system", "Be brief.")
    page.locator("#play-sampling summary").click()
    page.fill("#play-seed", "7")
    page.select_option("#play-effort", "low")
    browser.say("Remember **this**", "resilient")
    page.fill("#play-message", "half a thought")
    page.reload()
    page.locator(".turn.assistant .stats").wait_for()
    assert page.locator(".turn.user .said").inner_text() == "Remember **this**"
    assert page.locator(".turn.assistant strong").inner_text() == "this"
    assert page.input_value("#play-message") == "half a thought" and page.input_value("#play-seed") == "7"
    page.wait_for_function("() => document.querySelector('#play-model').value === 'resilient'")
    assert page.input_value("#play-effort") == "low" and page.input_value("#play-system") == "Be brief."
    body = json.loads(browser.say("And now?").locator(".raw pre").nth(0).text_content())
    assert [each["role"] for each in body["messages"]] == ["system", "user", "assistant", "user"]
    other = page.context.new_page()
    other.goto(f"{browser.root}/#playground")
    other.locator("#play-model option").nth(1).wait_for(state="attached")
    assert other.locator(".turn").count() == 0  # it stays in its tab
    page.click("#play-new")
    page.reload()
    page.locator("#play-log .empty").wait_for()


def test_a_turn_is_edited_asked_again_and_deleted(browser: Browsing) -> None:
    page = browser.open("playground")
    for text in ("first", "second"):
        browser.say(text)
    said = page.locator(".turn .said")
    page.locator(".turn.user").nth(0).locator("text=Edit").click()
    page.locator(".edit textarea").fill("changed")
    page.locator(".edit button.primary").click()
    page.wait_for_function("() => document.querySelectorAll('.turn .stats').length === 1")
    assert said.all_inner_texts() == ["changed", "changed"]  # sent again from there
    page.locator(".turn.assistant >> text=Edit").click()
    page.locator(".edit textarea").fill("my own words")
    page.locator(".edit button.primary").click()
    assert said.all_inner_texts() == ["changed", "my own words"]
    page.locator(".turn.assistant >> text=Retry").click()
    page.wait_for_function("() => document.querySelector('.turn.assistant .said')?.innerText === 'changed'")
    browser.say("third")
    page.locator(".turn.user").nth(0).locator("text=Delete").click()
    assert said.all_inner_texts() == ["changed", "third", "third"]


def sides(page: Any) -> list[list[str]]:
    """What each of two models said, exchange by exchange."""
    rows = page.locator(".columns").all()
    return [
        [" / ".join(each.locator(".said").all_inner_texts()) for each in row.locator(".column").all()] for row in rows
    ]


def test_two_models_side_by_side(browser: Browsing, upstream: Upstream, scripted: Scripted) -> None:
    """Both answer at once, each goes on from what it said itself, and what fails on one side leaves the other alone."""
    name = scripted(said("I am the other."), said("Still the other."), answer({"error": {"message": "gone"}}, 400))
    page = browser.page
    page.route(
        "**/v1/models",
        lambda route: route.fulfill(
            json={"data": [*route.fetch().json()["data"], {"id": f"up/{name}", "owned_by": "up"}]}
        ),
    )
    browser.open("playground")
    page.select_option("#play-second", f"up/{name}")
    browser.say("one")
    page.wait_for_function("() => document.querySelectorAll('.column .stats').length === 2")
    assert sides(page) == [["one", "I am the other."]]
    assert page.locator(".column h2").all_inner_texts() == ["echo", f"up/{name}"]
    boxes = [each.bounding_box() for each in page.locator(".column").all()]
    assert boxes[0]["y"] == boxes[1]["y"] and boxes[0]["x"] + boxes[0]["width"] < boxes[1]["x"]
    browser.say("two")
    page.wait_for_function("() => document.querySelectorAll('.column .stats').length === 4")
    told = [[each["content"] for each in request.json["messages"]] for request in upstream.of(name)]
    assert told == [["one"], ["one", "I am the other.", "two"]]
    mine = json.loads(page.locator(".column").nth(2).locator(".raw pre").nth(0).text_content())
    assert [each["content"] for each in mine["messages"]] == ["one", "one", "two"]
    browser.expected.add(400)
    page.locator(".column").nth(3).locator("text=Retry").click()
    page.locator(".column .failure").wait_for()
    assert sides(page)[-1] == ["two", ""]
    page.reload()  # and so it stays
    page.wait_for_function(f"() => document.querySelector('#play-second').value === 'up/{name}'")
    assert sides(page) == [["one", "I am the other."], ["two", ""]]
    page.select_option("#play-second", "")
    browser.say("three")
    body = json.loads(page.locator("#play-log > .turn.assistant").last.locator(".raw pre").nth(0).text_content())
    assert [each["content"] for each in body["messages"]] == ["one", "one", "two", "two", "three"]
    page.set_viewport_size({"width": 390, "height": 800})
    boxes = [each.bounding_box() for each in page.locator(".column").all()]
    assert boxes[0]["x"] == boxes[1]["x"] and boxes[0]["y"] < boxes[1]["y"]


def test_tools_are_answered_on_their_own_side(browser: Browsing) -> None:
    page = browser.open("playground")
    page.select_option("#play-second", "echo")
    page.click(".more summary")
    page.locator(".more button", has_text="Insert example").nth(0).click()
    browser.say("The weather?")
    page.wait_for_function("() => document.querySelectorAll('.column .stats').length === 2")
    right = page.locator(".column").nth(1)
    right.locator("#play-results").click()
    right.locator(".turn.assistant").nth(1).locator(".stats").wait_for()
    assert page.locator(".column").nth(0).locator(".turn").count() == 1
    assert right.locator(".turn.tool").count() == 1 and right.locator(".said").last.inner_text() == "The weather?"
    page.locator(".column").nth(0).locator("#play-results").click()  # which still waits for its own
    page.locator(".column").nth(0).locator(".turn.assistant").nth(1).locator(".stats").wait_for()
    assert [each.locator(".turn").count() for each in page.locator(".column").all()] == [3, 3]


def test_stop_ends_both(browser: Browsing, upstream: Upstream, scripted: Scripted) -> None:
    half = stream(sse(chunk(role="assistant", content=""), chunk(content="half of"), done=False), end=False)
    name = scripted([*half, FOREVER])
    page = browser.page
    page.route("**/v1/models", lambda route: route.fulfill(json={"data": [{"id": f"up/{name}", "owned_by": "up"}]}))
    browser.open("playground")
    page.select_option("#play-model", f"up/{name}")
    page.select_option("#play-second", f"up/{name}")
    page.fill("#play-message", "Go")
    page.click("#play-send")
    page.locator(".column .said", has_text="half of").nth(1).wait_for()
    page.click("#play-stop")
    page.wait_for_function("() => document.querySelectorAll('.column .stats').length === 2")
    assert [("Stopped" in text) for text in page.locator(".column").all_inner_texts()] == [True, True]
    assert page.locator("#play-send").is_visible()


def test_all_parameters(browser: Browsing) -> None:
    page = browser.open("playground")
    page.locator("#play-sampling summary").click()
    for name, value in (("top-p", "0.5"), ("seed", "7"), ("n", "2"), ("presence", "0.1"), ("frequency", "-1")):
        page.fill(f"#play-{name}", value)
    page.fill("#play-ends", "END\n\\n\\n")
    page.fill("#play-extra", '{"user": "me", "n": 1}')
    body = json.loads(browser.say("Hi").locator(".raw pre").nth(0).text_content())
    assert body == {
        "model": "echo",
        "messages": [{"role": "user", "content": "Hi"}],
        "stream": True,
        "stream_options": {"include_usage": True},
        "top_p": 0.5,
        "seed": 7,
        "n": 1,
        "presence_penalty": 0.1,
        "frequency_penalty": -1,
        "stop": ["END", "\n\n"],
        "user": "me",
    }
    page.fill("#play-extra", "[1]")
    page.fill("#play-message", "again")
    page.click("#play-send")
    page.locator("#toast.shown", has_text="is not valid JSON").wait_for()


def test_every_choice_is_shown(browser: Browsing, scripted: Scripted) -> None:
    second = {
        **chunk(content="the other <b>"),
        "choices": [{**chunk(content="the other <b>")["choices"][0], "index": 1}],
    }
    page = browser.open("playground")
    page.locator("#play-sampling summary").click()
    page.fill("#play-n", "2")
    turn = browser.say("Go", f"up/{scripted(said('the one', second))}")
    assert turn.locator(".said").all_inner_texts() == ["the one", "the other <b>"]


def test_where_a_request_would_go(browser: Browsing) -> None:
    page = browser.open("playground")
    page.select_option("#play-model", "resilient")
    page.fill("#play-message", "Hello")
    page.click("#play-explain")
    targets = page.locator("#explain-dialog li")
    targets.nth(1).wait_for()
    assert [text.split("\n")[0] for text in targets.locator("h3").all_inner_texts()] == ["echo/echo-503", "echo/echo"]
    assert targets.locator(".state").all_inner_texts() == ["asked first", "asked next if that fails"]
    assert '"content": "Hello"' in targets.nth(1).locator("pre").text_content()
    page.locator("#explain-dialog button", has_text="Close").click()
    assert page.locator(".turn").count() == 0 and page.locator("#explain-dialog").is_hidden()
    browser.expected.add(404)
    page.select_option("#play-model", "\0other")
    page.fill("#play-other", "no-such-model")
    page.click("#play-explain")
    page.locator("#explain-dialog .failure code", has_text="model_not_found").wait_for()


def test_images(browser: Browsing) -> None:
    page = browser.open("playground")
    paste(page, "pasted.png", png(5, 4))
    page.locator("#play-images img").wait_for()
    paste(page, "dropped.png", png(7, 6), event="drop")
    page.locator("#play-images figure").nth(1).wait_for()
    page.set_input_files("#play-file", {"name": "chosen.png", "mimeType": "image/png", "buffer": png(9, 8)})
    page.locator("#play-images figure").nth(2).wait_for()
    page.fill("#play-url", "https://evil.example/cat.png")  # shown as text: nothing is fetched from other hosts
    page.click("#play-add-url")
    page.locator("#play-images figure").nth(3).wait_for()
    paste(page, "notes.txt", b"hi", "text/plain")
    page.locator("#toast.shown", has_text="notes.txt is not an image").or_(
        page.locator("#toast.shown", has_text="notes.txt: is not an image")
    ).wait_for()
    page.locator("#play-images button").nth(1).click()
    answered = browser.say("See:").locator(".said").inner_text()
    assert "[image/png, 5 x 4 pixels]" in answered and "[image/png, 9 x 8 pixels]" in answered
    assert "by URL" in answered and "7 x 6" not in answered


def test_stop_reaches_the_upstream(browser: Browsing, upstream: Upstream, scripted: Scripted) -> None:
    half = stream(sse(chunk(role="assistant", content=""), chunk(content="half of"), done=False), end=False)
    name = scripted([*half, FOREVER])
    page = browser.open("playground")
    page.select_option("#play-model", "\0other")
    page.fill("#play-other", f"up/{name}")
    page.fill("#play-message", "Go")
    page.click("#play-send")
    page.locator(".said", has_text="half of").wait_for()
    page.click("#play-stop")
    request = upstream.wait(name)
    request.wait_left()
    assert request.peer_left
    turn = page.locator(".turn.assistant")
    turn.locator(".stats").wait_for()
    assert "Stopped" in turn.inner_text() and "half of" in turn.inner_text()
    assert page.locator("#play-send").is_visible() and page.locator("#play-stop").is_hidden()


@pytest.mark.parametrize(
    ("model", "status", "happened", "first"),
    [
        ("echo-429", 429, "Too many requests · rate_limit_exceeded HTTP 429", "wait 1 s, then try again."),
        ("echo-error", 502, "The upstream failed · upstream_error HTTP 502", "try again; an operator"),
        ("echo-end", 200, "The stream broke off · upstream_truncated", "the upstream's answer is incomplete"),
        ("no-such-model", 404, "There is no such model or address · model_not_found HTTP 404", "see GET /v1/models"),
    ],
)
def test_errors_in_words(browser: Browsing, model: str, status: int, happened: str, first: str) -> None:
    """What happened, a sentence, what to do first; the JSON as it came is folded, and no 200 is called an error."""
    browser.expected.add(status)
    page = browser.open("playground")
    failure = browser.say("This will go wrong", model).locator(".failure")
    assert failure.locator(".happened").inner_text() == happened
    assert failure.locator(".first").inner_text().startswith(f"First: {first}")
    assert failure.locator(".says").inner_text() and "HTTP 200" not in failure.inner_text()
    assert failure.locator("pre").is_hidden()
    error = json.loads(failure.locator("pre").text_content())["error"]
    assert error["message"] == failure.locator(".says").text_content()
    assert page.locator(".raw pre").nth(2).text_content()
    failure.locator("button", has_text="Retry").click()
    page.locator(".turn.assistant:not(.busy) .failure .happened", has_text=happened).wait_for()
    assert page.locator(".turn").count() == 2
    assert browser.say("And on we go").locator(".said").inner_text() == "And on we go"


def test_an_error_in_the_middle(browser: Browsing, scripted: Scripted) -> None:
    wrong = sse({"error": {"message": "The roof is on fire.", "type": "server_error"}}, done=False)
    half = stream(sse(chunk(role="assistant", content=""), chunk(content="half of"), done=False), end=False)
    browser.open("playground")
    turn = browser.say("Go", f"up/{scripted([*half, 0.3, *chunked(wrong)])}")
    assert turn.locator(".said").inner_text() == "half of" and "on fire" in turn.locator(".failure").inner_text()
    assert "The stream broke off" in turn.inner_text() and "HTTP 200" not in turn.locator(".failure").inner_text()
    assert "[DONE]" not in turn.locator(".raw").text_content()


def test_the_cost_is_that_of_whoever_answered(chromium: Any, upstream: Upstream) -> None:
    """Not of the target that the model's card speaks of; unknown where the price is."""
    usage = {"prompt_tokens": 1000, "completion_tokens": 500, "total_tokens": 1500}
    whole = answer(
        {
            "choices": [{"index": 0, "message": {"role": "assistant", "content": "Hi"}, "finish_reason": "stop"}],
            "usage": usage,
        }
    )
    for name in ("cheap", "dear", "unpriced"):
        upstream.script(name, whole)
    upstream.script("gone", answer({"error": {"message": "gone"}}, 404))
    prices = {"dear": (30, 60), "gone": (1, 2), "cheap": (1, 2)}
    facts = "model_facts:\n" + "".join(
        f"  {name}: {{price: {{input: {asked}, output: {said}}}}}\n" for name, (asked, said) in prices.items()
    )
    models = "first: up/cheap\nsecond: [up/gone, up/dear]\nthird: [up/gone, up/unpriced]"
    with Process(config(upstream, facts, models=models)) as server, browsing(chromium, server.root) as browser:
        page = browser.open("playground")
        page.uncheck("#play-stream")
        for model, cost in (("first", "≈ $0.002"), ("second", "≈ $0.06"), ("third", "unknown")):
            stats = browser.say("Hi", model).locator(".stats > div", has_text="cost").inner_text()
            assert stats.split("\n")[-1].strip() == cost, model


def test_what_was_dropped_is_shown(browser: Browsing, scripted: Scripted) -> None:
    page = browser.open("playground")
    page.route(
        "**/v1/chat/completions",
        lambda route: route.fulfill(
            response=(got := route.fetch()), headers={**got.headers, "x-modelserver-dropped": "top_k"}
        ),
    )
    assert "dropped or changed\ntop_k" in re.sub(r"\s*\n\s*", "\n", browser.say("Hi").locator(".stats").inner_text())


def test_model_output_never_becomes_html(browser: Browsing, upstream: Upstream) -> None:
    page = browser.open("playground")
    assert len(PAYLOADS) >= 30
    browser.expected.add(400)
    for text in PAYLOADS:
        call = {
            "index": 0,
            "id": text,
            "type": "function",
            "function": {"name": text, "arguments": json.dumps({"x": text})},
        }
        whole = stream(sse(chunk(role="assistant", content=""), chunk(reasoning_content=text), chunk(content=text),
                           chunk(tool_calls=[call]), chunk("tool_calls")))  # fmt: skip
        wrong = answer({"error": {"message": text, "type": text, "code": text, "param": text}}, 400)
        upstream.script("tight", whole, wrong)
        turn = browser.say(text, "tight")
        shown = f"x (https:{EVIL})" if text.startswith("![") else text  # an image is only a link
        assert turn.locator(".said").text_content() == shown and turn.locator(".thinking pre").text_content() == text
        turn = browser.say(text, "tight")
        assert json.loads(turn.locator(".failure pre").text_content())["error"]["message"] == text
        assert turn.locator(".failure .says").text_content() == text
        page.click("#play-new")
    page.wait_for_timeout(300)  # for what would have been loaded
