"""ModelServer as people run it: `python modelserver.py` in a process of its own, on a free port, until the test is done.

It is forked from a process that has imported everything (forked.py), unless the test is marked `anew`: then Python is started.

    with Process(config(upstream)) as server:
        OpenAI(base_url=server.url, api_key="-").chat.completions.create(...)

Leaving the block stops it with SIGTERM and fails if it did not end with 0, or printed a traceback or an error of its own.
"""

import json
import os
import re
import signal
import socket
import subprocess
import sys
import tempfile
import threading
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar, Final, Self

from forked import Forked
from leak_watch import WORD, Watch

ROOT: Final = Path(__file__).resolve().parents[2]
PATIENCE: Final = 20.0  # seconds for a start or a stop; a good one takes half a second
_BANNER = re.compile(r"ModelServer \S+  (http://\S+:(\d+))/v1")
_NOT_THEIRS = "_API_KEY$|^MODELSERVER_|^PYTHON|^SSL_CERT_FILE$"  # variables of the tests that servers do not get
_TROUBLE = re.compile(
    r'Traceback \(most recent|"traceback":|"level":"(?:error|critical)"|Exception ignored|never retrieved|never awaited'
    r"|Task was destroyed|ResourceWarning|Fatal Python"
)


def config(upstream: Any = None, more: str = "", server: str = "", models: str = "", providers: str = "") -> str:
    """A configuration: echo without delay and, at `upstream`, the provider `up`, whose models are its scripts' names.

    server, models, providers: lines for these sections, not indented; more: further sections.
    """
    lines = ["server:", "  port: 0", *(f"  {line}" for line in server.splitlines())]
    lines += ["providers:", "  echo: {options: {delay: 0}}"]
    if upstream is not None:
        lines.append(f'  up: {{protocol: openai, base_url: "{upstream.url}/v1", api_key: "sk-upstream-canary"}}')
    lines += [f"  {line}" for line in providers.splitlines()]
    lines += ["models:", "  echo: echo", '  "echo-*": echo', *(f"  {line}" for line in models.splitlines())]
    return "\n".join([*lines, more, ""])


def beside(upstream: Any) -> str:
    """Providers of the other protocols at the same upstream, for config(providers=…)."""
    keys = {"claude": ("anthropic", "sk-ant-canary-0123456789"), "gemini": ("gemini", "sk-gem-canary-0123456789")}
    lines = [f'{{protocol: {protocol}, base_url: "{upstream.url}", api_key: {key}}}' for protocol, key in keys.values()]
    return "\n".join(f"{name}: {line}" for name, line in zip(keys, lines, strict=True))


def environment(**more: str) -> dict[str, str]:
    """This process's variables without any that would configure the server, and `more`."""
    keep = {name: value for name, value in os.environ.items() if not re.search(_NOT_THEIRS, name)}
    return {**keep, **more}


def forks(variables: Mapping[str, str]) -> bool:
    """Whether the test that runs has its servers forked. Variables of the linker and of Python need a new process."""
    in_a_test = "PYTEST_CURRENT_TEST" in os.environ
    return in_a_test and not Process.anew and not any(each.startswith(("LD_", "PYTHON")) for each in variables)


def run(
    *arguments: str, text: str | None = None, env: Mapping[str, str] | None = None, said: str = ""
) -> subprocess.CompletedProcess[str]:
    """A command that ends by itself: `python modelserver.py --config <text> <arguments>`, with its output.

    said: what it reads from standard input.
    """
    variables = environment(**(env or {}))
    with tempfile.TemporaryDirectory() as folder:
        command = [sys.executable, "modelserver.py"]
        if text is not None:
            path = Path(folder, "config.yaml")
            path.write_text(text, encoding="utf-8")
            command += ["--config", str(path)]
        if forks(variables):
            return _forked([*command[2:], *arguments], variables, said)
        done = subprocess.run(
            [*command, *arguments],
            cwd=ROOT,
            env=variables,
            input=said,
            capture_output=True,
            text=True,
            encoding="utf-8",
            timeout=PATIENCE,
            check=False,
        )
    assert WORD.decode() not in done.stdout + done.stderr, "a key is in the output"
    return done


def _forked(arguments: list[str], variables: Mapping[str, str], said: str) -> subprocess.CompletedProcess[str]:
    process = Forked(arguments, variables, said)
    captures = _Capture(process.stdout), _Capture(process.stderr)
    try:
        code = process.wait(PATIENCE)
    finally:
        process.kill()
        for capture, pipe in zip(captures, (process.stdout, process.stderr), strict=True):
            capture.join()
            pipe.close()
    out, err = (capture.text for capture in captures)
    assert WORD.decode() not in out + err, "a key is in the output"
    return subprocess.CompletedProcess(arguments, code, out, err)


class _Capture(threading.Thread):
    """Collects what a pipe says, so that it never fills up."""

    def __init__(self, pipe: Any) -> None:
        super().__init__(daemon=True)
        self._pipe = pipe
        self._news = threading.Condition()
        self.text = ""
        self._ended = False
        self.start()

    def run(self) -> None:
        for line in self._pipe:
            with self._news:
                self.text += line
                self._news.notify_all()
        with self._news:
            self._ended = True
            self._news.notify_all()

    def wait_for(self, test: Callable[[str], Any], patience: float = PATIENCE) -> Any:
        """What `test` makes of the text, as soon as that is true; None when the pipe ends before."""
        with self._news:
            self._news.wait_for(lambda: self._ended or test(self.text), patience)
            return test(self.text)


