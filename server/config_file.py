"""Read config.yaml from the disk, with the environment its ${NAME} stand for, and refuse what must not be served."""

import os
import re
import stat
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Final

import msgspec
from msgspec.structs import replace

from gateway.config import keys_of, load, server_of
from gateway.config_schema import Config, KeyConfig, ServerConfig
from gateway.key_file import KEY_FILE
from gateway.problems import ConfigError, Unreadable
from gateway.settings import Settings
from gateway.yaml_reader import YamlReader

from . import key_file
from .auth import is_loopback
from .key_file import Refused
from .outbound.dial import ssl_context
from .paths import ROOT
from .responses_store import MEMORY, OFF

LOCAL: Final = "models.local.yaml"
_NAME: Final = re.compile(r"[A-Za-z_]\w*", re.ASCII)
_LONGEST_SECRET: Final = 2**16  # bytes
_QUOTED: Final = re.compile("([\"'])(.*)\\1")


class Source(msgspec.Struct, frozen=True):
    """Where a configuration comes from. given: what the command line says instead of server.host and server.port."""

    path: Path
    given: Mapping[str, Any]
    env_file: Path | None = None

    def read(self) -> Settings:
        """Return the settings to serve. Raises ConfigError, Refused, and OSError where the file cannot be read."""
        facts, local = models_text(self.path)
        keys = key_file.read(self.key_file)
        settings = load(_text(self.path), self._environment(), facts, self.path.name, local, keys)
        config = settings.config
        if config.usage.path:
            usage = msgspec.structs.replace(config.usage, path=str(_state_folder(self.path) / config.usage.path))
            config = msgspec.structs.replace(config, usage=usage)
        if config.responses.store not in (MEMORY, OFF):
            responses = msgspec.structs.replace(
                config.responses, store=str(_state_folder(self.path) / config.responses.store)
            )
            config = msgspec.structs.replace(config, responses=responses)
        config = msgspec.structs.replace(config, server=self._overridden(config.server))
        warnings = _exported(self.env_file) if self.env_file else []
        settings = replace(settings, config=config, warnings=(*settings.warnings, *warnings))
        for refuse in (_refuse_nothing, _refuse_open_door, _refuse_missing_files):
            refuse(settings)
        _refuse_open_file(self.path, settings)
        return settings

    def server(self) -> ServerConfig:
        """Return the section `server` alone, for commands that only call the running server: no key needs to be set."""
        return self._overridden(server_of(_text(self.path), self._environment(), self.path.name))

    @property
    def key_file(self) -> Path:
        """Return where keys.yaml is: beside the configuration."""
        return self.path.resolve().with_name(KEY_FILE)

    def kept_at(self) -> str:
        """Return the path of the usage file that the configuration names, "" for none. Raises OSError."""
        config = YamlReader(_text(self.path), self._environment()).read(Config)
        return str(_state_folder(self.path) / config.usage.path) if config and config.usage.path else ""

    def check_keys(self, text: str) -> None:
        """Raise ConfigError for mistakes in a text for keys.yaml, whatever else is wrong, or not set in this environment."""
        facts, local = models_text(self.path)
        try:
            load(_text(self.path), self._environment(), facts, self.path.name, local, text)
        except ConfigError as error:
            if wrong := [problem for problem in error.problems if problem.source == KEY_FILE]:
                raise ConfigError(self.path.name, wrong) from None

    def _overridden(self, server: ServerConfig) -> ServerConfig:
        return msgspec.structs.replace(server, **self.given)

    def _environment(self) -> "_Environment":
        """What ${NAME} may stand for: the environment, the unit's credentials under systemd (LoadCredential=), env_file."""
        folder = os.environ.get("CREDENTIALS_DIRECTORY")
        files = [file for file in Path(folder).iterdir() if file.is_file()] if folder else []
        credentials = {file.name: _text(file).strip() for file in files}
        variables = {**credentials, **os.environ, **(_variables(self.env_file) if self.env_file else {})}
        return _Environment(variables, self.path.resolve().parent)


class _Environment(Mapping[str, str]):
    """Variables by their names, and files by the names file:PATH and credential:NAME, which are read when they are asked for.

    folder: to which paths are relative.
    """

    def __init__(self, variables: Mapping[str, str], folder: Path) -> None:
        self._variables, self._folder = variables, folder

    def __getitem__(self, name: str) -> str:
        """Return a value. Raises KeyError for a variable, and Unreadable for a file, that is not there."""
        kind, colon, rest = name.partition(":")
        if not colon:
            return self._variables[name]
        if kind == "file":
            return _secret(self._folder / rest)
        folder = self._variables.get("CREDENTIALS_DIRECTORY")
        if not folder:
            raise Unreadable(
                f"there is no credential {rest}: $CREDENTIALS_DIRECTORY is not set (systemd: LoadCredential=)"
            )
        if Path(rest).name != rest:
            raise Unreadable("a credential has a name without slashes; for other files write ${file:PATH}")
        return _secret(Path(folder) / rest)

    def __iter__(self) -> Iterator[str]:
        return iter(self._variables)

    def __len__(self) -> int:
        return len(self._variables)


