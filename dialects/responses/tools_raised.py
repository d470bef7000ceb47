"""Calls of functions that stand for tools which only OpenAI's models have, as the client's own kinds of calls again. Pure."""

import re
from typing import Any, Final

from providers.common.arguments import decoded
from providers.contract import Json
from providers.errors import UpstreamBadOutput

from .tables import ACTIONS
from .wanted import LoweredTool

_HEAD: Final = re.compile(r'\s{0,16}\{\s{0,16}"input"\s{0,8}:\s{0,8}"')
_LONGEST_HEAD: Final = 64
_END: Final = re.compile(r"\s*\}?\s*")
_PAIR: Final = r"\\u[dD][89abAB][0-9a-fA-F]{2}\\u[dD][c-fC-F][0-9a-fA-F]{2}"  # two escapes for one character
_TOKEN: Final = re.compile(rf'[^"\\]+|"|{_PAIR}|\\u[0-9a-fA-F]{{4}}|\\[^u]', re.S)
_HIGH: Final = re.compile(r"\\u[dD][89abAB][0-9a-fA-F]{2}")  # the first of them
_PARTIAL: Final = re.compile(r"\\(?:u(?:[0-9a-fA-F]{0,3}|[dD][89abAB][0-9a-fA-F]{2}(?:\\(?:u[0-9a-fA-F]{0,3})?)?))?")
_LONGEST_ESCAPE: Final = 12
_ESCAPES: Final = {'"': '"', "\\": "\\", "/": "/", "b": "\b", "f": "\f", "n": "\n", "r": "\r", "t": "\t"}
_CUT_ESCAPE: Final = re.compile(r"(?<!\\)((?:\\\\)*)\\(?:u[0-9a-fA-F]{0,3})?$")


class InputText:
    """The input of a custom tool, read from the arguments of the function as they come: the text behind `{"input":"`.

    begun: whether they begin so; others are read when they are whole (custom_input). Every character is read once. What is
    no JSON inside of the text, such as a bare line end or an unknown escape, is taken as it stands.
    """

    def __init__(self) -> None:
        self.begun = False
        self.pieces: list[str] = []
        self._over = self._closed = False
        self._behind: list[str] = []  # what comes behind the text
        self._rest = ""  # the beginning of the arguments, or of an escape

    def feed(self, text: str) -> str:
        """Return what the next piece of the arguments adds to the input."""
        if self._over or not text:
            self._behind.append(text)
            return ""
        text, at = self._rest + text, 0
        if not self.begun:
            if (head := _HEAD.match(text)) is None:
                self._over, self._rest = len(text) > _LONGEST_HEAD, text
                return ""
            self.begun, at = True, head.end()
        made: list[str] = []
        while at < len(text):
            if (found := _TOKEN.match(text, at)) is None:
                if len(text) - at < _LONGEST_ESCAPE and _PARTIAL.fullmatch(text, at):
                    break
                made.append(text[at])
                at += 1
                continue
            told = found[0]
            if _HIGH.fullmatch(told) and _PARTIAL.fullmatch(text, at):
                break  # its other half may come
            at = found.end()
            if told == '"':
                self._over = self._closed = True
                break
            made.append(_unescaped(told) if told[0] == "\\" else told)
        self._behind, self._rest = [text[at:]], text[at:]
        piece = "".join(made)
        self.pieces.append(piece)
        return piece

    def check(self, name: str, arguments: str) -> None:
        """Raise BadOutput where the arguments, now that they are whole, do not say this input: a quote ended it too early."""
        if not (self._closed and _END.fullmatch("".join(self._behind))):
            match decoded(arguments):
                case {"input": str(text)} if text == "".join(self.pieces):
                    return
            raise _unfit(name)


def _unescaped(token: str) -> str:
    """Return what an escape of a JSON string stands for."""
    if token[1] != "u":
        return _ESCAPES.get(token[1], token)
    if len(token) > _LONGEST_ESCAPE // 2:
        return chr(0x10000 + ((int(token[2:6], 16) & 0x3FF) << 10) + (int(token[8:], 16) & 0x3FF))
    return chr(int(token[2:], 16))


def custom_input(arguments: str) -> str:
    """Return the input of a custom tool from the arguments of the function: models do not keep to its one name."""
    match decoded(arguments):
        case {"input": str() as text}:
            return text
        case dict() as given if not given:
            return ""
        case dict() as given:
            texts = [value for value in given.values() if isinstance(value, str)]
            return texts[0] if len(texts) == 1 else arguments
        case str() as text:
            return text
    return arguments


def cut_input(arguments: str) -> str:
    """Return the input of a custom tool as far as it goes: the arguments have been cut."""
    for whole in (arguments, _CUT_ESCAPE.sub(r"\1", arguments) + '"}'):
        if isinstance(decoded(whole), dict | str):
            return custom_input(whole)
    return "" if arguments.lstrip().startswith("{") else arguments


def typed_fields(kind: str, arguments: str) -> Json:
    """Return what a call of a tool with a type of its own holds. Raises BadOutput for arguments that do not fit it."""
    given = decoded(arguments or "{}")
    match kind, given:
        case "local_shell", {"command": [*command]} if _texts(command):
            env = given["env"] if isinstance(given.get("env"), dict) else {}
            named = {to: given[name] for name, to in ACTIONS[kind].items() if given.get(name) is not None}
            return {"action": {"type": "exec", **named, "command": command, "env": env}}
        case "shell", _:
            commands = given.get("commands") if isinstance(given, dict) else None
            if not (isinstance(commands, list) and _texts(commands)):
                given, commands = {}, [arguments]
            named = {to: given.get(name) for name, to in ACTIONS[kind].items()}
            return {"action": {**named, "commands": commands}, "environment": {"type": "local"}}
        case "apply_patch", {"operation": {"type": "delete_file", "path": str()} as operation}:
            return {"operation": {"type": "delete_file", "path": operation["path"]}}
        case "apply_patch", {
            "operation": {"type": "create_file" | "update_file" as what, "path": str() as path, "diff": str() as diff}
        }:
            return {"operation": {"type": what, "path": path, "diff": diff}}
        case "tool_search", dict():
            return {"execution": "client", "arguments": given}
    raise _unfit(kind)


def _unfit(name: str) -> UpstreamBadOutput:
    return UpstreamBadOutput(f"The model called {name[:100]} with arguments that do not fit it.")


def named(tool: LoweredTool) -> Json:
    """Return the fields that name the tool of a call."""
    return {"name": tool.name, "namespace": tool.namespace} if tool.namespace is not None else {"name": tool.name}


def _texts(values: list[Any]) -> bool:
    return bool(values) and all(isinstance(each, str) for each in values)