class Process:
    """A running server. url: base URL for clients; port, pid; out, err: what it printed so far."""

    watch: ClassVar[Watch | None] = None  # looks at what all servers send
    anew: ClassVar[bool] = False  # whether the test that runs is marked so

    def __init__(
        self,
        text: str,
        *arguments: str,
        env: Mapping[str, str] | None = None,
        stdout: int = subprocess.PIPE,
        listener: socket.socket | None = None,
        files: int | None = None,
        inside: Sequence[str] = (),
    ) -> None:
        """stdout: where the log goes; anything but a pipe needs a port in the configuration and a `ready` by the caller.

        listener: handed over as systemd hands over the socket of a .socket unit. files: how many may be open.
        inside: a command that makes the surroundings of the server and then becomes it.
        """
        command = [sys.executable, "modelserver.py"]
        if listener is not None or files is not None:
            take = f"exec 3<&{listener.fileno()}; export LISTEN_PID=$$ LISTEN_FDS=1; " if listener else ""
            limit = f"ulimit -n {files}; " if files else ""
            command = ["bash", "-c", f'{limit}{take}exec "$@"', "bash", *command]
        command = [*inside, *command]
        self._folder = tempfile.TemporaryDirectory()
        self.config = Path(self._folder.name, "config.yaml")
        self.config.write_text(text, encoding="utf-8")
        plain = stdout == subprocess.PIPE and command[0] == sys.executable
        variables = environment(**(env or {}))
        self._process: Any
        if plain and forks(variables):
            self._process = Forked(["--config", str(self.config), *arguments], variables)
        else:
            self._process = subprocess.Popen(
                [*command, "--config", str(self.config), *arguments],
                pass_fds=[listener.fileno()] if listener is not None else [],
                cwd=ROOT,
                env=variables,
                stdout=stdout,
                stderr=subprocess.PIPE,
                text=True,
                encoding="utf-8",
            )
        self.pid = self._process.pid
        self._watched = 0  # the port
        self._out = _Capture(self._process.stdout) if stdout == subprocess.PIPE else None
        self._err = _Capture(self._process.stderr)

    def __enter__(self) -> Self:
        if self._out is not None:
            found = self._out.wait_for(_BANNER.search)
            if not found:
                self.kill()
                raise AssertionError(f"the server did not start:\n{self.out}{self.err}")
            self.at(int(found[2]))
        return self

    def at(self, port: int) -> None:
        """The server listens on this port; the banner comes after the socket does, so it answers."""
        self.port, self.root, self.url = port, f"http://127.0.0.1:{port}", f"http://127.0.0.1:{port}/v1"
        if self.watch is not None:
            self.watch.on(port)
            self._watched = port

    def __exit__(self, kind: object, *_: object) -> None:
        if kind is not None:
            self.kill()
            sys.stdout.write(self.out + self.err)  # for pytest to show
        elif self._process.poll() is None:
            self.stop()

    @property
    def out(self) -> str:
        return self._out.text if self._out else ""

    @property
    def err(self) -> str:
        return self._err.text

    def lines(self) -> list[dict[str, Any]]:
        """The log so far: its JSON lines."""
        return [json.loads(line) for line in self.out.split("\n") if line.startswith("{")]

    def logged(self, **fields: Any) -> dict[str, Any]:
        """The log line with these fields; waits for it."""

        def match(text: str) -> Any:
            return next((line for line in reversed(self.lines()) if fields.items() <= line.items()), None)

        assert self._out is not None
        line = self._out.wait_for(match)
        assert line, f"no line with {fields} in:\n{self.out[-3000:]}"
        return dict(line)

    def kill(self) -> None:
        self._process.kill()
        self._end()

    def send(self, how: signal.Signals) -> None:
        self._process.send_signal(how)

    def stop(self, how: signal.Signals = signal.SIGTERM) -> int:
        """End the server with a signal; returns its exit code. Fails when it printed that something went wrong."""
        self.send(how)
        return self.ended()

    def ended(self) -> int:
        """Wait for the end of a server that was told to; returns its exit code. Fails as `stop` does."""
        code = self._end()
        trouble = [line for line in (self.out + self.err).splitlines() if _TROUBLE.search(line)]
        assert not trouble, "\n".join(trouble)[:5000]
        assert not self.err, self.err
        assert code == 0, f"exit code {code}:\n{self.out[-3000:]}"
        return code

    def _end(self) -> int:
        code = self._process.wait(PATIENCE)
        for capture, pipe in ((self._out, self._process.stdout), (self._err, self._process.stderr)):
            if capture is not None and pipe is not None:
                capture.join()
                pipe.close()
        self._folder.cleanup()
        if self.watch is not None and self._watched:
            self.watch.off(self._watched)
            self._watched = 0
        assert WORD.decode() not in self.out + self.err, "a key is in the log"
        return code
