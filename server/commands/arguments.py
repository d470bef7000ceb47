"""The command line's options: what they are, what they mean, and one sentence for a wrong one."""

import argparse
import os
import re
from collections.abc import Callable
from typing import Any, Final, NoReturn

from gateway import key_fields
from gateway.addresses import wrong_host
from gateway.problems import guess
from gateway.secret_checks import wrong_key

from ..paths import ROOT


class _Parser(argparse.ArgumentParser):
    """An ArgumentParser that answers a mistake with one sentence."""

    def __init__(self, **options: Any) -> None:
        super().__init__(allow_abbrev=False, **options)

    def error(self, message: str) -> NoReturn:
        """Print the sentence and exit with 2."""
        if found := re.match(r"argument (command|action): invalid choice: '([^']*)'", message):
            known = COMMANDS if found[1] == "command" else (*ACTIONS, "update")
            message = f"there is no {found[1]} '{found[2]}'{guess(found[2], known)}"
        if found := re.match(r"unrecognized arguments: ([^-].*)", message):
            message = f"there is no place for '{found[1]}': put a text of several words in quotes"
        self.exit(2, f"modelserver: {message}; --help tells more\n".replace("?;", "?"))


COMMANDS: Final = {
    "serve": "serve (the default)",
    "check": "check the configuration and start nothing",
    "keys": "make, list, disable, enable, rotate and remove client keys, which are kept in keys.yaml beside the configuration",
    "keygen": "the same as `keys add`",
    "schema": "print the JSON schema of the configuration, by which editors complete and check it",
    "import": "print a config.yaml made from another program's, or from a provider's list, with what was not carried over",
    "reload": "make the running server read its configuration again",
    "doctor": "try what an answer needs: providers' hosts, the running server, a stream",
    "models": "take prices and windows from models.dev's public catalogue (models update)",
    "ask": "ask the running server one question, streamed",
}
ACTIONS: Final = {
    "add": "make a key, print it once, and let it in",
    "list": "list all keys with what they have used of their limits",
    "disable": "refuse a key from now on",
    "enable": "let a disabled key in again",
    "rotate": "give a key a new secret; the old one is refused from now on",
    "remove": "delete a key; what it has spent is still known under its name",
}


def parse(words: list[str], version: str) -> argparse.Namespace:
    """Return the command and its options. Exits with a sentence for a mistake, and for --help and --version."""
    parser = _parser(version)
    if not words:
        return parser.parse_args(words)  # the usual start does without all that follows: 6 ms
    commands = _commands(parser)
    known = {option for each in (parser, *commands.values()) for option in each._option_string_actions}
    for word in words:
        option = word.partition("=")[0]
        if option == "--":
            break
        if option.startswith("--") and option not in known:  # argparse would first complain of what stands behind it
            parser.error(f"there is no option {option}{guess(option, known)}")
        owners = [name for name, each in commands.items() if option in each._option_string_actions]
        used = any({*name.split()} <= {*words} for name in owners)
        if option.startswith("--") and option not in parser._option_string_actions and not used:
            parser.error(f"{option} belongs to {' and '.join(owners)}")
    return parser.parse_args(words)


def _parser(version: str) -> _Parser:
    """Return the parser of what may stand before a command."""
    parser = _Parser(
        prog="modelserver.py",
        parents=[_common({"config": os.environ.get("MODELSERVER_CONFIG", str(ROOT / "config.yaml"))})],
        description="An OpenAI-compatible gateway to many model providers.",
    )
    parser.add_argument("--version", action="version", version=version, help="print the version and exit")
    parser.set_defaults(command="serve")
    return parser


