"""ops/modelserver.service: the steps its header names lead to a server that runs, under the mounts the unit asks for."""

import os
import re
import shutil
import socket
import subprocess
import sys
import sysconfig
from pathlib import Path
from typing import Final

import httpx2 as httpx
import pytest
from process import PATIENCE, ROOT
from usage_helpers import rows

UNIT: Final = (ROOT / "ops" / "modelserver.service").read_text(encoding="utf-8")
PARTS: Final = (
    *("modelserver.py", "server", "gateway", "dialects", "providers", "web", "ops", "config.yaml", "requirements.lock"),
)

# What the test does in place of the steps' surroundings: an /etc, /opt and /var/lib of its own.
BEFORE: Final = """
cp -a /etc "$base/etc"
mount --bind "$base/etc" /etc
mount -t tmpfs tmpfs /opt
mkdir /opt/modelserver
cp -r "$@" /opt/modelserver
mount -t tmpfs tmpfs /var/lib
mkdir /var/lib/modelserver
mount --bind "$base/state" /var/lib/modelserver
"""
# In place of the step that downloads: tests have no network. This Python may live where the service's user cannot read.
VENV: Final = """
mkdir -p .venv/bin .venv/lib/python%d.%d/site-packages /opt/python
mount --bind "$python" /opt/python
mount --bind "$packages" .venv/lib/*/site-packages
ln -s /opt/python/bin/python3 .venv/bin/python
echo "home = /opt/python/bin" >.venv/pyvenv.cfg"""
# What systemd does: everything read-only but the state directory and a /tmp of its own, another user, no environment.
AFTER: Final = """
chown modelserver:modelserver /var/lib/modelserver
mount -t tmpfs tmpfs /tmp
mount -o remount,bind,ro /etc
mount -o remount,ro /opt
mount -o remount,bind,ro /
! touch /etc/modelserver/usage.db 2>/dev/null
! touch /opt/modelserver/usage.db 2>/dev/null
cd /opt/modelserver
exec setpriv --reuid modelserver --regid modelserver --clear-groups \
  env -i PATH="$PATH" LD_LIBRARY_PATH=/opt/python/lib STATE_DIRECTORY=/var/lib/modelserver LISTEN_FDS=1 LISTEN_PID=$$ """


def setting(name: str) -> str:
    [value] = re.findall(rf"(?m)^{name}=(.*)$", UNIT)
    return str(value)


def steps() -> list[str]:
    """The commands of the header, up to those for systemd itself."""
    found = re.findall(r"(?m)^#   (\S.*)$", UNIT.partition("[Unit]")[0])
    assert found[-1] == "systemctl daemon-reload && systemctl enable --now modelserver.socket modelserver.service"
    return found[:-1]


def test_the_units_own_steps_start_the_shipped_configuration(tmp_path: Path) -> None:
    if not shutil.which("setpriv") or subprocess.run(["unshare", "--mount", "true"], check=False).returncode:
        pytest.skip("no process can be given mounts of its own here: that takes root")
    install = "python3 -m venv .venv && .venv/bin/pip install -q -r requirements.lock"
    here = f"python='{sys.base_prefix}' packages='{sysconfig.get_path('purelib')}'{VENV % sys.version_info[:2]}"
    commands = [here if step == install else step for step in steps()]
    assert here in commands and setting("ProtectSystem") == "strict" and setting("User") == "modelserver"
    assert setting("StateDirectory") == "modelserver" and setting("WorkingDirectory") == "/opt/modelserver"
    assert setting("EnvironmentFile") == "-/etc/modelserver/environment"
    (tmp_path / "state").mkdir()
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
        take = f"exec 3<&{listener.fileno()}\nbase='{tmp_path}'\n"
        script = take + BEFORE + "\n".join(commands) + AFTER + setting("ExecStart")
        server = subprocess.Popen(
            ["unshare", "--mount", "bash", "-euc", script, "bash", *(str(ROOT / part) for part in PARTS)],
            pass_fds=[listener.fileno()],
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        assert server.stdout is not None
        said = ""
        for line in server.stdout:
            said += line
            if line.startswith("Try: "):
                break
        else:
            raise AssertionError(said)
        body = {"model": "echo", "messages": [{"role": "user", "content": "Hello"}]}
        got = httpx.post(f"http://127.0.0.1:{port}/v1/chat/completions", json=body, timeout=PATIENCE)
        health = httpx.get(f"http://127.0.0.1:{port}/healthz", timeout=PATIENCE).json()
        server.terminate()
        server.stdout.read()
        server.stdout.close()
        assert server.wait(PATIENCE) == 0
    assert got.json()["choices"][0]["message"]["content"] == "Hello"
    assert (health["status"], "trouble" in health) == ("ok", False)
    [row] = rows(tmp_path / "state")
    assert (row["model"], row["status"]) == ("echo", 200)
    assert not os.path.exists("/etc/modelserver")  # noqa: PTH110
