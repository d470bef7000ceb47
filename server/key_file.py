"""keys.yaml on the disk: read where nobody else can, changed under a lock, written in one step."""

import contextlib
import os
import stat
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Final

from gateway.config_schema import KeyConfig
from gateway.key_file import KEY_FILE, KeyFile, text_of
from gateway.problems import ConfigError
from gateway.yaml_reader import YamlReader

if sys.platform == "win32":
    import msvcrt
else:
    import fcntl

_PRIVATE: Final = 0o600
_FOR_GROUP: Final = 0o640
_OTHERS: Final = stat.S_IRWXO | stat.S_IWGRP  # who could read the names and limits of keys, or add one


class Refused(OSError):
    """A file without a mistake in its text that must not be used as it is."""


def read(path: Path) -> str:
    """Return the text of keys.yaml, "" where there is none. Raises Refused for one that must not be used."""
    try:
        with path.open(encoding="utf-8") as file:
            mode = os.fstat(file.fileno()).st_mode
            if os.name == "posix" and mode & _OTHERS:
                raise Refused(
                    f"{path} holds client keys and other users of this machine can read or change it "
                    f"(mode {stat.S_IMODE(mode):o}): chmod 600 {path}"
                )
            return file.read()
    except FileNotFoundError:
        return ""
    except UnicodeDecodeError:
        raise Refused(f"{path} is not UTF-8 text: put back a copy of it") from None
    except PermissionError:
        raise Refused(
            f"{path} cannot be read by this user: give it to the user that runs the server, chown USER {path}"
        ) from None


def rows(text: str) -> tuple[KeyConfig, ...]:
    """Return the keys that a text of keys.yaml holds. Raises ConfigError."""
    reader = YamlReader(text, {}, KEY_FILE)
    file = reader.read(KeyFile)
    if file is None or reader.problems:
        raise ConfigError(KEY_FILE, reader.problems)
    return file.keys


def change(path: Path, like: Path, edit: Callable[[tuple[KeyConfig, ...]], tuple[KeyConfig, ...]]) -> None:
    """Replace keys.yaml by what `edit` makes of its keys, while no other process changes it.

    like: the configuration, whose owner the file gets where root makes it. Raises what `edit` does, ConfigError and OSError;
    then nothing has changed.
    """
    with _locked(path):
        _write(path, like, text_of(edit(rows(read(path)))))


@contextlib.contextmanager
def _locked(path: Path) -> Iterator[None]:
    """Hold the lock of a file; it is on another file, since this one is replaced."""
    lock = os.open(path.with_name(f"{path.name}.lock"), os.O_RDWR | os.O_CREAT, _PRIVATE)
    try:
        if sys.platform == "win32":
            msvcrt.locking(lock, msvcrt.LK_LOCK, 1)
        else:
            fcntl.flock(lock, fcntl.LOCK_EX)
        yield
    finally:
        os.close(lock)  # and with it the lock


def _write(path: Path, like: Path, text: str) -> None:
    """Write the file in one step: whoever reads it meanwhile, or after a power cut, finds the old or the new one."""
    fresh = path.with_name(f"{path.name}.new")
    fresh.unlink(missing_ok=True)  # of a process that has died
    with os.fdopen(os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_EXCL, _PRIVATE), "w", encoding="utf-8") as file:
        if sys.platform != "win32":
            _give(file.fileno(), path, like)
        file.write(text)
        file.flush()
        os.fsync(file.fileno())
    fresh.replace(path)


def _give(file: int, path: Path, like: Path) -> None:
    """Where root writes the file, let the server read it: by the owner it had, else by that of the configuration.

    A configuration of root's that a group may read, as the service's is, makes a file of root's that this group may read.
    """
    if sys.platform == "win32" or os.geteuid() != 0:
        return
    old = path.stat() if path.exists() else None
    model = old or like.stat()
    os.fchown(file, model.st_uid, model.st_gid)
    by_group = model.st_mode & stat.S_IRGRP and model.st_uid == 0 and model.st_gid != 0
    os.fchmod(file, _FOR_GROUP if by_group else _PRIVATE)