def _commands(parser: _Parser) -> dict[str, argparse.ArgumentParser]:
    """Add the commands to a parser; return theirs by their names."""
    listed = parser.add_subparsers(
        dest="command", metavar="command", parser_class=_Parser, help="what to do; `COMMAND --help` tells its options"
    )
    # A subcommand's unset options must not overwrite those given before it.
    common = _common()
    commands: dict[str, argparse.ArgumentParser] = {
        name: listed.add_parser(
            name, parents=[common if name != "models" else _common(place=False)], help=text, description=text
        )
        for name, text in COMMANDS.items()
    }
    actions = commands["keys"].add_subparsers(
        dest="action", metavar="action", parser_class=_Parser, help="what to do; `keys ACTION --help` tells its options"
    )
    commands["keys"].set_defaults(action="list")
    for name, text in ACTIONS.items():
        commands[f"keys {name}"] = each = actions.add_parser(name, parents=[common], help=text, description=text)
        if name != "list":
            each.add_argument(
                "name",
                metavar="NAME",
                type=_field(key_fields.name),
                help="what the log and the usage ledger call its owner",
            )
    commands["import"].add_argument(
        "kind",
        metavar="FROM",
        help="litellm, one-api or new-api, whose FILE is read; or openrouter, ollama or another provider "
        "that lists its models",
    )
    commands["import"].add_argument("file", metavar="FILE", nargs="?", default="", help="the configuration to read")
    commands["keygen"].add_argument("name", metavar="NAME", type=_field(key_fields.name), help="as of `keys add`")
    commands["keygen"].set_defaults(command="keys", action="add")
    for name in ("keygen", "keys add"):
        _add_limits(commands[name])
    for name in ("check", "doctor"):
        commands[name].add_argument(
            "--env-file",
            metavar="FILE",
            help="read variables for ${NAME} from this file too, as systemd's EnvironmentFile= does",
        )
    commands["models"].add_argument(
        "action", choices=["update"], help="print what has changed, and write models.local.yaml"
    )
    commands["models"].add_argument(
        "--from", dest="file", metavar="FILE", default="", help="read the catalogue from this file, not from models.dev"
    )
    commands["models"].add_argument("--dry-run", action="store_true", help="print what would change, and write nothing")
    commands["ask"].add_argument("question", help="what to ask")
    commands["ask"].add_argument("-m", "--model", default="echo", help="the model to ask (default: echo)")
    commands["doctor"].add_argument(
        "-m",
        "--model",
        action="append",
        default=[],
        help="ask this model too, at its price; may be given several times",
    )
    commands["check"].add_argument(
        "-v", "--verbose", action="store_true", help="name the variables that providers lack which are off"
    )
    for name in ("ask", "doctor"):
        commands[name].add_argument(
            "-k",
            "--key",
            type=_key,
            default=os.environ.get("MODELSERVER_KEY", ""),
            help="the client key; - reads it from standard input, where no process list shows it (default: $MODELSERVER_KEY)",
        )
    return commands


def _add_limits(parser: argparse.ArgumentParser) -> None:
    """Add the options that say what a new key may do; the configuration documents them, and checks them."""
    add = parser.add_argument
    add(
        "--models",
        metavar="LIST",
        action="extend",
        type=_field(key_fields.models),
        help="the models it may use, such as 'gpt-*,echo'; default all",
    )
    add("--rpm", metavar="N", type=_field(key_fields.count), help="requests per minute")
    add("--tpm", metavar="N", type=_field(key_fields.count), help="tokens per minute, of prompt and answer")
    add("--concurrency", metavar="N", type=_field(key_fields.count), help="requests at once")
    add(
        "--budget",
        dest="budget_usd",
        metavar="DOLLARS",
        type=_field(key_fields.dollars),
        help="what it may cost in each period",
    )
    add("--per", dest="budget_period", choices=key_fields.PERIODS, help="the period (default: month)")
    add("--expires", metavar="DATE", help="its last day (UTC), or a time such as 2027-01-31T18:00:00Z")
    add(
        "--allow-unpriced",
        action="store_true",
        default=None,
        help="with a budget: models of unknown price too, for free",
    )
    add("--admin", action="store_true", default=None, help="it sees the usage of all keys, and the inspector")
    add("--passthrough", action="store_true", default=None, help="it may call any path of a provider, at /p/PROVIDER/…")


def _common(defaults: dict[str, str] | None = None, place: bool = True) -> _Parser:
    """The options of every command. defaults: None leaves those that are not given out of the result.

    place: whether the command has to do with a server, which has a host and a port.
    """
    common = _Parser(add_help=False, argument_default=argparse.SUPPRESS if defaults is None else None)
    common.add_argument(
        "--config",
        metavar="FILE",
        help="the configuration (default: $MODELSERVER_CONFIG or config.yaml beside modelserver.py)",
    )
    common.set_defaults(**defaults or {})
    if not place:
        return common
    common.add_argument(
        "--host", type=_host, help="listen on this address instead of server.host, or look for the server there"
    )
    common.add_argument(
        "--port", type=_port, help="listen on this port instead of server.port, or look for the server there"
    )
    return common


def client_key(text: str) -> str:
    """Return a client key without blanks around it. Exits with a sentence for one that no header can hold."""
    try:
        return _key(text)
    except argparse.ArgumentTypeError as error:
        _Parser().error(str(error))


def _key(text: str) -> str:
    if (key := text.strip()) and key != "-" and (wrong := wrong_key(key)):
        raise argparse.ArgumentTypeError(f"the client key {wrong}" if wrong.startswith("is ") else wrong)
    return key


def _field(read: Callable[[str], Any]) -> Callable[[str], Any]:
    """Return a function of key_fields as argparse calls one: its sentence is the one that is printed."""

    def field(text: str) -> Any:
        try:
            return read(text)
        except ValueError as error:
            raise argparse.ArgumentTypeError(str(error)) from None

    return field


def _host(text: str) -> str:
    if wrong := wrong_host(text):
        raise argparse.ArgumentTypeError(wrong)
    return text


def _port(text: str) -> int:
    if text.isascii() and text.isdigit() and int(text) <= 65_535:
        return int(text)
    raise argparse.ArgumentTypeError(f"expected a number from 0 to 65535, but got {text!r}")
