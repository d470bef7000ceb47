"""`modelserver.py keys`: client keys are made, changed and listed without editing a file, and the next request obeys."""

import contextlib
import io
import os
import re
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from hashlib import sha256
from pathlib import Path
from typing import Any

import httpx2 as httpx
import msgspec
import pytest
from process import ROOT, Process, config, environment, run

from gateway.config import load
from gateway.config_schema import KeyConfig
from gateway.key_file import KeyFile, text_of
from gateway.problems import ConfigError
from gateway.yaml_reader import YamlReader
from server import key_file
from server.commands.arguments import parse
from server.commands.keys import keys as command
from server.config_file import Source
from server.key_file import Refused
from server.managed_keys import GIVEN

FACTS = "families: {}\nmodels: {}\n"
BASE = "providers: {echo: {}}\nusage: {path: usage.db}\n"
DIGEST = "0e5038269c359df3c17c5ee091574dce5c287e235b4400e10cdca886400b4252"
OTHER = sha256(b"another").hexdigest()


def keys(path: Path, *words: str, port: int = 1) -> tuple[int, str, str]:
    """`keys …` with the configuration at this path, in this process: exit code, standard output and error.

    port: of the running server; nothing listens on the first.
    """
    out, err = io.StringIO(), io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        try:
            code = command(parse(["keys", *words], ""), Source(path, {"port": port}))
        except SystemExit as end:
            code = int(end.code or 0)
        except (ConfigError, Refused) as error:
            code = 2
            print(f"modelserver: {error}", file=sys.stderr)
    return code, out.getvalue(), err.getvalue()


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """A configuration without keys that no server runs with."""
    file = tmp_path / "config.yaml"
    file.write_text(f"server: {{port: 1}}\n{BASE}", encoding="utf-8")
    return file


class Steady(threading.Thread):
    """Asks again and again with one key; `bad` are the answers that are not 200."""

    def __init__(self, server: Process, key: str) -> None:
        super().__init__()
        self._server, self._key, self._end = server, key, threading.Event()
        self.bad: list[Any] = []
        self.good = 0
        self.start()

    def run(self) -> None:
        with httpx.Client(trust_env=False) as client:
            while not self._end.is_set():
                status = post(self._server, self._key, client)[0]
                self.good += status == 200
                self.bad += [status] if status != 200 else []

    def stop(self) -> None:
        self._end.set()
        self.join()


def post(server: Process, key: str, client: httpx.Client | None = None) -> tuple[int, str | None]:
    """Status and error code of a question to echo."""
    body = {"model": "echo", "messages": [{"role": "user", "content": "Hello!"}]}
    got = (client or httpx).post(
        f"{server.url}/chat/completions", json=body, headers={"Authorization": f"Bearer {key}"}
    )
    return got.status_code, got.json().get("error", {}).get("code")


def test_the_next_request_obeys_under_load_and_none_fails() -> None:
    steady = "sk-ms-steady-canary"
    text = config(more=f"keys: [{{name: steady, key: {steady}}}]\nusage: {{path: usage.db}}")
    with Process(text) as server:

        def change(*words: str) -> str:
            code, out, err = keys(server.config, *words, port=server.port)
            assert code == 0 and err.startswith("reloaded: generation "), err
            return out.partition("\n")[0]

        load = [Steady(server, steady) for _ in range(2)]
        key = change("add", "team", "--rpm", "1000", "--models", "echo")
        assert post(server, key) == (200, None)
        assert change("disable", "team") == "team: disabled"
        assert post(server, key) == (401, "key_disabled")
        assert change("enable", "team") == "team: enabled"
        assert post(server, key) == (200, None)
        new = change("rotate", "team")
        assert (post(server, key), post(server, new)) == ((401, "authentication_error"), (200, None))
        assert change("remove", "team") == "team: removed"
        assert post(server, new) == (401, "authentication_error")
        for each in load:
            each.stop()
            assert each.bad == [] and each.good > 20


