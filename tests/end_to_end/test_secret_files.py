"""${file:PATH} and ${credential:NAME} in config.yaml: secrets of Docker and of systemd."""

from pathlib import Path

import httpx2 as httpx
import pytest
from process import Process, config, run

from gateway.problems import ConfigError
from server.config_file import Source

TEXT = """\
providers:
  openai: {api_key: "${file:KEY}"}
  anthropic:
    api_key: ["${file:secrets/one}", "${credential:two}"]
  mine: {protocol: openai, base_url: "https://${file:KEY}.example.com/v1"}
keys:
  - {name: a, key: "${credential:client}"}
"""


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A configuration, the files it names, and systemd's folder of credentials."""
    files = {
        "config.yaml": TEXT.replace("KEY", str(tmp_path / "key")),
        "key": "sk-file\n",
        "secrets/one": "sk-one\r\n",
        "credentials/two": "sk-two",
        "credentials/client": "sk-client-of-sixteen\n\n",
    }
    for name, text in files.items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_bytes(text.encode())
    monkeypatch.setenv("CREDENTIALS_DIRECTORY", str(tmp_path / "credentials"))
    return tmp_path


def mistakes(folder: Path) -> list[str]:
    with pytest.raises(ConfigError) as caught:
        Source(folder / "config.yaml", {}).read()
    return str(caught.value).splitlines()


def test_files_are_read_without_the_line_end(folder: Path) -> None:
    settings = Source(folder / "config.yaml", {}).read()
    assert settings.providers["openai"].api_key == "sk-file"
    assert settings.providers["anthropic"].api_keys == ("sk-one", "sk-two")
    assert settings.providers["mine"].base_url == "https://sk-file.example.com/v1"
    assert settings.config.keys[0].key == "sk-client-of-sixteen"
    assert settings.written is False  # no key stands in the configuration itself
    assert {"sk-file", "sk-one", "sk-two", "sk-client-of-sixteen"} <= settings.secrets()


def test_a_file_that_cannot_be_used_is_a_mistake_with_its_line(folder: Path) -> None:
    (folder / "key").write_bytes(b"\xff\xfe")
    (folder / "secrets" / "one").unlink()
    (folder / "credentials" / "two").write_text("\n", encoding="utf-8")
    (folder / "credentials" / "client").write_text("x" * 70_000, encoding="utf-8")
    large = f"the file {folder}/credentials/client is too large for a secret: more than 65536 bytes"
    assert mistakes(folder) == [
        f"config.yaml:2: providers.openai.api_key: the file {folder}/key is not UTF-8 text",
        f"config.yaml:4: providers.anthropic.api_key[0]: the file {folder}/secrets/one cannot be read: No such file or directory",
        f"config.yaml:4: providers.anthropic.api_key[1]: the file {folder}/credentials/two is empty",
        f"config.yaml:5: providers.mine.base_url: the file {folder}/key is not UTF-8 text",
        f"config.yaml:7: keys[0].key: {large}",
    ]  # fmt: skip


def test_credentials_need_systemd(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    text = "providers:\n  openai: {api_key: '${credential:../key}'}\n  echo: {options: {delay: '${file:x y}'}}\n"
    (folder / "config.yaml").write_text(text, encoding="utf-8")
    assert mistakes(folder) == [
        "config.yaml:2: providers.openai.api_key: a credential has a name without slashes; for other files write ${file:PATH}",
        f"config.yaml:3: providers.echo.options.delay: the file {folder}/x y cannot be read: No such file or directory",
    ]
    monkeypatch.delenv("CREDENTIALS_DIRECTORY")
    (folder / "config.yaml").write_text(text.replace("../", ""), encoding="utf-8")
    assert mistakes(folder)[0].endswith(
        "there is no credential key: $CREDENTIALS_DIRECTORY is not set (systemd: LoadCredential=)"
    )


def test_a_client_key_from_a_file_lets_in_and_is_read_again_by_a_reload(tmp_path: Path) -> None:
    secret = tmp_path / "client"
    secret.write_text("sk-client-canary-one\n", encoding="utf-8")
    with Process(config(more=f'keys: [{{name: a, key: "${{file:{secret}}}"}}]')) as server:

        def status(key: str) -> int:
            return httpx.get(f"{server.url}/models", headers={"Authorization": f"Bearer {key}"}).status_code

        assert (status("sk-client-canary-one"), status("sk-client-canary-two")) == (200, 401)
        secret.write_text("sk-client-canary-two\n", encoding="utf-8")
        assert run("reload", "--config", str(server.config), "--port", str(server.port)).returncode == 0
        assert (status("sk-client-canary-one"), status("sk-client-canary-two")) == (401, 200)