def _secret(path: Path) -> str:
    """Return what a file holds, without the line end behind it. Raises Unreadable."""
    try:
        with path.open("rb") as file:
            data = file.read(_LONGEST_SECRET + 1)
        text = data.decode().rstrip("\r\n")
    except OSError as error:
        raise Unreadable(f"the file {path} cannot be read: {error.strerror or error}") from None
    except UnicodeDecodeError:
        raise Unreadable(f"the file {path} is not UTF-8 text") from None
    if len(data) > _LONGEST_SECRET:
        raise Unreadable(f"the file {path} is too large for a secret: more than {_LONGEST_SECRET} bytes")
    if not text:
        raise Unreadable(f"the file {path} is empty")
    return text


def models_text(config: Path) -> tuple[str, str]:
    """Return the texts of models.yaml, and of models.local.yaml beside a configuration, "" where there is none."""
    facts, local = ROOT / "providers" / "models.yaml", config.resolve().parent / LOCAL
    return facts.read_text(encoding="utf-8"), _text(local) if local.is_file() else ""


def words_of_error(error: Exception) -> str:
    """Return an exception's message; for a file, its path and what the system says of it, without the number."""
    if isinstance(error, OSError) and error.filename and error.strerror:
        return f"{error.filename}: {error.strerror}"
    return str(error)


def keys_in(path: Path) -> tuple[KeyConfig, ...]:
    """Return the client keys in a configuration, as far as it can be read. Raises OSError where the file cannot."""
    return keys_of(_text(path))


def _text(path: Path) -> str:
    """Return what a file of UTF-8 text holds, without a byte order mark. Raises Refused for other encodings."""
    data = path.read_bytes()
    if data.startswith((b"\xff\xfe", b"\xfe\xff")) or data.count(0) > len(data) // 4:
        raise Refused(f"{path} is UTF-16 or UTF-32 text: save it as UTF-8")
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        raise Refused(f"{path} is not UTF-8 text (line {line}): save it as UTF-8") from None


def _variables(path: Path) -> dict[str, str]:
    """Read lines of NAME=value; quotes around a value are taken off, # and ; begin comments. Raises Refused."""
    found = {}
    for number, line in enumerate(_text(path).splitlines(), 1):
        line = line.strip().removeprefix("export ")
        if not line or line[0] in "#;":
            continue
        name, equals, value = (part.strip() for part in line.partition("="))
        if not equals or not _NAME.fullmatch(name):
            raise Refused(f"{path}:{number}: expected NAME=value, with a name of letters, digits and _")
        quoted = _QUOTED.fullmatch(value)
        if value[:1] in ("'", '"') and not quoted:
            raise Refused(f"{path}:{number}: the quote around the value is not closed")
        found[name] = quoted[2] if quoted else value
    return found


def _exported(path: Path) -> list[str]:
    """Return a warning for each line of a file of variables that a shell reads and systemd ignores."""
    lines = [number for number, line in enumerate(_text(path).splitlines(), 1) if line.lstrip().startswith("export ")]
    return [f"{path}:{number}: warning: systemd ignores lines with `export`: leave the word out" for number in lines]


def _state_folder(path: Path) -> Path:
    """Return the folder to which paths of files that the server writes are relative.

    That is systemd's StateDirectory=, where there is one: under the shipped unit the configuration's folder is read-only.
    """
    state = os.environ.get("STATE_DIRECTORY", "").partition(":")[0]
    return Path(state) if state else path.resolve().parent


def _refuse_nothing(settings: Settings) -> None:
    if not settings.config.providers:
        raise Refused(
            "the configuration names no provider, so nothing could be answered: begin with `providers: {echo: {}}`"
        )


def _refuse_open_door(settings: Settings) -> None:
    """Without keys, only this machine may call."""
    host = settings.config.server.host
    if not settings.keys and not is_loopback(host):
        raise Refused(
            f"refusing to listen on {host} without keys: anyone who reaches it could spend your money. Add keys to the "
            "configuration, or listen on 127.0.0.1."
        )


def _refuse_missing_files(settings: Settings) -> None:
    """Raise Refused for a file or folder that the configuration names and that is not there."""
    try:
        for provider in settings.config.providers.values():
            ssl_context(provider.ca_file)
    except OSError as error:
        raise Refused(str(error)) from None
    if (usage := settings.config.usage.path) and not Path(usage).parent.is_dir():
        raise Refused(f"usage.path: there is no folder {Path(usage).parent}")
    kept = settings.config.responses.store
    if kept not in (MEMORY, OFF) and not Path(kept).parent.is_dir():
        raise Refused(f"responses.store: there is no folder {Path(kept).parent}")


def _refuse_open_file(path: Path, settings: Settings) -> None:
    """Keys written into the file must not be there for every user of this machine to read."""
    if not settings.written or os.name != "posix":
        return
    path = path.resolve()
    reachable = all(folder.stat().st_mode & stat.S_IXOTH for folder in path.parents)
    if reachable and path.stat().st_mode & stat.S_IROTH:
        raise Refused(
            f"{path} holds keys and can be read by every user of this machine: chmod 640 it, or take the keys from the "
            "environment (${NAME})"
        )
