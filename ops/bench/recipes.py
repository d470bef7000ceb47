"""How servers are installed and started: this project (any checkout of it) and its peers. A new peer is a row of PEERS."""

import os
import shutil
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Final

ROOT: Final = Path(__file__).resolve().parent.parent.parent
KEY: Final = "sk-bench-0123456789abcdef0123456789abcdef"
GPT, CLAUDE, GEMINI = "gpt-4o", "claude-haiku-4-5", "gemini-2.5-flash"


@dataclass(frozen=True)
class Recipe:
    """How a server is installed and started. In config, command and env, $port, $upstream, $folder, $home and $keys are replaced.

    models: what to ask for, by upstream: gpt, claude, gemini, and plain, which speaks chat completions only. apis: of APIS,
    those it has. packages: from PyPI, into a venv of its own at $home. binary, debian: a program, and the package that brings it.
    """

    name: str
    config: str
    command: Sequence[str]
    models: Mapping[str, str]
    apis: Sequence[str]
    key: str = ""
    prefix: str = "/v1"
    packages: Sequence[str] = ()
    binary: str = ""
    debian: str = ""
    folder: Path = ROOT
    env: Mapping[str, str] = field(default_factory=dict)
    version: str = ""


OURS: Final = Recipe(
    "modelserver",
    """
server: {port: $port}
keys:
$keys
providers:
  openai: {base_url: "http://$upstream/v1", api_key: sk-upstream, concurrency: 2000}
  anthropic: {base_url: "http://$upstream", api_key: sk-ant-upstream, concurrency: 2000}
  gemini: {base_url: "http://$upstream/v1beta", api_key: sk-gemini-upstream, concurrency: 2000}
  plain: {protocol: openai, base_url: "http://$upstream/v1", api_key: sk-upstream, concurrency: 2000}
models:
  gpt-4o: openai
  claude-haiku-4-5: anthropic
  gemini-2.5-flash: gemini
  plain: plain/gpt-4o
usage: {path: $folder/usage.db}
""",
    [sys.executable, "modelserver.py", "--config", "$folder/config"],
    {"gpt": GPT, "claude": CLAUDE, "gemini": GEMINI, "plain": "plain"},
    ["chat", "claude", "gemini", "messages", "messages-hub", "responses", "responses-hub"],
    key=KEY,
)
PEERS: Final = {
    # Bytes only: no keys, no JSON. What a gateway cannot get below.
    "nginx": Recipe(
        "nginx",
        """
daemon off; master_process off; worker_processes 1; worker_rlimit_nofile 65536;
pid $folder/pid; error_log $folder/error warn;
events { worker_connections 16384; }
http {
  access_log off; client_max_body_size 64m; client_body_buffer_size 8m; tcp_nodelay on;
  client_body_temp_path $folder/1; proxy_temp_path $folder/2; fastcgi_temp_path $folder/3;
  uwsgi_temp_path $folder/4; scgi_temp_path $folder/5;
  keepalive_requests 100000000; keepalive_timeout 300s;
  upstream up { server $upstream; keepalive 2048; keepalive_requests 100000000; keepalive_timeout 300s; }
  server {
    listen 127.0.0.1:$port backlog=8192;
    location / { proxy_pass http://up; proxy_http_version 1.1; proxy_set_header Connection ""; proxy_buffering off; }
  }
}
""",
        ["$binary", "-c", "$folder/config", "-p", "$folder/", "-e", "$folder/error"],
        {"gpt": GPT, "claude": CLAUDE},
        ["chat", "messages", "responses"],
        binary="nginx",
        debian="nginx-light",
    ),
    # As its documentation advises for production: one worker, no database, no callbacks.
    "litellm": Recipe(
        "litellm",
        f"""
model_list:
  - model_name: gpt-4o
    litellm_params: {{model: openai/gpt-4o, api_base: "http://$upstream/v1", api_key: sk-upstream}}
  - model_name: {CLAUDE}
    litellm_params: {{model: anthropic/{CLAUDE}, api_base: "http://$upstream", api_key: sk-ant-upstream}}
litellm_settings: {{request_timeout: 600, set_verbose: false, json_logs: true}}
general_settings: {{master_key: {KEY}}}
""",
        [
            "$home/bin/litellm",
            "--config",
            "$folder/config",
            "--host",
            "127.0.0.1",
            "--port",
            "$port",
            "--num_workers",
            "1",
        ],
        {"gpt": GPT, "claude": CLAUDE},
        ["chat", "claude", "messages", "responses"],
        key=KEY,
        packages=["litellm[proxy]==1.106.2"],
        env={"LITELLM_LOG": "ERROR", "LITELLM_MODE": "PRODUCTION", "LITELLM_LOCAL_MODEL_COST_MAP": "True"},
    ),
    # The Rust gateway inside its Python package; it listens at all addresses of the machine, on a port of its own choice.
    "tensorzero": Recipe(
        "tensorzero",
        f"""
[gateway]
observability.enabled = false
disable_pseudonymous_usage_analytics = true
[models.gpt-4o]
routing = ["openai"]
[models.gpt-4o.providers.openai]
type = "openai"
model_name = "gpt-4o"
api_base = "http://$upstream/v1/"
api_key_location = "env::UP_KEY"
[models.claude]
routing = ["anthropic"]
[models.claude.providers.anthropic]
type = "anthropic"
model_name = "{CLAUDE}"
api_base = "http://$upstream/v1"
api_key_location = "env::UP_KEY"
[object_storage]
type = "disabled"
""",
        [
            "$home/bin/python",
            "-c",
            "import pathlib, shutil, sys, threading; from tensorzero import tensorzero as t\n"
            "shutil.copy(sys.argv[1], sys.argv[1] + '.toml')\n"
            "g = t._start_http_gateway(config_file=sys.argv[1] + '.toml', clickhouse_url=None, postgres_url=None,"
            " valkey_url=None, async_setup=False)\n"
            "pathlib.Path(sys.argv[2]).write_text(g.base_url); threading.Event().wait()",
            "$folder/config",
            "$folder/url",
        ],
        {"gpt": "tensorzero::model_name::gpt-4o", "claude": "tensorzero::model_name::claude"},
        ["chat", "claude"],
        packages=["tensorzero==2026.6.0"],
        env={"UP_KEY": "sk-upstream"},
    ),
}
# No server: the clients ask the upstream itself, which shows how much the bench can do.
DIRECT: Final = Recipe("direct", "", [], {"gpt": GPT, "claude": CLAUDE}, ["chat", "messages", "responses"])


