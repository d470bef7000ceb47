"""The ways to install, each in a fresh Debian root to a streamed answer; and what the documentation says of other systems.

The Debian root takes minutes and a mirror: MODELSERVER_DEBIAN=1 runs these tests, and -s shows the seconds of each way.
"""

import os
import re
import shlex
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Final

import httpx2 as httpx
import pytest
from documents import LANGUAGES, READMES, blocks, page
from http_client import free_port
from process import ROOT
from test_container import STEPS
from test_keys_command import keys

from gateway import config_schema
from gateway.config_schema import RENAMED

SUITE: Final = "trixie"
MIRROR: Final = os.environ.get("MODELSERVER_DEBIAN_MIRROR", "http://deb.debian.org/debian")
PACKAGES: Final = "python3,python3-venv,curl,ca-certificates,git"
CERTIFICATES: Final = "/etc/ssl/certs/ca-certificates.crt"
PATIENCE: Final = 300.0  # seconds for a step


# What the documentation says


WHERE: Final = {
    config_schema.ServerConfig: "server.{}",
    config_schema.Cooldown: "server.cooldown.{}",
    config_schema.KeyConfig: "keys.{}",
    config_schema.ProviderConfig: "providers.*.{}",
    config_schema.OnDisconnect: "providers.*.on_disconnect: {}",
    config_schema.SharedStateConfig: "shared_state.{}",
    config_schema.Config: "{}",
}


@pytest.mark.parametrize("language", LANGUAGES)
def test_every_renamed_word_is_in_the_upgrade_notes(language: str) -> None:
    rows = re.findall(r"^\| `([^`]+)` \| `([^`]+)` \|$", page(language, "install").rpartition("\n## ")[2], re.M)
    assert dict(rows) == {
        WHERE[section].format(old): WHERE[section].format(new)
        for section, words in RENAMED.items()
        for old, new in words.items()
    }
    assert len(rows) == len(dict(rows))


@pytest.mark.parametrize("language", LANGUAGES)
def test_the_ways_to_start_are_those_of_the_files(language: str) -> None:
    """The commands of README and docs/ stand in ops/ too, or in README's first block, which .ci/run runs."""
    text, readme = page(language, "install"), (ROOT / READMES[language]).read_text(encoding="utf-8")
    compose, dockerfile = ((ROOT / "ops" / name).read_text(encoding="utf-8") for name in ("compose.yaml", "Dockerfile"))
    [start] = [
        block.text.strip() for block in blocks(language) if block.page == READMES[language] and block.language == "sh"
    ][:1]
    assert f"| venv | `{start}` |" in text and f"{start}\n" in readme
    assert f"`{re.findall('(docker build .*?)   ', dockerfile)[0]}`" in text
    for command in re.findall(r"^#   (docker compose .*?)(?:   .*)?$", compose, re.M):
        assert f"`{command}`" in text and f"`{command}`" in readme
    for shown in (text, readme):
        assert "| uv | `uv run modelserver.py` |" in shown


@pytest.mark.parametrize("language", LANGUAGES)
def test_the_keys_of_readme_and_documentation(language: str, tmp_path: Path) -> None:
    path = tmp_path / "config.yaml"
    path.write_text("server: {port: 1}\nproviders: {echo: {}}\nusage: {path: usage.db}\n", encoding="utf-8")
    for text in ((ROOT / READMES[language]).read_text(encoding="utf-8"), page(language, "keys")):
        [command] = re.findall(r"`python modelserver.py (keys add anna .*?)`", text)
        code, out, _ = keys(path, *shlex.split(command)[1:])
        assert code == 0 and out.startswith("sk-ms-")
        _, listed, _ = keys(path, "list")
        assert "$0.0000 of $5 a day" in listed
        (tmp_path / "keys.yaml").unlink()


