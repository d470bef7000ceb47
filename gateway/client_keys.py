"""Check the client keys of a configuration: from their entries in config.yaml and keys.yaml to callers."""

import hashlib
from datetime import UTC, datetime, timedelta

from .config_schema import Config, KeyConfig
from .limits import KINDS, Limits
from .secret_checks import SHORTEST, wrong_digest, wrong_key, wrong_name
from .settings import Caller
from .yaml_reader import YamlReader


def add_keys(keys: dict[str, Caller], given: tuple[KeyConfig, ...], config: Config, reader: YamlReader) -> None:
    """Add the callers of a file to `keys`, and note its mistakes. reader: has read the file."""
    names = {caller.name for caller in keys.values()}
    for i, key in enumerate(given):
        path = reader.item("keys", i)
        if key.name in names:
            reader.note(f"{path}.name", f"another key is called '{key.name}' too")
        names.add(key.name)
        if wrong := wrong_name(key.name):
            reader.note(f"{path}.name", wrong)
        if {f"{path}.key", f"{path}.sha256"} & reader.unset.keys():
            continue  # noted with all unset variables
        digest = _digest(key)
        if not digest:
            if key.key or key.sha256 or not reader.wrong(path):
                reader.note(path, "give either 'key' or 'sha256'")
        elif wrong := wrong_key(key.key) if key.key else wrong_digest(digest):
            reader.note(f"{path}.{'key' if key.key else 'sha256'}", wrong)
        elif digest in keys:
            reader.note(path, f"is the same key as '{keys[digest].name}'")
        else:
            keys[digest] = _caller(key, path, config, reader)
            if 0 < len(key.key) < SHORTEST:
                reader.warn(f"{path}.key", f"is shorter than {SHORTEST} characters and can be guessed: see `keys add`")


def _caller(key: KeyConfig, path: str, config: Config, reader: YamlReader) -> Caller:
    counted = {kind.name: getattr(key, kind.name) for kind in KINDS if kind.over != "period"}
    limits = Limits(**counted, budget=round(key.budget_usd * 10**6), period=key.budget_period)
    if limits.budget and not config.usage.path:
        reader.note(
            f"{path}.budget_usd", "a budget must outlive a restart: give usage.path a file, for example usage.db"
        )
    caller = Caller(
        key.name,
        key.models,
        limits if limits.rows else None,
        key.allow_unpriced or not limits.budget,
        _expiry(key.expires, path, reader),
        key.disabled,
        key.admin,
        key.passthrough,
    )
    if caller.passthrough and caller.restricted:
        reader.note(
            f"{path}.passthrough",
            "what passes so is not read, and may use any model: models, tpm and budget_usd of the same key would not hold. "
            "Make a key of its own for it",
        )
    return caller


def _expiry(text: str, path: str, reader: YamlReader) -> float:
    """Return the Unix time at which a key stops working: the end of a day, or a time. Without a zone it is UTC."""
    if not text:
        return 0.0
    try:
        moment = datetime.fromisoformat(text) + timedelta(days=len(text) <= len("2027-01-31"))
    except (ValueError, OverflowError):
        reader.note(f"{path}.expires", 'expected a date or a time such as "2027-01-31" or "2027-01-31T18:00:00Z"')
        return 0.0
    return (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp()


def _digest(key: KeyConfig) -> str:
    if bool(key.key) == bool(key.sha256):
        return ""
    return key.sha256.lower() or hashlib.sha256(key.key.encode()).hexdigest()
