"""Log lines about requests for people: what matters first, in one line of a terminal."""

from typing import Any, Final

WIDTH: Final = 119  # columns
_NAME: Final = 40  # columns of a model's name or a path
_COLOURS: Final = {"2": "32", "3": "36", "4": "33", "5": "31"}  # of the status: green, cyan, yellow, red


def text_of(line: dict[str, Any], stamp: str, terminal: bool, colour: bool) -> str:
    """Return a request's line: time, status, model, code, duration, then the rest, without what only repeats these.

    terminal: cut to its width; a file gets all. colour: of the status.
    """
    model, status = line.get("model"), str(line["status"])
    what = model or f"{line['method']} {line['path']}"
    rest = {
        "key": line.get("key") if line.get("key") != "anyone" else None,
        "first": f"{line['first_ms']:.0f}ms" if "first_ms" in line else None,
        "tokens": f"{line['prompt_tokens']}+{line['completion_tokens']}" if "prompt_tokens" in line else None,
        "tried": line.get("tried"),
        "request": line["request"],
        "upstream": line.get("upstream") if line.get("upstream") != model else None,
    }
    words = [what[:_NAME] if terminal else what, line.get("code"), f"{line['total_ms']:.0f}ms"]
    words += [f"{name}={value}" for name, value in rest.items() if value]
    text = " ".join([stamp, status, *(word for word in words if word)])
    # A model's name may be a client's invention: it must not move the cursor or feign a line.
    text = text if text.isprintable() else text.encode("unicode_escape").decode()
    if terminal and len(text) > WIDTH:
        text = f"{text[: WIDTH - 1]}…"
    if colour:
        start = len(stamp) + 1
        text = f"{stamp} \x1b[{_COLOURS.get(status[0], '0')}m{status}\x1b[0m{text[start + len(status) :]}"
    return text