def test_a_key_is_known_when_the_command_ends_even_where_another_reload_was_under_way() -> None:
    with Process(config(more="usage: {path: usage.db}")) as server:
        first = keys(server.config, "add", "first", port=server.port)[1].partition("\n")[0]
        end = threading.Event()

        def reload() -> None:
            while not end.wait(0.001):
                os.kill(server.pid, 1)

        noise = threading.Thread(target=reload)
        noise.start()
        try:
            for n in range(5):  # each asks the server whether it knows the key
                assert keys(server.config, "add", f"k{n}", port=server.port)[0] == 0
        finally:
            end.set()
            noise.join()
        assert post(server, first) == (200, None)


def test_processes_that_add_at_once_lose_nothing(path: Path) -> None:
    add = [sys.executable, "modelserver.py", "keys", "add", "--config", str(path)]
    running = [
        subprocess.Popen([*add, f"k{n}"], cwd=ROOT, env=environment(), stdout=-1, stderr=-1, text=True)
        for n in range(3)
    ]
    said = [process.communicate()[0] for process in running]
    assert [process.returncode for process in running] == [0] * 3
    found = load(BASE, {}, FACTS, key_file=path.with_name("keys.yaml").read_text(encoding="utf-8")).keys
    assert {caller.name: digest for digest, caller in found.items()} == {
        f"k{n}": sha256(text.partition("\n")[0].encode()).hexdigest() for n, text in enumerate(said)
    }
    assert {file.name for file in path.parent.iterdir()} == {"config.yaml", "keys.yaml", "keys.yaml.lock"}


def test_changes_wait_for_each_other(path: Path) -> None:
    file = path.with_name("keys.yaml")

    def add(name: str) -> None:
        def edit(keys: tuple[KeyConfig, ...]) -> tuple[KeyConfig, ...]:
            time.sleep(0.005)  # for the others to come in between
            return (*keys, KeyConfig(name=name, sha256=sha256(name.encode()).hexdigest()))

        key_file.change(file, path, edit)

    names = [f"k{n}" for n in range(16)]
    with ThreadPoolExecutor(4) as pool:
        list(pool.map(add, names))
    assert sorted(key.name for key in key_file.rows(key_file.read(file))) == sorted(names)


def test_what_is_written_is_private_and_holds_no_key(path: Path) -> None:
    limits = (
        "--budget",
        "5",
        "--per",
        "day",
        "--models",
        "gpt-*,echo",
        "--rpm",
        "3",
        "--tpm",
        "9",
        "--concurrency",
        "2",
    )
    code, out, err = keys(path, "add", 'the "team"', *limits, "--expires", "2027-01-31", "--admin", "--allow-unpriced")
    key, *more = out.splitlines()
    assert code == 0
    assert key.startswith("sk-ms-") and len(key) > 40
    assert more == [
        "",
        "Shown once: keep it. keys.yaml holds its digest only.",
        "This is the first key: from now on every request needs one.",
    ]
    assert err == ("not reloaded, the server reads keys.yaml at its next start or reload: nothing answers there\n")
    file = path.with_name("keys.yaml")
    assert file.stat().st_mode & 0o777 == 0o600
    assert file.read_text(encoding="utf-8").splitlines()[2:] == [
        "keys:",
        f'  - {{name: "the \\"team\\"", sha256: "{sha256(key.encode()).hexdigest()}", models: ["gpt-*", "echo"], rpm: 3, '
        'tpm: 9, concurrency: 2, budget_usd: 5, budget_period: "day", allow_unpriced: true, expires: "2027-01-31", '
        "admin: true}",
    ]
    assert keys(path, "disable", 'the "team"')[:2] == (0, 'the "team": disabled\n')
    assert file.stat().st_mode & 0o777 == 0o600


@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() != 0, reason="only root gives files away")
def test_what_root_writes_can_be_read_by_the_servers_user(path: Path) -> None:
    file = path.with_name("keys.yaml")
    os.chown(path, 1234, 2345)
    keys(path, "add", "a")
    assert (file.stat().st_uid, file.stat().st_gid, file.stat().st_mode & 0o777) == (1234, 2345, 0o600)
    file.unlink()
    os.chown(path, 0, 2345)  # as the service's: root's, and its group may read it
    path.chmod(0o640)
    for words in (("add", "a"), ("add", "b")):
        keys(path, *words)
        assert (file.stat().st_uid, file.stat().st_gid, file.stat().st_mode & 0o777) == (0, 2345, 0o640)


