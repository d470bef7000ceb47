"""`modelserver.py import litellm FILE`: print a config.yaml made from LiteLLM's, and say what was not carried over."""

import re
import sys
from collections.abc import Mapping
from pathlib import Path

import yaml

from gateway.config import load
from gateway.importing import litellm
from gateway.problems import ConfigError

from ..key_file import Refused
from ..paths import ROOT


def import_file(path: Path) -> int:
    """Print the configuration; returns the exit code, 1 where it has mistakes. Raises Refused, and OSError."""
    try:
        imported = litellm.convert(yaml.load(path.read_text(encoding="utf-8-sig"), Loader=yaml.CSafeLoader))
    except yaml.YAMLError as error:
        raise Refused(f"{path} is not valid YAML: {' '.join(str(error).split())}") from None
    except ValueError as error:
        raise Refused(f"{path}: {error}") from None
    text = imported.text(path.name)
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
