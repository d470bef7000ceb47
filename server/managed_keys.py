"""The change of a client key in keys.yaml: one function for `modelserver.py keys ACTION` and for the page."""

import hashlib
import secrets
from collections.abc import Callable, Mapping
from typing import Any, Final, NamedTuple

import msgspec

from gateway.config_schema import KeyConfig
from gateway.key_fields import FIELDS, FLAGS
from gateway.key_file import KEY_FILE, text_of

from . import key_file
from .config_file import Source, keys_in
from .key_file import Refused

Keys = tuple[KeyConfig, ...]
GIVEN: Final = (*FIELDS, *FLAGS)  # fields of KeyConfig that `add` may be given


class Changed(NamedTuple):
    """What came of a change. key: the new key in the clear, "" where none was made: it is kept nowhere."""

    key: str
    is_first: bool  # of all keys: from now on every request needs one


def change(source: Source, action: str, name: str, given: Mapping[str, Any]) -> Changed:
    """Change keys.yaml. action: add, remove, disable, enable or rotate; given: fields of a key that is added.

    The running server does not know of it until it reads its configuration again. Raises Refused, ConfigError and OSError;
    then nothing has changed.
    """
    key = f"sk-ms-{secrets.token_urlsafe(32)}" if action in ("add", "rotate") else ""
    edit = _edit(source, action, name, given, hashlib.sha256(key.encode()).hexdigest())
    is_first = False

    def checked(before: Keys) -> Keys:
        nonlocal is_first
        after = edit(before)
        source.check_keys(text_of(after))
        is_first = not before and not keys_in(source.path)
        return after

    key_file.change(source.key_file, source.path, checked)
    return Changed(key, is_first)


def _edit(source: Source, action: str, name: str, given: Mapping[str, Any], digest: str) -> Callable[[Keys], Keys]:
    """Return the function that makes the change: the keys of keys.yaml before → after. It raises Refused."""

    def changed(keys: Keys, **values: Any) -> Keys:
        _require(keys, name, source)
        return tuple(msgspec.structs.replace(key, **values) if key.name == name else key for key in keys)

    def add(keys: Keys) -> Keys:
        if name in {key.name for key in keys}:
            raise Refused(f"{KEY_FILE} has a key '{name}': `keys rotate` gives it a new secret, or choose another name")
        if name in {key.name for key in keys_in(source.path)}:
            raise Refused(f"{source.path.name} has a key '{name}': choose another name, or remove it there first")
        return (*keys, KeyConfig(name=name, sha256=digest, **given))

    def remove(keys: Keys) -> Keys:
        _require(keys, name, source)
        if len(keys) == 1 and not keys_in(source.path):
            raise Refused(
                f"'{name}' is the last key, and without keys any program on this machine may call: `keys disable` it, or "
                f"delete {KEY_FILE} and reload if that is what you want"
            )
        return tuple(key for key in keys if key.name != name)

    edits: Mapping[str, Callable[[Keys], Keys]] = {
        "add": add,
        "remove": remove,
        "disable": lambda keys: changed(keys, disabled=True),
        "enable": lambda keys: changed(keys, disabled=False),
        "rotate": lambda keys: changed(keys, sha256=digest),
    }
    return edits[action]


def _require(keys: Keys, name: str, source: Source) -> None:
    """Raise Refused unless keys.yaml has this key."""
    names = [key.name for key in keys]
    if name in names:
        return
    if name in {key.name for key in keys_in(source.path)}:
        raise Refused(f"the key '{name}' is in {source.path.name}: change it there, then `reload`")
    raise Refused(f"{KEY_FILE} has no key '{name}'; it has {', '.join(names) or 'none'}")
