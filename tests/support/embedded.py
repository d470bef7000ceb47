"""The calls of an embeddings request, and what is made of their answers."""

from typing import Any

from providers import PROVIDERS
from providers.contract import Call, Json, Upstream
from providers.errors import UpstreamBadOutput
from providers.sse import DONE, Event


def calls(body: Json, to: Upstream) -> list[Call]:
    """All calls that a request needs: the first, and those that its translator goes on with."""
    call = PROVIDERS[to.host.protocol].build_embeddings(body, to)
    made, translator = [call], call.read(call, False)
    try:
        while isinstance(following := translator.send(None), Call):
            made.append(following)
    except UpstreamBadOutput:  # there were no answers
        pass
    return made


def answer(body: Json, to: Upstream, answers: list[Any]) -> Json:
    """OpenAI's answer, made of those of the calls."""
    call = PROVIDERS[to.host.protocol].build_embeddings({"model": "m", **body}, to)
    translator = call.read(call, False)
    try:
        for value in answers:
            for event in (Event("", value), Event("", DONE), None):
                translator.send(event)
    except StopIteration as end:
        [made] = end.value
        return made
    raise AssertionError("more answers are wanted")
