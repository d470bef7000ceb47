"""`modelserver.py import`: print a config.yaml made from another program's, or from a provider's list of models."""

import json
import re
import sqlite3
import sys
from collections.abc import Callable, Mapping
from contextlib import closing
from functools import partial
from pathlib import Path
from typing import Any, Final

import yaml

from gateway.config import load
from gateway.importing import channels, litellm
from gateway.importing.result import Imported
from gateway.problems import ConfigError

from ..config_file import Source
from ..key_file import Refused
from ..paths import ROOT

_SQLITE: Final = b"SQLite format 3\0"


def import_from(kind: str, file: str, source: Source, agent: str) -> int:
    """Print a configuration; returns the exit code, 1 where it has mistakes. Raises Refused, ConfigError, and OSError.

    kind: a program, whose file is read, or a provider, whose host is asked. agent: as whom the host is asked.
    """
    if kind in PROGRAMS:
        if not file:
            raise Refused(f"name the file to read: import {kind} FILE")
        return _show(_read(kind, Path(file)), Path(file).name)
    if file:
        raise Refused(f"there is no program '{kind}' whose file could be read: name one of {', '.join(PROGRAMS)}")
    from .import_models import import_models  # it brings the whole way to upstreams

    return _show(import_models(kind, source, agent), f"the models that {kind} lists")


def _read(program: str, path: Path) -> Imported:
    read, convert = PROGRAMS[program]
    try:
        return convert(read(path))
    except yaml.YAMLError as error:
        raise Refused(f"{path} is not valid YAML: {' '.join(str(error).split())}") from None
    except json.JSONDecodeError as error:
        raise Refused(f"{path} is not valid JSON: {error}") from None
    except sqlite3.Error as error:
        raise Refused(f"{path} has no table `channels` that could be read: {error}") from None
    except UnicodeDecodeError:
        raise Refused(f"{path} is not UTF-8 text") from None
    except RecursionError:
        raise Refused(f"{path} is nested too deeply") from None
    except ValueError as error:
        raise Refused(f"{path}: {error}") from None


def _yaml(path: Path) -> Any:
    return yaml.load(path.read_text(encoding="utf-8-sig"), Loader=yaml.CSafeLoader)


def _channels(path: Path) -> Any:
    """Return the channels of one-api: JSON, or the rows of its SQLite file, which is only read."""
    with path.open("rb") as file:
        if file.read(len(_SQLITE)) != _SQLITE:
            return json.loads(path.read_text(encoding="utf-8-sig"))
    with closing(sqlite3.connect(f"{path.resolve().as_uri()}?mode=ro", uri=True)) as database:
        database.row_factory = sqlite3.Row
        return [dict(row) for row in database.execute("SELECT * FROM channels ORDER BY id")]


# The program → what reads its file, and what makes a configuration of that.
PROGRAMS: Final[Mapping[str, tuple[Callable[[Path], Any], Callable[[Any], Imported]]]] = {
    "litellm": (_yaml, litellm.convert),
    **{name: (_channels, partial(channels.convert, program=name)) for name in ("one-api", "new-api")},
}


def _show(imported: Imported, source: str) -> int:
    """Print a configuration and, on standard error, what is to be done with it; returns the exit code."""
    text = imported.text(source)
    print(text, end="", flush=True)
    models, left = len(imported.config.get("models", {})), len(imported.left)
    print(
        f"{models} models and {len(imported.config['providers'])} providers; {left} things were not carried over, or not as "
        "they were: the top of the output says which, why, and what to do. Save it as config.yaml, then `check`.",
        file=sys.stderr,
    )
    try:
        facts = (ROOT / "providers" / "models.yaml").read_text(encoding="utf-8")
        load(text, stand_ins(text), facts)
    except ConfigError as error:
        print(f"To be mended by hand:\n{error}", file=sys.stderr)
        return 1
    return 0


def stand_ins(text: str) -> Mapping[str, str]:
    """Return a value for each variable of a configuration, by which it can be checked before they are set."""
    names = set(re.findall(r"\$\{(\w+)\}", text))
    return {
        name: "redis://x.example.com"
        if name.startswith("REDIS_URL")
        else "https://x.example.com"
        if re.search("BASE|URL|ENDPOINT", name)
        else "6379"
        if name.endswith("PORT")
        else f"sk-stand-in-for-{name}"
        for name in names
    }