def test_the_service_is_as_many_commands_as_the_documentation_says() -> None:
    unit = (ROOT / "ops/modelserver.service").read_text(encoding="utf-8").partition("[Unit]")[0]
    assert len(re.findall(r"(?m)^#   \S", unit)) == 7
    for file, words in (("README.md", "seven commands"), ("README.zh-CN.md", "七条命令")):
        assert words in (ROOT / file).read_text(encoding="utf-8")


def test_where_there_is_no_signal_a_reload_says_what_to_do() -> None:
    """As on Windows, whose Python has no SIGHUP."""
    script = (
        "import signal, sys, runpy; del signal.SIGHUP; sys.argv = ['modelserver.py', 'reload']; "
        "runpy.run_path('modelserver.py', run_name='__main__')"
    )
    done = subprocess.run([sys.executable, "-c", script], cwd=ROOT, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr == (
        "modelserver: this system has no signal for it: set server.reload_on_change: true, or start the server again\n"
    )


# A fresh Debian root


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Debian with Python and nothing else of ours but a clone at /opt/modelserver."""
    if os.environ.get("MODELSERVER_DEBIAN") != "1":
        pytest.skip("a fresh Debian root takes minutes: MODELSERVER_DEBIAN=1 runs this")
    if os.geteuid() or not shutil.which("debootstrap"):
        pytest.skip("a Debian root is made by root, with debootstrap: apt-get install debootstrap")
    path = tmp_path_factory.mktemp("debian")
    made = subprocess.run(
        ["debootstrap", "--variant=minbase", f"--include={PACKAGES}", SUITE, str(path), MIRROR],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    if made.returncode:
        pytest.skip(f"no Debian root can be made from {MIRROR}: {made.stdout[-300:]}{made.stderr[-300:]}")
    for file in (
        "/etc/resolv.conf",
        "/etc/hosts",
        CERTIFICATES,
        "/etc/pip.conf",
    ):  # this machine's way to the registries
        if Path(file).exists():
            shutil.copy(file, f"{path}{file}")
    path.chmod(0o755)  # the servers' user passes through it
    (path / "opt/modelserver").mkdir()
    archive = subprocess.run(["git", "archive", "HEAD"], cwd=ROOT, capture_output=True, check=True)
    subprocess.run(["tar", "-x", "-C", str(path / "opt/modelserver")], input=archive.stdout, check=True)
    return path


def inside(
    root: Path, command: str, folder: str = "/", user: str = "", more: Mapping[str, str] | None = None
) -> list[str]:
    """The command line that runs a shell's command in the root."""
    env = {"PATH": "/usr/local/bin:/usr/bin:/usr/sbin:/bin:/sbin", "HOME": "/tmp", "SSL_CERT_FILE": CERTIFICATES,
           "PIP_CERT": CERTIFICATES, **(more or {})}  # fmt: skip
    become = ["setpriv", f"--reuid={user}", f"--regid={user}", "--clear-groups"] if user else []
    variables = [f"{name}={value}" for name, value in env.items()]
    return ["chroot", str(root), *become, "env", "-i", "-C", folder, *variables, "sh", "-ec", command]


def do(command: Sequence[str]) -> str:
    done = subprocess.run(command, capture_output=True, text=True, timeout=PATIENCE, check=False)
    assert done.returncode == 0, f"{done.stdout}{done.stderr}"
    return done.stdout


@contextmanager
def way(name: str) -> Iterator[None]:
    """One way to install; prints the seconds that it took."""
    began = time.monotonic()
    yield
    print(f"\n{name}: {time.monotonic() - began:.1f} s to the streamed answer", end="")


def answers(command: Sequence[str], port: int, key: str = "any") -> None:
    """Start a server, and let echo answer as a stream; the server ends well."""
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True) as server:
        assert server.stdout is not None
        said = []
        for line in server.stdout:
            said.append(line)
            if line.startswith("Try: "):
                break
        else:
            raise AssertionError("".join(said))
        body = {"model": "echo", "stream": True, "messages": [{"role": "user", "content": "Hello!"}]}
        try:
            got = httpx.post(
                f"http://127.0.0.1:{port}/v1/chat/completions",
                json=body,
                headers={"Authorization": f"Bearer {key}"},
                timeout=20,
            )
        finally:
            server.terminate()
            server.stdout.read()
    assert got.status_code == 200 and "Hello!" in got.text and got.text.endswith("data: [DONE]\n\n")


