"""Tool calls and their results in pairs, as nearly every host demands: each call answered at once, nothing else answered.

Agents trim their history, and are interrupted. What lost its other half in the past is kept as far as it can be: a result
that came later is moved behind its call, one whose call is gone becomes a user's text, and a call that nobody answered gets
a result that says so. Calls of the last turn are another matter: their results are what the request is to bring.
"""

from collections import Counter
from collections.abc import Iterator
from typing import Any, Final, NoReturn

from providers.common.tools import called_name
from providers.contract import Json
from providers.errors import BadRequest

_NO_RESULT: Final = "(no result: this call was not completed)"
_CALLS: Final = "messages.tool_calls"  # what x-modelserver-dropped names: calls got results of this server
_RESULTS: Final = "messages.tool_call_id"  # … results were moved, or became texts


def paired(messages: list[Json]) -> tuple[list[Json], tuple[str, ...]]:
    """Return the messages in pairs, the same list where they are, and what was changed.

    Calls without an id get one, and the results that name no call that is known answer them in their order: some servers
    make no ids. Changes messages in place. Raises BadRequest for calls of the last turn without a result, and for a result
    without an id where no call waits for one.
    """
    lost = _check(messages)
    return _repaired(messages) if lost else (messages, ())


def _check(messages: list[Json]) -> bool:
    """Give ids to calls and results that lack them, in place. Return whether a call or a result has lost its other half."""
    lost = False
    waiting: Counter[str] = Counter()  # ids of calls without a result yet; some servers give several calls one
    unnamed: Iterator[str] = iter(())  # the ids given here to calls of the turn that had none
    known: set[str] = set()
    for i, message in enumerate(messages):
        role = message["role"]
        if role == "tool":
            ident = message["tool_call_id"]
            if ident not in known:
                ident = message["tool_call_id"] = next(unnamed, "") or ident or _no_id(i)
            lost |= ident not in known
            waiting[ident] -= 1
            continue
        lost |= any(count > 0 for count in waiting.values())
        waiting.clear()
        if role == "assistant" and (calls := message.get("tool_calls")):
            unnamed = iter([_identify(call, f"call_{i}_{k}") for k, call in enumerate(calls) if not call.get("id")])
            waiting.update(call["id"] for call in calls)
            known = set(waiting)
        elif role in ("user", "assistant"):
            known = set()
            unnamed = iter(())
    if unanswered := [ident for ident, count in waiting.items() if count > 0]:
        raise _unanswered(unanswered, len(messages) - 1)
    return lost


def _repaired(messages: list[Json]) -> tuple[list[Json], tuple[str, ...]]:
    changed: dict[str, None] = {}
    turns: dict[str, list[int]] = {}  # id → indexes of the turns that wait for a result of such a call, the latest last
    results: dict[int, list[Json]] = {}  # index of a turn with calls → its results
    called: dict[str, tuple[int, str]] = {}  # id → the latest turn that called it, and the tool's name
    out: list[Json | int] = []  # messages, and indexes of turns whose results come there
    for i, message in enumerate(messages):
        if message["role"] != "tool":
            out.append(message)
            if calls := message.get("tool_calls"):
                out.append(i)
                results[i] = []
                for call in calls:
                    turns.setdefault(call["id"], []).append(i)
                    called[call["id"]] = i, called_name(call)
            continue
        ident = message["tool_call_id"]
        turn, name = called.get(ident, (-1, message.get("name")))
        if waits := bool(turns.get(ident)):
            turn = turns[ident].pop()
        if out and out[-1] == turn:  # in its place; it may be a further result of one call
            results[turn].append(message)
            continue
        changed[_RESULTS] = None
        if waits:
            results[turn].append(message)
        else:
            out.append(_as_users(message, name))
    return _with_results(out, messages, results, changed), tuple(changed)


def _with_results(
    out: list[Json | int], messages: list[Json], results: dict[int, list[Json]], changed: dict[str, None]
) -> list[Json]:
    """Return the messages, with the results of each turn where its index stands. Adds to `changed` where one is missing."""
    made: list[Json] = []
    for entry in out:
        if not isinstance(entry, int):
            made.append(entry)
            continue
        made += results[entry]
        answered = Counter(result["tool_call_id"] for result in results[entry])
        for call in messages[entry]["tool_calls"]:
            if answered[call["id"]] > 0:
                answered[call["id"]] -= 1
                continue
            changed[_CALLS] = None
            made.append({"role": "tool", "tool_call_id": call["id"], "content": _NO_RESULT})
    return made


def _as_users(result: Json, name: Any) -> Json:
    """Return a tool's result as a user's text that names the tool and the call."""
    words = f"[Result of the tool call {' '.join(filter(None, (str(name or ''), result['tool_call_id'])))[:200]}]"
    content = result["content"]
    if isinstance(content, str):
        return {"role": "user", "content": f"{words}\n{content}"}
    return {"role": "user", "content": [{"type": "text", "text": words}, *content]}


def _identify(call: Json, ident: str) -> str:
    """Give a call its id, in place. Return the id."""
    call["id"] = ident
    return ident


def _no_id(i: int) -> NoReturn:
    raise BadRequest(
        f"Missing required parameter: 'messages[{i}].tool_call_id'.",
        param=f"messages[{i}].tool_call_id",
        code="missing_required_parameter",
    )


def _unanswered(idents: list[str], i: int) -> BadRequest:
    return BadRequest(
        "An assistant message with 'tool_calls' must be followed by tool messages responding to each 'tool_call_id'. "
        f"The following tool_call_ids did not have response messages: {', '.join(idents)[:1000]}",
        param=f"messages[{i}].role",
    )
