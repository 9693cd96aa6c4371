from __future__ import annotations

import json

import pytest
from falcon import testing

from api.changes import Changes
from api.errors import DatabaseAway, OutcomeUnknown, RowRefused
from tests.api.client import result
from tests.api.conftest import make_app
from tests.api.stubs import Results

JSON = {"Content-Type": "application/json"}
READABLE = ("/", "/client.js", "/healthz", "/readyz", "/metrics", "/api/channels", "/openapi.json")
ONE, MANY = "/api/scraped-result", "/api/scraped-results"


def client(**parts):
    return testing.TestClient(make_app(**parts))


def post(body=None, path=ONE, headers=None, **parts):
    parts = {"results": Results(), **parts}
    return client(**parts).simulate_post(path, body=result() if body is None else body, headers=headers or JSON)


def test_a_saved_result_is_created():
    """201 with the message and the id."""
    answer = post()
    assert answer.status_code == 201
    assert answer.json == {"message": "Scraped result saved", "id": 1}
    assert answer.headers["content-type"] == "application/json"


@pytest.mark.parametrize("kind", ["application/json", "application/x-ndjson"])
def test_a_saved_batch_is_created(kind):
    """An array and lines both give the ids in order."""
    results = Results()
    items = [result(account="a"), result(account="b")]
    body = b"[" + b",".join(items) + b"]" if kind.endswith("/json") else b"\n".join(items)
    answer = post(body, MANY, {"Content-Type": kind}, results=results)
    assert (answer.status_code, answer.json) == (201, {"message": "Scraped results saved", "ids": [1, 2]})
    assert [row.account for row in results.rows] == ["a", "b"]


@pytest.mark.parametrize("path", [ONE, MANY])
@pytest.mark.parametrize(
    ("error", "status", "retry"),
    [
        (DatabaseAway("the database is away (error 2003)"), 503, "1"),
        (OutcomeUnknown("the row may be saved"), 503, None),
        (RowRefused("too long", path="$.account"), 422, None),
    ],
)
def test_every_failed_save_has_the_same_error(path, error, status, retry):
    """The error is the agreed sentence; the reason and the outcome stand beside it; only a safe repeat is invited."""
    body = result() if path == ONE else b"[" + result() + b"]"
    answer = post(body, path, results=Results(error))
    assert answer.status_code == status
    assert answer.headers.get("retry-after") == retry
    assert answer.json["error"] == "Failed to save scraped result"
    assert answer.json["reason"] == error.reason
    assert answer.json["outcome"] == ("unknown" if isinstance(error, OutcomeUnknown) else "not_saved")


@pytest.mark.parametrize("path", [ONE, MANY])
@pytest.mark.parametrize(("body", "status"), [(b"nul", 400), (b"7", 422), (b"", 400), (b"[]", 422), (b"\xff", 400)])
def test_a_bad_body_is_refused_in_json(path, body, status):
    """What is not JSON is 400, what is not a result is 422, and neither has the error of a failed save."""
    answer = post(body, path)
    assert answer.status_code == status
    assert answer.json["error"] not in ("", "Failed to save scraped result")


@pytest.mark.parametrize(
    "headers",
    [
        {},
        {"Content-Type": "text/plain"},
        {"Content-Type": "application/x-www-form-urlencoded"},
        {"Content-Type": "application/json; charset=latin1"},
        {"Content-Type": "application/json", "Content-Encoding": "gzip"},
        {"Content-Type": ";;;"},
    ],
)
def test_other_media_types_are_refused(headers):
    """A type that a foreign page could send without asking, another character set or coding: 415, with a hint."""
    results = Results()
    answer = client(results=results).simulate_post(ONE, body=result(), headers=headers)
    assert answer.status_code == 415
    assert answer.json["hint"]
    assert results.rows == []


@pytest.mark.parametrize(
    "kind", ["application/json; charset=utf-8", "Application/JSON", 'application/json;charset="UTF-8"']
)
def test_json_may_be_spelled_in_many_ways(kind):
    """Case and an explicit UTF-8 make no difference."""
    assert post(headers={"Content-Type": kind}).status_code == 201


@pytest.mark.parametrize("path", [ONE, MANY])
@pytest.mark.parametrize("given", [None, "Bearer wrong", "Bearer", "one", "Basic one", "Bearer one two", "Bearer é"])
def test_without_a_key_nothing_is_saved(path, given):
    """When keys are configured, a request with none of them is 401 and says how to give one."""
    results = Results()
    headers = JSON | ({"Authorization": given} if given else {})
    answer = client(results=results, keys=["one", "two"]).simulate_post(path, body=result(), headers=headers)
    assert answer.status_code == 401
    assert answer.headers["www-authenticate"].startswith("Bearer")
    assert results.rows == []
    assert "one" not in answer.json["error"]


@pytest.mark.parametrize("given", ["Bearer one", "bearer two", "Bearer  two"])
def test_each_key_opens(given):
    """Any of the keys does; the scheme's case does not matter."""
    assert post(headers=JSON | {"Authorization": given}, keys=["one", "two"]).status_code == 201


def test_reading_needs_no_key():
    """Keys guard writing only."""
    for path in READABLE:
        assert client(keys=["one"]).simulate_get(path).status_code == 200


def test_an_unknown_path_is_404_in_json():
    """Also for other methods than GET."""
    for method in ("GET", "POST", "DELETE"):
        answer = client().simulate_request(method, "/nothing/here")
        assert (answer.status_code, answer.json) == (404, {"error": "Not found"})


