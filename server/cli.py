"""The command line: serve, check the configuration, reload it, look for what is wrong, ask one question."""

import argparse
import asyncio
import hashlib
import json
import os
import secrets
import stat
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from textwrap import wrap

import msgspec
from aiohttp import ClientError, web

from gateway.config import ConfigError, Settings, load
from gateway.schema import Server

from . import logs, memory
from .access import is_loopback
from .ask import ask
from .doctor import doctor
from .entry import HOUSE
from .listener import listen
from .reload import reload
from .serve import run, serve

ROOT = Path(__file__).resolve().parent.parent
BAD_CONFIG = 2  # exit code


def main(build: Callable[[Settings, logs.Log], web.Application], version: str) -> int:
    """Run the command that sys.argv names; returns the exit code.

    build: makes the application.
    """
    arguments = _parser(version).parse_args()
    try:
        if arguments.command == "keygen":
            print(_new_key(arguments.name))
            return 0
        if getattr(arguments, "key", "") == "-":
            arguments.key = sys.stdin.readline().strip()
        settings = _settings(arguments)
        if arguments.command == "check":
            print(*settings.warnings, f"{arguments.config}: no mistakes. {_summary(settings)}", sep="\n")
            return 0
        if arguments.command == "reload":
            return asyncio.run(reload(settings))
        if arguments.command == "ask":
            return asyncio.run(ask(settings, arguments.question, arguments.model, arguments.key))
        if arguments.command == "doctor":
            return asyncio.run(doctor(settings, arguments.model, arguments.key))
        _refuse_open_door(settings)
        return _serve(build, settings, arguments, version)
    except ConfigError as error:
        print(error, file=sys.stderr)
        return BAD_CONFIG
    except KeyboardInterrupt:
        return 130
    except (OSError, ClientError) as error:
        print(f"modelserver: {error}", file=sys.stderr)
        return 1


def _parser(version: str) -> argparse.ArgumentParser:
    common = argparse.ArgumentParser(add_help=False)
    common.add_argument(
        "--config",
        metavar="FILE",
        default=os.environ.get("MODELSERVER_CONFIG", str(ROOT / "config.yaml")),
        help="the configuration (default: $MODELSERVER_CONFIG or config.yaml beside modelserver.py)",
    )
    common.add_argument("--host", help="listen on this address instead of server.host")
    common.add_argument("--port", type=int, help="listen on this port instead of server.port")
    parser = argparse.ArgumentParser(
        prog="modelserver.py", parents=[common], description="An OpenAI-compatible gateway to many model providers."
    )
    parser.add_argument("--version", action="version", version=version)
    parser.set_defaults(command="serve")
    commands = parser.add_subparsers(dest="command", metavar="command")
    # SUPPRESS: a subcommand's unset options must not overwrite those given before it.
    again = argparse.ArgumentParser(add_help=False, argument_default=argparse.SUPPRESS)
    for option in ("--config", "--host"):
        again.add_argument(option)
    again.add_argument("--port", type=int)
    commands.add_parser("serve", parents=[again], help="serve (the default)")
    commands.add_parser("check", parents=[again], help="check the configuration and start nothing")
    key = commands.add_parser("keygen", help="make a client key and the line of the configuration that lets it in")
    key.add_argument("name", metavar="NAME", help="what the log and the books call its owner")
    commands.add_parser("reload", parents=[again], help="make the running server read its configuration again")
    health = commands.add_parser(
        "doctor", parents=[again], help="try what an answer needs: providers' hosts, the running server, a stream"
    )
    question = commands.add_parser("ask", parents=[again], help="ask the running server one question, streamed")
    question.add_argument("question")
    question.add_argument("-m", "--model", default="echo", help="the model to ask (default: echo)")
    health.add_argument(
        "-m",
        "--model",
        action="append",
        default=[],
        help="ask this model too, at its price; may be given several times",
    )
    for command in (health, question):
        command.add_argument(
            "-k",
            "--key",
            default=os.environ.get("MODELSERVER_KEY", ""),
            help="the client key; - reads it from standard input, where no process list shows it (default: $MODELSERVER_KEY)",
        )
    return parser


def _new_key(name: str) -> str:
    """A key, to be shown once, and its line for config.yaml, which holds only the digest."""
    key = f"sk-ms-{secrets.token_urlsafe(32)}"
    digest = hashlib.sha256(key.encode()).hexdigest()
    return (
        f"{key}\n\nShown once: keep it. In config.yaml, under keys:\n  - {{name: {json.dumps(name)}, sha256: {digest}}}"
    )


def _settings(arguments: argparse.Namespace) -> Settings:
    path = Path(arguments.config)
    try:
        text = path.read_text(encoding="utf-8")
    except UnicodeDecodeError:
        raise OSError(f"{path} is not UTF-8 text") from None
    facts = (ROOT / "providers" / "models.yaml").read_text(encoding="utf-8")
    settings = load(text, _environment(), facts, path.name)
    _refuse_open_file(path, settings)
    config = settings.config
    if config.usage.path:
        usage = msgspec.structs.replace(config.usage, path=str(_state_folder(path) / config.usage.path))
        config = msgspec.structs.replace(config, usage=usage)
    given = {name: getattr(arguments, name) for name in ("host", "port") if getattr(arguments, name) is not None}
    if given:
        server = msgspec.convert({**msgspec.to_builtins(config.server), **given}, Server)
        config = msgspec.structs.replace(config, server=server)
    return replace(settings, config=config)


