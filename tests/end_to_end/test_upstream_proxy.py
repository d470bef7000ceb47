"""Providers behind an HTTP proxy: `proxy` of a provider, and the environment's."""

import ssl
from pathlib import Path
from typing import Any

import pytest
from http_client import ask, whole
from process import Process, run
from proxy import proxy
from scripted import Upstream, answer

from gateway.config import load
from gateway.problems import ConfigError
from gateway.proxies import from_environment, password, wrong_proxy

FACTS = "families: {}\nmodels: {}\n"
SAID = answer(whole())
PASSWORD = "canary%40proxy"  # canary@proxy


def provider(url: str, proxied: str, more: str = "") -> str:
    return (
        "server: {port: 0}\nproviders:\n"
        f'  up: {{protocol: openai, base_url: "{url}/v1", api_key: sk-upstream-canary, proxy: "{proxied}"{more}}}\n'
    )


@pytest.mark.parametrize("how", ["config", "environment"])
@pytest.mark.parametrize("user", ["", "me:canary@proxy"])
def test_an_https_upstream_is_reached_through_a_tunnel(
    certificate: tuple[ssl.SSLContext, Path], how: str, user: str
) -> None:
    """The name images.test exists at the proxy only."""
    context, file = certificate
    with Upstream(context) as upstream, proxy(user) as between:
        upstream.script("m", SAID)
        address = f"http://{f'me:{PASSWORD}@' if user else ''}127.0.0.1:{between.port}"
        url = f"https://images.test:{upstream.port}"
        text = provider(url, address if how == "config" else "env", f", ca_file: '{file}'")
        env = {} if how == "config" else {"https_proxy": address, "http_proxy": "http://127.0.0.1:1"}
        with Process(text, env={**env, "no_proxy": "", "NO_PROXY": ""}) as server:
            for _ in range(2):
                assert ask(server, "up/m").text == "Hi"
            assert "canary" not in server.out
        [first, second] = upstream.requests
        assert first.connection == second.connection, "the tunnel is used again"
        assert first.headers["host"] == f"images.test:{upstream.port}"
        assert not [name for name in first.headers if name.startswith("proxy")]
        found = run("doctor", "--port", "1", text=text, env=env)
        assert (
            f"ok    up                        images.test:{upstream.port} through the proxy: a trusted" in found.stdout
        )
    assert between.asked == [f"CONNECT images.test:{upstream.port}"] * 2


def test_an_http_upstream_is_asked_of_the_proxy(upstream: Upstream) -> None:
    name = upstream.script("through-a-proxy", SAID)
    with proxy("me:canary@proxy") as between:
        address = f"http://me:{PASSWORD}@127.0.0.1:{between.port}/"
        with Process(provider(f"http://plain.test:{upstream.port}", address)) as server:
            assert ask(server, f"up/{name}").text == "Hi"
    [request] = upstream.of(name)
    assert (request.path, request.headers["host"]) == ("/v1/chat/completions", f"plain.test:{upstream.port}")
    assert "proxy-authorization" not in request.headers
    assert between.asked == [f"POST http://plain.test:{upstream.port}/v1/chat/completions"]


def test_this_machine_is_never_behind_the_proxy_of_the_environment(upstream: Upstream) -> None:
    name = upstream.script("not-through-a-proxy", SAID)
    with Process(provider(upstream.url, "env"), env={"HTTP_PROXY": "http://127.0.0.1:1"}) as server:
        assert ask(server, f"up/{name}").text == "Hi"


def test_a_proxy_that_refuses_or_is_gone() -> None:
    with proxy("me:canary@proxy") as between:
        for port, says, found in (
            (
                between.port,
                "The proxy before the upstream refused the connection (HTTP status 407).",
                "HTTP status 407",
            ),
            (1, "The proxy before the upstream cannot be reached.", "the proxy cannot be reached"),
        ):
            text = provider("https://images.test:9", f"http://127.0.0.1:{port}")
            with Process(text) as server:
                got = ask(server, "up/m")
                assert got.error is not None
                assert (got.status, got.code) == (502, "upstream_connect") and got.error["message"].startswith(says)
            assert found in run("doctor", "--port", "1", text=text).stdout