@pytest.mark.parametrize(
    ("method", "path", "allow"), [("GET", ONE, "POST"), ("DELETE", MANY, "POST"), ("POST", "/", "GET")]
)
def test_a_wrong_method_is_405_with_those_allowed(method, path, allow):
    """The Allow header lists what the path takes."""
    answer = client().simulate_request(method, path)
    assert (answer.status_code, answer.json) == (405, {"error": "Method not allowed"})
    assert allow in answer.headers["allow"].split(", ")


def test_no_other_origin_is_allowed():
    """Neither a preflight nor an answer carries CORS headers: pages of other origins cannot write."""
    origin = {"Origin": "https://elsewhere.example"}
    preflight = client(results=Results()).simulate_options(
        ONE, headers=origin | {"Access-Control-Request-Method": "POST"}
    )
    for answer in (preflight, post(headers=JSON | origin)):
        assert not [name for name in answer.headers if name.startswith("access-control")]


def test_a_bug_is_500_in_json_and_in_the_log(caplog):
    """An error that nobody foresaw says nothing of its inside to the client, and everything to the log."""
    answer = post(results=Results(ValueError("inside")))
    assert answer.status_code == 500
    assert answer.json == {"error": "Internal error", "hint": "the server's log says more"}
    assert "inside" in caplog.text


def test_a_body_may_be_as_long_as_the_limit():
    """One byte more is 413, with or without a Content-Length, and nothing of it is saved."""
    results = Results()
    body = result("x" * 1000)
    assert post(body, results=results, max_body=len(body)).status_code == 201
    answer = post(body, results=results, max_body=len(body) - 1)
    assert (answer.status_code, answer.json["limit"]) == (413, len(body) - 1)
    assert len(results.rows) == 1


def test_healthz_says_ok():
    """The process lives, whatever else does not."""
    answer = client(readiness=lambda: (False, {"source": "down"})).simulate_get("/healthz")
    assert (answer.status_code, answer.json) == (200, {"status": "ok"})


def test_readyz_names_each_check():
    """200 or 503, with ok or the reason for each part."""
    checks = {"source": None, "journal": "disk full"}
    answer = client(readiness=lambda: (False, checks)).simulate_get("/readyz")
    assert answer.status_code == 503
    assert answer.json == {"ready": False, "checks": {"source": "ok", "journal": "disk full"}}
    answer = client(readiness=lambda: (True, {"source": None})).simulate_get("/readyz")
    assert (answer.status_code, answer.json) == (200, {"ready": True, "checks": {"source": "ok"}})


def test_metrics_are_of_this_moment():
    """The text is made for each request and typed as Prometheus wants it."""
    texts = iter([b"a 1\n", b"a 2\n"])
    watched = client(metrics=lambda: next(texts))
    assert watched.simulate_get("/metrics").text == "a 1\n"
    answer = watched.simulate_get("/metrics")
    assert answer.text == "a 2\n"
    assert answer.headers["content-type"] == "text/plain; version=0.0.4; charset=utf-8"


def test_channels_are_listed_with_their_bounds():
    """By name, with the epoch without which an offset means nothing."""
    assert client().simulate_get("/api/channels").json == {
        "epoch": "k3f9",
        "channels": [
            {"channel": "cctv_updates", "floor": 5, "head": 42, "bytes": 4096, "rate": 12.3},
            {"channel": "scraped_updates", "floor": 1, "head": 0, "bytes": 0, "rate": 0.0},
        ],
    }


@pytest.mark.parametrize(
    "path", ["/", "/client.js", "/healthz", "/readyz", "/metrics", "/api/channels", "/openapi.json"]
)
def test_head_is_get_without_the_body(path):
    """The same status and headers, the length included."""
    got, head = client().simulate_get(path), client().simulate_head(path)
    assert head.status_code == got.status_code == 200
    assert dict(head.headers) == dict(got.headers)
    assert head.content == b""


def test_the_openapi_document_describes_what_is_served():
    """Every documented path and method exists, each reference leads somewhere, and the answers fit their schemas."""
    application = client(results=Results())
    document = application.simulate_get("/openapi.json").json
    assert document["openapi"] == "3.1.0"
    for path, operations in document["paths"].items():
        allowed = application.simulate_options(path).headers["allow"]
        assert {method.upper() for method in operations} <= set(allowed.split(", "))
    schemas = document["components"]["schemas"]
    for reference in _references(document):
        assert reference.removeprefix("#/components/schemas/") in schemas
    assert set(schemas["NewResult"]["required"]) == {"account", "data", "url"}
    assert schemas["NewResult"]["additionalProperties"] is False
    assert set(post().json) == set(schemas["Saved"]["properties"])
    assert set(post(b"{").json) <= set(schemas["Failure"]["properties"])
    assert set(schemas["Changes"]["required"]) == set(Changes.__struct_fields__)


def test_the_openapi_document_mentions_keys_only_where_there_are_any():
    """With keys it asks for a bearer token on writing; without, it does not speak of them."""
    open_document = client().simulate_get("/openapi.json").json
    assert "securitySchemes" not in open_document["components"]
    closed = client(keys=["one"]).simulate_get("/openapi.json").json
    assert closed["paths"][ONE]["post"]["security"] == [{"key": []}]
    assert "401" in closed["paths"][ONE]["post"]["responses"]
    assert "one" not in json.dumps(closed["components"]["securitySchemes"])


def _references(value):
    if isinstance(value, dict):
        for key, inner in value.items():
            if key == "$ref":
                yield inner
            yield from _references(inner)
    elif isinstance(value, list):
        for inner in value:
            yield from _references(inner)
