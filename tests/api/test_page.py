from __future__ import annotations

import re

import pytest
from falcon import testing

from tests.api.conftest import make_app


@pytest.fixture
def page():
    return testing.TestClient(make_app(page_settings={"gateway_port": 8765}))


def test_the_page_knows_the_gateways_port(page):
    """The placeholder is replaced by the setting, at / and at /index.html."""
    for path in ("/", "/index.html"):
        answer = page.simulate_get(path)
        assert answer.headers["content-type"] == "text/html; charset=utf-8"
        assert 'content="8765"' in answer.text
        assert "__GATEWAY_PORT__" not in answer.text


def test_everything_that_the_page_names_is_served(page):
    """Its scripts, styles and icons, and whatever its scripts import, come with the type that nosniff demands."""
    names = set(re.findall(r'(?:src|href)="([\w.]+)"', page.simulate_get("/").text))
    types = {"js": "text/javascript", "css": "text/css", "svg": "image/svg+xml"}
    assert {"page.js", "style.css", "favicon.svg"} <= names
    while names:
        name = names.pop()
        answer = page.simulate_get(f"/{name}")
        assert answer.status_code == 200, name
        assert answer.headers["content-type"].startswith(types[name.rpartition(".")[2]])
        if name.endswith(".js"):
            names |= set(re.findall(r'^import .* from "\./([\w.]+)"', answer.text, re.MULTILINE))


def test_nothing_else_of_the_package_is_served(page):
    """No Python, no folder, no way out of it."""
    for path in ("/__init__.py", "/__pycache__", "/../pyproject.toml", "/%2e%2e/pyproject.toml", "/web/index.html"):
        assert page.simulate_get(path).status_code == 404


def test_a_known_file_is_not_sent_again(page):
    """The ETag of the content gives 304 with the same headers and no body."""
    first = page.simulate_get("/client.js")
    tag = first.headers["etag"]
    assert re.fullmatch(r'"[0-9a-f]{32}"', tag)
    for known in (tag, f'"other", {tag}', f"W/{tag}", "*"):
        answer = page.simulate_get("/client.js", headers={"If-None-Match": known})
        assert (answer.status_code, answer.content, answer.headers["etag"]) == (304, b"", tag)
    assert page.simulate_get("/client.js", headers={"If-None-Match": '"other"'}).content == first.content


def test_the_policy_allows_what_the_page_needs_and_no_inline_script(page):
    """WebSockets to another port, pictures from anywhere, scripts and styles of its own only, in no foreign frame."""
    headers = page.simulate_get("/").headers
    policy = dict(part.split(" ", 1) for part in headers["content-security-policy"].split("; "))
    assert policy["default-src"] == "'none'"
    assert policy["script-src"] == policy["style-src"] == "'self'"
    assert set(policy["connect-src"].split()) == {"'self'", "ws:", "wss:"}
    assert {"http:", "https:", "data:"} <= set(policy["img-src"].split())
    assert policy["frame-ancestors"] == "'none'"
    assert headers["x-content-type-options"] == "nosniff"
    assert headers["referrer-policy"] == "no-referrer"


def test_pages_of_other_origins_may_import_the_sdk(page):
    """client.js is public; the page's own files are not for others."""
    assert page.simulate_get("/client.js").headers["access-control-allow-origin"] == "*"
    assert "access-control-allow-origin" not in page.simulate_get("/page.js").headers