@pytest.mark.parametrize("mode", [0o644, 0o604, 0o660])
def test_a_file_that_others_can_read_or_change_is_refused(path: Path, mode: int) -> None:
    keys(path, "add", "a")
    file = path.with_name("keys.yaml")
    file.chmod(mode)
    says = (
        f"modelserver: {file} holds client keys and other users of this machine can read or change it (mode {mode:o}): "
        f"chmod 600 {file}\n"
    )
    for words in ((), ("disable", "a")):
        assert keys(path, *words) == (2, "", says)
    with pytest.raises(Refused) as caught:  # as `check`, the start and a reload do
        Source(path, {}).read()
    assert f"modelserver: {caught.value}\n" == says
    file.chmod(0o600)
    assert [caller.name for caller in Source(path, {}).read().keys.values()] == ["a"]


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (("add", "a"), "keys.yaml has a key 'a': `keys rotate` gives it a new secret, or choose another name"),
        (("add", "c"), "config.yaml has a key 'c': choose another name, or remove it there first"),
        (("disable", "c"), "the key 'c' is in config.yaml: change it there, then `reload`"),
        (("rotate", "z"), "keys.yaml has no key 'z'; it has a"),
        (("ad", "z"), "there is no action 'ad'; did you mean 'add'? --help tells more"),
        (("add", "z", "--rpm", "1.5"), "argument --rpm: expected a number from 1 to 1000000000, but got '1.5'; "
         "--help tells more"),
        (("add", "z", "--budget", "$5"), "argument --budget: expected dollars such as 5 or 0.50, up to 100000, but got '$5'; "
         "--help tells more"),
        (("list", "--rpm", "5"), "--rpm belongs to keygen and keys add; --help tells more"),
    ],
)  # fmt: skip
def test_what_cannot_be_done_is_one_sentence(path: Path, words: tuple[str, ...], says: str) -> None:
    path.write_text(path.read_text(encoding="utf-8") + f"keys: [{{name: c, sha256: {OTHER}}}]\n", encoding="utf-8")
    file = path.with_name("keys.yaml")
    before = text_of((KeyConfig(name="a", sha256=DIGEST),))
    file.write_text(before, encoding="utf-8")
    file.chmod(0o600)
    assert keys(path, *words) == (2, "", f"modelserver: {says}\n")
    assert file.read_text(encoding="utf-8") == before


def test_the_last_key_is_not_removed(path: Path) -> None:
    keys(path, "add", "a")
    assert keys(path, "remove", "a")[2] == (
        "modelserver: 'a' is the last key, and without keys any program on this machine may call: `keys disable` it, or "
        "delete keys.yaml and reload if that is what you want\n"
    )


def test_a_change_that_the_server_would_refuse_is_not_written(path: Path) -> None:
    path.write_text('providers: {echo: {}}\nkeys: [{name: c, key: "${NOT_SET_HERE}"}]\n', encoding="utf-8")
    says = "a budget must outlive a restart: give usage.path a file, for example usage.db"
    assert keys(path, "add", "a", "--budget", "5") == (2, "", f"modelserver: keys.yaml:4: keys[0].budget_usd: {says}\n")
    assert not path.with_name("keys.yaml").exists()


def test_keygen_is_keys_add(path: Path) -> None:
    made = run("keygen", "team", "--rpm", "5", "--config", str(path))
    assert made.returncode == 0
    text = path.with_name("keys.yaml").read_text(encoding="utf-8")
    [(digest, caller)] = load(BASE, {}, FACTS, key_file=text).keys.items()
    assert digest == sha256(made.stdout.partition("\n")[0].encode()).hexdigest()
    assert caller.name == "team" and caller.limits is not None and caller.limits.rpm == 5


