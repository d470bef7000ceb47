"""The command line: serve, check the configuration, reload it, manage keys, look for what is wrong, ask one question."""

import asyncio
import json
import os
import sys
from argparse import Namespace
from collections.abc import Callable
from pathlib import Path
from typing import Final

from aiohttp import ClientConnectorDNSError, ClientConnectorError, ClientError, web

from gateway.problems import ConfigError
from gateway.settings import Settings

from .. import logs
from ..admin import SOURCE
from ..config_file import Source, words_of_error
from ..key_file import Refused
from ..process import memory
from ..process.lifecycle import run, serve
from ..process.listener import listen
from .arguments import client_key, parse
from .banner import banner, summary

BAD_CONFIG: Final = 2  # exit code
Build = Callable[[Settings, logs.Log], web.Application]


def main(build: Build, version: str) -> int:
    """Run the command that sys.argv names; returns the exit code.

    build: makes the application.
    """
    arguments = parse(sys.argv[1:], version)
    try:
        code = _run(arguments, build, version)
        sys.stdout.flush()
        return code
    except ConfigError as error:
        print(error, file=sys.stderr)
        return BAD_CONFIG
    except Refused as error:
        print(f"modelserver: {error}", file=sys.stderr)
        return BAD_CONFIG
    except KeyboardInterrupt:
        return 130
    except ClientConnectorDNSError as error:
        print(f"modelserver: the name {error.host} cannot be resolved: check --host and server.host", file=sys.stderr)
        return 1
    except ClientConnectorError as error:
        from .ask import START

        print(f"modelserver: nothing answers at {error.host}:{error.port}: {START}", file=sys.stderr)
        return 1
    except FileNotFoundError as error:
        print(f"modelserver: there is no file {error.filename}", file=sys.stderr)
        return 1
    except BrokenPipeError:  # whoever read the output has read enough, as `head` does
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # the rest is written at the end of the process
        return 1
    except (OSError, ClientError) as error:
        print(f"modelserver: {words_of_error(error)}", file=sys.stderr)
        return 1


def _run(arguments: Namespace, build: Build, version: str) -> int:
    if arguments.command == "models":
        from .models import update

        return update(Path(arguments.config), arguments.file, arguments.dry_run)
    if getattr(arguments, "key", "") == "-":
        arguments.key = client_key(sys.stdin.readline())
    given = {name: value for name in ("host", "port") if (value := getattr(arguments, name)) is not None}
    env_file = getattr(arguments, "env_file", None)
    source = Source(Path(arguments.config), given, Path(env_file) if env_file else None)
    match arguments.command:
        case "check":
            settings = source.read()
            said = f"{arguments.config}: no mistakes. {summary(settings, arguments.verbose)}"
            print(*settings.warnings, said, sep="\n")
            return 0
        # What only one command needs is imported for it: the server starts sooner, and is smaller.
        case "schema":
            from gateway.json_schema import schema

            print(json.dumps(schema(), indent=1))
            return 0
        case "import":
            from .import_file import import_from

            return import_from(arguments.kind, arguments.file, source, f"modelserver/{version}")
        case "keys":
            from .keys import keys

            return keys(arguments, source)
        case "reload":
            from .reload import reload

            return asyncio.run(reload(source.server()))
        case "ask":
            from .ask import ask

            return asyncio.run(ask(source.server(), arguments.question, arguments.model, arguments.key))
        case "doctor":
            from .doctor import doctor

            return asyncio.run(doctor(source.read(), arguments.model, arguments.key))
    return _serve(build, source, version)


def _serve(build: Build, source: Source, version: str) -> int:
    settings = source.read()
    _require_c_parser()
    server = settings.config.server
    sock = listen(server.host, server.port)
    log = logs.start(server.log, sys.stdout)
    memory.tune_gc()
    memory.tune_malloc()
    memory.take_short_turns()
    app = build(settings, log)
    app[SOURCE] = source

    def load() -> Settings:
        settings = source.read()
        _warn(settings)
        return settings

    def ready(port: int) -> None:
        print(banner(settings, version, port), flush=True)
        _warn(settings)

    run(serve(app, sock, load, (source.path, source.key_file), ready), _loop(), log)
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
