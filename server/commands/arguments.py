"""The command line's options: what they are, what they mean, and one sentence for a wrong one."""

import argparse
import os
import re
from typing import Any, Final, NoReturn

from gateway.addresses import wrong_host
from gateway.secret_checks import wrong_key, wrong_name
from gateway.yaml_reader import guess

from ..paths import ROOT


class _Parser(argparse.ArgumentParser):
    """An ArgumentParser that answers a mistake with one sentence."""

    def __init__(self, **options: Any) -> None:
        super().__init__(allow_abbrev=False, **options)

    def error(self, message: str) -> NoReturn:
        """Print the sentence and exit with 2."""
        if found := re.match(r"argument command: invalid choice: '([^']*)'", message):
            message = f"there is no command '{found[1]}'{guess(found[1], COMMANDS)}"
        if found := re.match(r"unrecognized arguments: ([^-].*)", message):
            message = f"there is no place for '{found[1]}': put a text of several words in quotes"
        self.exit(2, f"modelserver: {message}; --help tells more\n".replace("?;", "?"))


COMMANDS: Final = {
    "serve": "serve (the default)",
    "check": "check the configuration and start nothing",
    "keygen": "make a client key and the line of the configuration that lets it in",
    "reload": "make the running server read its configuration again",
    "doctor": "try what an answer needs: providers' hosts, the running server, a stream",
    "models": "take prices and windows from models.dev's public catalogue (models update)",
    "ask": "ask the running server one question, streamed",
}


def parse(words: list[str], version: str) -> argparse.Namespace:
    """Return the command and its options. Exits with a sentence for a mistake, and for --help and --version."""
    parser, commands = _parsers(version)
    known = {option for each in (parser, *commands.values()) for option in each._option_string_actions}
    for word in words:
        option = word.partition("=")[0]
        if option == "--":
            break
        if option.startswith("--") and option not in known:  # argparse would first complain of what stands behind it
            parser.error(f"there is no option {option}{guess(option, known)}")
        owners = [name for name, each in commands.items() if option in each._option_string_actions]
        if option.startswith("--") and option not in parser._option_string_actions and not {*owners} & {*words}:
            parser.error(f"{option} belongs to {' and '.join(owners)}")
    return parser.parse_args(words)


def _parsers(version: str) -> tuple[argparse.ArgumentParser, dict[str, argparse.ArgumentParser]]:
    parser = _Parser(
        prog="modelserver.py",
        parents=[_common({"config": os.environ.get("MODELSERVER_CONFIG", str(ROOT / "config.yaml"))})],
        description="An OpenAI-compatible gateway to many model providers.",
    )
    parser.add_argument("--version", action="version", version=version, help="print the version and exit")
    parser.set_defaults(command="serve")
    listed = parser.add_subparsers(
        dest="command", metavar="command", parser_class=_Parser, help="what to do; `COMMAND --help` tells its options"
    )
    # A subcommand's unset options must not overwrite those given before it.
    commands: dict[str, argparse.ArgumentParser] = {
        name: listed.add_parser(
            name, parents=[_common(place=name not in ("keygen", "models"))], help=text, description=text
        )
        for name, text in COMMANDS.items()
    }
    commands["keygen"].add_argument(
        "name", metavar="NAME", type=_name, help="what the log and the usage ledger call its owner"
    )
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
    return parser, commands


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


def _name(text: str) -> str:
    if wrong := wrong_name(text):
        raise argparse.ArgumentTypeError(wrong)
    return text


def _host(text: str) -> str:
    if wrong := wrong_host(text):
        raise argparse.ArgumentTypeError(wrong)
    return text


def _port(text: str) -> int:
    if text.isascii() and text.isdigit() and int(text) <= 65_535:
        return int(text)
    raise argparse.ArgumentTypeError(f"expected a number from 0 to 65535, but got {text!r}")