def test_the_list_shows_use_against_limits() -> None:
    priced = "model_facts: {paid: {price: {input: 1000, output: 1000}}}\n"
    text = config(more=f"usage: {{path: usage.db}}\n{priced}", models="paid: echo/paid")
    with Process(text) as server:
        limits = ("--rpm", "60", "--budget", "5", "--per", "day")
        key = keys(server.config, "add", "team", *limits, port=server.port)[1].partition("\n")[0]
        keys(server.config, "add", "idle", "--admin", port=server.port)
        assert post(server, key) == (200, None)
        httpx.get(f"{server.url}/usage", headers={"Authorization": f"Bearer {key}"})  # waits until the row is written
        shown = keys(server.config, "list", port=server.port)[1].splitlines()
    [head, team, idle] = [re.split("  +", line) for line in shown]
    assert head == ["NAME", "STATE", "MODELS", "RPM", "TPM", "AT ONCE", "BUDGET", "TODAY", "LAST DAY", "FILE"]
    assert team[:4] == ["team", "on", "*", "1/60"]
    assert re.fullmatch(r"\d+", team[4]) and int(team[4]) > 0
    assert team[5:8] == ["0", "$0.0000 of $5 a day", "1 request, $0.0000"]
    assert re.fullmatch(r"20\d\d-\d\d-\d\d", team[8]) and team[9] == "keys.yaml"
    assert idle == [
        "idle",
        "admin",
        "*",
        "0",
        "0",
        "0",
        "$0.0000 in total",
        "0 requests, $0.0000",
        "never",
        "keys.yaml",
    ]


# keys.yaml

ROWS = [
    (),
    (KeyConfig(name="a", sha256=DIGEST),),
    (
        KeyConfig(
            name="中文 \"x\" \\ 'y' #z: {}", sha256=DIGEST, models=("a,b", "*c"), budget_usd=0.25, budget_period="total"
        ),
        KeyConfig(name="yes", sha256=OTHER, disabled=True, admin=True, expires="2027-01-31", tpm=10**9),
    ),
]


@pytest.mark.parametrize("rows", ROWS)
def test_what_is_written_is_what_is_read(rows: tuple[KeyConfig, ...]) -> None:
    reader = YamlReader(text_of(rows), {})
    assert (reader.read(KeyFile), reader.problems) == (KeyFile(keys=rows), [])


def test_every_field_of_a_key_has_an_option() -> None:
    fields = {field.name for field in msgspec.structs.fields(KeyConfig)}
    assert {*GIVEN} == fields - {"name", "key", "sha256", "disabled"}
    assert {*GIVEN} <= vars(parse(["keys", "add", "x"], "")).keys()


def test_no_field_of_a_key_is_lost() -> None:
    other: dict[Any, Any] = {str: "x", int: 7, float: 1.5, bool: True, tuple: ("x",)}
    full = {field.name: other[type(getattr(ROWS[1][0], field.name))] for field in msgspec.structs.fields(KeyConfig)}
    assert all(f"{name}: " in text_of((KeyConfig(**full),)) for name in full)


def test_mistakes_in_both_files_are_told_at_once() -> None:
    file = (
        f"keys:\n  - {{name: c, sha256: {OTHER}}}\n  - {{name: d, sha256: {DIGEST}}}\n"
        "  - {name: e, key: sk-a-canary-that-is-long}\n  - {name: f, rpn: 5}\n"
    )
    with pytest.raises(ConfigError) as caught:
        load(f"{BASE}prot: 1\nkeys: [{{name: c, sha256: {DIGEST}}}]\n", {}, FACTS, "my.yaml", key_file=file)
    assert str(caught.value).splitlines() == [
        "my.yaml:3: prot: unknown key; known are server, keys, providers, models, defaults, strict_params, inspector, "
        "responses, model_facts, usage, shared_state",
        "keys.yaml:2: keys[0].name: another key is called 'c' too",
        "keys.yaml:3: keys[1]: is the same key as 'c'",
        "keys.yaml:4: keys[2].key: this file holds digests only: put the key into my.yaml, or its digest here as sha256",
        "keys.yaml:5: keys[3].rpn: unknown key; did you mean 'rpm'?",
    ]