def checkout(name: str, home: Path) -> Recipe:
    """This project as it is in another folder, or at a commit, of which the files are put under home."""
    folder = Path(name)
    if not folder.is_dir():
        commit = subprocess.run(
            ["git", "rev-parse", "--short", name], cwd=ROOT, capture_output=True, text=True, check=True
        )
        folder = home / f"commit-{commit.stdout.strip()}"
        if not folder.is_dir():
            packed = subprocess.run(["git", "archive", name], cwd=ROOT, capture_output=True, check=True)
            folder.mkdir(parents=True)
            subprocess.run(["tar", "-x", "-C", str(folder)], input=packed.stdout, check=True)
    return replace(OURS, name=name, folder=folder.resolve())


def install(recipe: Recipe, home: Path) -> None:
    """Make a venv with the packages of a peer unless there is one."""
    place = home / recipe.name
    if recipe.packages and not (place / "done").exists():
        print(f"installing {' '.join(recipe.packages)} in {place}", file=sys.stderr)
        subprocess.run([sys.executable, "-m", "venv", str(place)], check=True)
        subprocess.run([str(place / "bin" / "pip"), "install", "--quiet", *recipe.packages], check=True)
        (place / "done").touch()
    if recipe.binary and not program(recipe):
        raise SystemExit(f"{recipe.name}: no {recipe.binary}; `apt-get install {recipe.debian}` brings it")


def program(recipe: Recipe) -> str:
    return shutil.which(recipe.binary, path=os.environ.get("PATH", "") + ":/usr/sbin") or ""