def test_by_venv(root: Path) -> None:
    start = next(block.text.strip() for block in blocks("en") if block.page == "README.md" and block.language == "sh")
    port = free_port()
    do(inside(root, "cp -r /opt/modelserver /tmp/venv"))
    *steps, last = start.split(" && ")
    with way("venv"):
        do(inside(root, " && ".join(steps), "/tmp/venv"))
        answers(inside(root, f"exec {last} --port {port}", "/tmp/venv"), port)


def test_by_uv(root: Path) -> None:
    port = free_port()
    do(inside(root, "cp -r /opt/modelserver /tmp/uv && python3 -m venv /tmp/tool && /tmp/tool/bin/pip install -q uv"))
    with way("uv run"):
        answers(inside(root, f"exec /tmp/tool/bin/uv run -q modelserver.py --port {port}", "/tmp/uv"), port)


def test_by_the_steps_of_the_dockerfile(root: Path) -> None:
    """All but the layers: both stages have the same root, whose python is Debian's."""
    do(inside(root, "ln -sf python3 /usr/bin/python"))
    folder, user, env, port = "/", "", {}, free_port()
    with way("Dockerfile"):
        for word, rest in STEPS:
            match word:
                case "COPY" if "--from" not in rest:
                    flags, names = (
                        [part for part in rest.split() if part.startswith("--") == is_flag] for is_flag in (True, False)
                    )
                    *sources, to = names
                    target = f"{folder}/{to}" if not to.startswith("/") else to
                    for source in sources:
                        copied = "-T " if (ROOT / source).is_dir() else ""
                        do(
                            inside(
                                root,
                                f"mkdir -p $(dirname {target}x) && cp -r {copied}/opt/modelserver/{source} {target}",
                            )
                        )
                    for flag in flags:
                        name, value = flag.removeprefix("--").split("=")
                        do(inside(root, f"{name} {value} {target}"))
                case "RUN":
                    do(inside(root, rest, folder, user, env))
                case "WORKDIR":
                    folder = rest
                    do(inside(root, f"mkdir -p {folder}"))
                case "ENV":
                    env |= dict(pair.split("=") for pair in rest.split())
                case "USER":
                    user = rest
                case "ENTRYPOINT":
                    entry = " ".join(re.findall(r'"([^"]+)"', rest))
                case "CMD":
                    options = " ".join(re.findall(r'"([^"]+)"', rest))
        key = do(inside(root, f"{entry} keys add me --port 1", folder, user, env)).split()[0]
        answers(inside(root, f"exec {entry} {options} --port {port}", folder, user, env), port, key)


def test_by_the_steps_of_the_unit(root: Path) -> None:
    unit = (ROOT / "ops/modelserver.service").read_text(encoding="utf-8")
    *steps, systemd = re.findall(r"(?m)^#   (\S.*)$", unit.partition("[Unit]")[0])
    assert systemd.startswith("systemctl ")
    start, port = re.findall(r"(?m)^ExecStart=(.*)$", unit)[0], free_port()
    do(inside(root, "mkdir -p /etc/systemd/system && userdel modelserver 2>/dev/null || true"))
    with way("unit"):
        do(inside(root, "\n".join(steps)))
        do(inside(root, "install -d -o modelserver -g modelserver -m 700 /var/lib/modelserver"))
        state = {"STATE_DIRECTORY": "/var/lib/modelserver"}
        answers(inside(root, f"exec {start} --port {port}", "/opt/modelserver", "modelserver", state), port)