@pytest.mark.parametrize(
    ("url", "environment", "proxied"),
    [
        ("https://a.example/v1", {"HTTPS_PROXY": "http://p:1"}, "http://p:1"),
        ("https://a.example/v1", {"https_proxy": "p:1", "HTTPS_PROXY": "http://q:1"}, "http://p:1"),
        ("https://a.example/v1", {"ALL_PROXY": "http://p:1"}, "http://p:1"),
        ("https://a.example/v1", {"HTTP_PROXY": "http://p:1"}, ""),
        ("http://a.example/v1", {"HTTP_PROXY": "http://p:1", "HTTPS_PROXY": "http://q:1"}, "http://p:1"),
        ("http://127.0.0.1:1/v1", {"HTTP_PROXY": "http://p:1"}, ""),
        ("http://[::1]:1/v1", {"HTTP_PROXY": "http://p:1"}, ""),
        ("http://localhost/v1", {"HTTP_PROXY": "http://p:1"}, ""),
        *(
            ("https://api.a.example/v1", {"HTTPS_PROXY": "http://p:1", "NO_PROXY": rule}, proxied)
            for rule, proxied in (
                ("*", ""),
                ("a.example", ""),
                (".a.example", ""),
                ("*.a.example", ""),
                ("A.EXAMPLE", ""),
                ("b.example, api.a.example", ""),
                ("b.example api.a.example", ""),
                ("api.a.example:443", ""),
                ("api.a.example:444", "http://p:1"),
                (".example:443", ""),
                ("pi.a.example", "http://p:1"),
                ("example.a", "http://p:1"),
                ("10.0.0.0/8", "http://p:1"),
                (",:,", "http://p:1"),
                ("", "http://p:1"),
            )
        ),
        *(
            ("https://10.1.2.3:8443/v1", {"HTTPS_PROXY": "http://p:1", "NO_PROXY": rule}, proxied)
            for rule, proxied in (
                ("10.0.0.0/8", ""),
                ("10.1.2.3", ""),
                ("10.1.2.3:8443", ""),
                ("10.1.2.3:443", "http://p:1"),
                ("2.3", "http://p:1"),
                ("10.2.0.0/16", "http://p:1"),
            )
        ),
        ("https://[fd00::5]/v1", {"HTTPS_PROXY": "http://p:1", "NO_PROXY": "[fd00::5]"}, ""),
        ("https://[fd00::5]/v1", {"HTTPS_PROXY": "http://p:1", "NO_PROXY": "fd00::/8"}, ""),
    ],
)
def test_the_rules_of_the_environment(url: str, environment: dict[str, str], proxied: str) -> None:
    assert from_environment(url, environment) == proxied


@pytest.mark.parametrize(
    "wrong", ["socks5://p:1", "https://p:1", "p:1", "http://", "http://p:x", "http://p:1/path", "Env", "http://p:1\n"]
)
def test_what_is_no_proxy(wrong: str) -> None:
    assert wrong_proxy(wrong).startswith("expected env, or the address of an HTTP proxy")
    with pytest.raises(ConfigError) as caught:
        load(provider("https://a.example", wrong.replace("\n", "\\n")), {}, FACTS, "c.yaml")
    assert str(caught.value) == (
        "c.yaml:3: providers.up.proxy: expected env, or the address of an HTTP proxy such as http://proxy.example.com:3128"
    )
    text = provider("https://a.example", "env")
    with pytest.raises(ConfigError, match=r"providers\.up\.proxy: expected env"):
        load(text, {"HTTPS_PROXY": "socks5://p:1"}, FACTS)


def test_the_password_is_a_secret() -> None:
    text = provider("https://a.example", f"http://me:{PASSWORD}@p:1")
    settings: Any = load(text, {}, FACTS)
    assert password(settings.proxies["up"]) == "canary@proxy"
    assert "canary@proxy" in settings.secrets() and settings.written
    kept = load(
        provider("https://a.example", "${P}").replace("sk-upstream-canary", '"${K}"'),
        {"P": "http://a:b@p:1", "K": "k"},
        FACTS,
    )
    assert not kept.written and kept.proxies == {"up": "http://a:b@p:1"}
