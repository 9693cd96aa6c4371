from __future__ import annotations

import pytest

from gateway.origins import OriginPolicy, is_loopback

DEFAULT = OriginPolicy(())


@pytest.mark.parametrize(
    "origin",
    [
        None,
        "http://localhost",
        "http://localhost:3000",
        "https://LOCALHOST:8443",
        "http://127.0.0.1:8000",
        "http://[::1]:8000",
        "http://cams.example.org",
        "https://cams.example.org:9000",
    ],
)
def test_by_default_loopback_and_the_own_host_may_connect(origin: str | None) -> None:
    """Programs without an origin, pages of this machine and pages of the gateway's own host are let in."""
    assert DEFAULT.allows(origin, "cams.example.org:8080")


@pytest.mark.parametrize(
    "origin",
    [
        "",
        "null",
        "file://",
        "http://evil.example",
        "http://localhost.evil.example",
        "http://127.0.0.1.evil.example",
        "http://localhost@evil.example",
        "http://evil@localhost",
        "http://evilcams.example.org",
        "http://cams.example.org.evil.example",
        "http://localhost:80evil",
        "http://localhost/",
        "http://localhost?",
        "http://localhost#x",
        "http://localhost.",
        "ftp://localhost",
        "localhost",
        "//localhost",
        "http://",
        "http://[::1",
        "http://localhost, http://evil.example",
        "chrome-extension://localhost",
        "http://0.0.0.0",
    ],
)
def test_look_alikes_are_refused(origin: str) -> None:
    """Whatever only resembles an allowed origin is foreign."""
    assert not DEFAULT.allows(origin, "cams.example.org:8080")


def test_without_a_host_header_only_loopback() -> None:
    """A missing or broken Host header makes no page the gateway's own."""
    assert not DEFAULT.allows("http://cams.example.org", None)
    assert not DEFAULT.allows("http://cams.example.org", "[")
    assert DEFAULT.allows("http://localhost", None)


def test_a_list_replaces_the_default() -> None:
    """Listed origins are let in, with the scheme's own port left out or not; nothing else is, loopback neither."""
    policy = OriginPolicy(["https://App.example.org", "http://other.example:8000"])
    for origin in ("https://app.example.org", "https://app.example.org:443", "http://other.example:8000"):
        assert policy.allows(origin, "x")
    for origin in ("http://app.example.org", "http://other.example", "http://localhost", "null"):
        assert not policy.allows(origin, "x")
    assert policy.allows(None, "x")


def test_a_star_lets_everybody_in() -> None:
    """``*`` allows any origin, also null."""
    assert OriginPolicy(["*"]).allows("null", None)


@pytest.mark.parametrize("origin", ["app.example.org", "https://app.example.org/", "null", ""])
def test_a_wrong_setting_is_refused(origin: str) -> None:
    """An origin in the settings that could never match is an error at start, not a surprise later."""
    with pytest.raises(ValueError, match="not an origin"):
        OriginPolicy([origin])


@pytest.mark.parametrize("origin", ["http://cams.example.org", "http://evil.example:8000"])
def test_a_name_is_no_proof_on_loopback(origin: str) -> None:
    """Listening on loopback, a page whose name was pointed at this machine after it was loaded is refused."""
    policy = OriginPolicy((), loopback_only=True)
    assert not policy.allows(origin, origin.removeprefix("http://"))
    assert policy.allows("http://localhost:8000", "localhost:8080")
    assert policy.allows("http://127.0.0.1:8000", "127.0.0.1:8080")


def test_what_loopback_is() -> None:
    """The addresses that only this machine reaches."""
    assert [
        host for host in ("127.0.0.1", "127.1.2.3", "::1", "localhost", "0.0.0.0", "10.0.0.1") if is_loopback(host)
    ] == [
        "127.0.0.1",
        "127.1.2.3",
        "::1",
        "localhost",
    ]