def _state_folder(path: Path) -> Path:
    """Return the folder to which paths of files that the server writes are relative.

    That is systemd's StateDirectory=, where there is one: under the shipped unit the configuration's folder is read-only.
    """
    state = os.environ.get("STATE_DIRECTORY", "").partition(":")[0]
    return Path(state) if state else path.resolve().parent


def _environment() -> dict[str, str]:
    """What ${NAME} may stand for: the environment and, under systemd, the unit's credentials (LoadCredential=)."""
    folder = os.environ.get("CREDENTIALS_DIRECTORY")
    files = [file for file in Path(folder).iterdir() if file.is_file()] if folder else []
    return {**{file.name: file.read_text(encoding="utf-8").strip() for file in files}, **os.environ}


def _refuse_open_file(path: Path, settings: Settings) -> None:
    """Keys written into the file must not be there for every user of this machine to read. Raises OSError."""
    if not settings.written or os.name != "posix":
        return
    path = path.resolve()
    reachable = all(folder.stat().st_mode & stat.S_IXOTH for folder in path.parents)
    if reachable and path.stat().st_mode & stat.S_IROTH:
        raise OSError(
            f"{path} holds keys and can be read by every user of this machine: chmod 640 it, or take the keys from the "
            "environment (${NAME})"
        )


def _refuse_open_door(settings: Settings) -> None:
    """Without keys, only this machine may call. Raises OSError."""
    host = settings.config.server.host
    if not settings.keys and not is_loopback(host):
        raise OSError(
            f"refusing to listen on {host} without keys: anyone who reaches it could spend your money. Add keys to the "
            "configuration, or listen on 127.0.0.1."
        )


def _serve(
    build: Callable[[Settings, logs.Log], web.Application],
    settings: Settings,
    arguments: argparse.Namespace,
    version: str,
) -> int:
    _require_c_parser()
    server = settings.config.server
    sock = listen(server.host, server.port)
    log = logs.start(server.log, sys.stdout)
    memory.calm_collector()
    memory.keep_freed()
    app = build(settings, log)

    def load() -> Settings:
        settings = _settings(arguments)
        _refuse_open_door(settings)
        _warn(settings)
        return settings

    def ready(port: int) -> None:
        print(_banner(settings, version, port), flush=True)
        _warn(settings)

    run(serve(app, lambda: app[HOUSE], sock, load, Path(arguments.config), ready), _loop(), log)
    return 0


def _warn(settings: Settings) -> None:
    """Log what the configuration probably does not mean."""
    for warning in settings.warnings:
        logs.LOGGER.warning("the configuration, %s", warning)


def _require_c_parser() -> None:
    """aiohttp's pure Python parser is slow and has been the open end of several of its advisories. Raises OSError."""
    try:
        import aiohttp._http_parser  # noqa: F401
    except ImportError:
        raise OSError("aiohttp is installed without its C parser; install a wheel of it: pip install aiohttp") from None


def _loop() -> asyncio.AbstractEventLoop:
    try:
        import uvloop
    except ImportError:
        return asyncio.new_event_loop()
    return uvloop.new_event_loop()


def _summary(settings: Settings) -> str:
    on = ", ".join(settings.providers) or "none"
    off = ", ".join(f"{name} (set {variable})" for name, variable in settings.off.items())
    off = f" Off: {off}." if off else ""
    keys = f"{len(settings.keys)} keys" if settings.keys else "no keys, this machine only"
    return f"Providers: {on}.{off} Callers: {keys}."


def _banner(settings: Settings, version: str, port: int) -> str:
    """What a person who starts the server wants to know: where, what, and a line to try."""
    host = settings.config.server.host
    name = f"[{host}]" if ":" in host else host
    local = "127.0.0.1" if host in ("0.0.0.0", "::") else name  # noqa: S104
    lines = [f"ModelServer {version}  http://{name}:{port}/v1", ""]
    lines += [f"  on   {provider}" for provider in settings.providers]
    off = ", ".join(f"{provider} ({variable})" for provider, variable in settings.off.items())
    lines += wrap(off, 110, initial_indent="  off  ", subsequent_indent="       ", break_on_hyphens=False)
    lines.append(f"  keys {', '.join(caller.name for caller in settings.keys.values()) or 'none: this machine only'}")
    public = settings.routes.public(("*",))
    model = "echo" if "echo" in public else next(iter(public), "echo")
    key = ' -H "Authorization: Bearer $MODELSERVER_KEY"' if settings.keys else ""
    body = f'{{"model": "{model}", "stream": true, "messages": [{{"role": "user", "content": "Hello!"}}]}}'
    lines += ["", f"Try: curl -N http://{local}:{port}/v1/chat/completions{key} -H 'Content-Type: application/json' \\"]
    lines += [f"       -d '{body}'", ""]
    return "\n".join(lines)
