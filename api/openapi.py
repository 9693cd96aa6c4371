"""``/openapi.json``: the description of the API, made from the very types that read requests and write answers."""

from __future__ import annotations

from typing import Any

import falcon
import falcon.asgi
import msgspec

from api.changes import DEFAULT_LIMIT, MAX_LIMIT, MAX_WAIT, Changes
from api.channels import ChannelList
from api.errors import Failure
from api.health import Alive, Ready
from api.limits import MEDIA_NDJSON
from api.results import Saved, SavedBatch
from api.rows import NewResult
from api.stream import MEDIA_EVENTS
from journal.opening import MAX_LAST

_TYPES = (NewResult, Saved, SavedBatch, Failure, ChannelList, Changes, Alive, Ready)
_FAILURES = {
    "400": "The body is not JSON",
    "401": "An API key is required",
    "408": "The body did not arrive in time",
    "413": "The body is too large",
    "415": "The body has another media type",
    "422": "The body is JSON, but not a result that can be saved",
    "503": "Not saved; send it again after Retry-After. Without that header the outcome is unknown",
}
_REFUSALS = {
    "400": "A parameter cannot be understood",
    "403": "The page may not do this",
    "404": "There is no such channel",
    "422": "The filter cannot be used",
}

_Json = dict[str, Any]


class OpenApi:
    """Serves the description; it never changes while the process lives."""

    def __init__(self, *, keys_needed: bool) -> None:
        self._document = msgspec.json.encode(describe(keys_needed=keys_needed))

    async def on_get(self, _req: falcon.asgi.Request, resp: falcon.asgi.Response) -> None:
        """Answer with the OpenAPI 3.1 document."""
        resp.data = self._document

    on_head = on_get


def describe(*, keys_needed: bool) -> _Json:
    """The OpenAPI 3.1 document as plain values."""
    _, schemas = msgspec.json.schema_components(_TYPES, ref_template="#/components/schemas/{name}")
    components: _Json = {"schemas": schemas}
    if keys_needed:
        components["securitySchemes"] = {"key": {"type": "http", "scheme": "bearer"}}
    return {
        "openapi": "3.1.0",
        "info": {"title": "Rowcast", "version": "1"},
        "paths": _paths(keys_needed=keys_needed),
        "components": components,
    }


def _paths(*, keys_needed: bool) -> _Json:
    one, many = _ref(NewResult), {"type": "array", "items": _ref(NewResult)}
    lines = {"type": "string", "description": "one result per line"}
    return {
        "/api/scraped-result": {
            "post": _post("Save a scraped result", {falcon.MEDIA_JSON: one}, Saved, keys_needed=keys_needed)
        },
        "/api/scraped-results": {
            "post": _post(
                "Save many in one transaction, or none",
                {falcon.MEDIA_JSON: many, MEDIA_NDJSON: lines},
                SavedBatch,
                keys_needed=keys_needed,
            )
        },
        "/api/stream/{channel}": {"get": _stream()},
        "/api/changes/{channel}": {"get": _changes()},
        "/api/channels": {"get": _get("The channels and their bounds", ChannelList)},
        "/healthz": {"get": _get("Whether the process lives", Alive)},
        "/readyz": {"get": _get("Whether the whole path works", Ready, {"503": _json("Not ready", Ready)})},
        "/metrics": {"get": _metrics()},
    }


def _post(summary: str, bodies: dict[str, _Json], answer: type, *, keys_needed: bool) -> _Json:
    failures = {status: _json(text, Failure) for status, text in _FAILURES.items()}
    if not keys_needed:
        del failures["401"]
    return {
        "summary": summary,
        "requestBody": {
            "required": True,
            "content": {media: {"schema": schema} for media, schema in bodies.items()},
        },
        "responses": {"201": _json("Committed", answer), **failures},
        "security": [{"key": []}] if keys_needed else [],
    }


def _get(summary: str, answer: type, others: _Json | None = None) -> _Json:
    return {"summary": summary, "responses": {"200": _json("OK", answer), **(others or {})}}


def _stream() -> _Json:
    events = {"description": "Server-sent events", "content": {MEDIA_EVENTS: {"schema": {"type": "string"}}}}
    resumed = {"name": "Last-Event-ID", "in": "header", "schema": {"type": "string"}}
    return {
        "summary": "A channel as server-sent events",
        "parameters": [*_reading(), resumed],
        "responses": {"200": events, **_refusals()},
    }


def _changes() -> _Json:
    limit = _number("limit", 1, MAX_LIMIT) | {"description": f"default {DEFAULT_LIMIT}"}
    again = {"503": _json("Not now: ask again after Retry-After", Failure)}
    return {
        "summary": "What has happened since a cursor, at once or when something comes",
        "parameters": [*_reading(), limit, _number("wait", 0, MAX_WAIT)],
        "responses": {"200": _json("OK", Changes), **_refusals(), **again},
    }


def _reading() -> list[_Json]:
    text = {"type": "string"}
    where = {"application/json": {"schema": {"type": "object"}}}
    return [
        {"name": "channel", "in": "path", "required": True, "schema": text},
        {"name": "after", "in": "query", "description": "epoch:offset; 0: everything that is kept", "schema": text},
        _number("last", 0, MAX_LAST),
        {"name": "where", "in": "query", "description": "a filter", "content": where},
    ]


def _number(name: str, least: int, most: int) -> _Json:
    return {"name": name, "in": "query", "schema": {"type": "integer", "minimum": least, "maximum": most}}


def _refusals() -> _Json:
    return {status: _json(text, Failure) for status, text in _REFUSALS.items()}


def _metrics() -> _Json:
    content = {"text/plain": {"schema": {"type": "string"}}}
    return {"summary": "Metrics for Prometheus", "responses": {"200": {"description": "OK", "content": content}}}


def _json(description: str, answer: type) -> _Json:
    return {"description": description, "content": {falcon.MEDIA_JSON: {"schema": _ref(answer)}}}


def _ref(struct: type) -> _Json:
    return {"$ref": f"#/components/schemas/{struct.__name__}"}
