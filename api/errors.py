"""What can go wrong in the HTTP API, and the one place that turns it into an answer.

ApiError
├── Unauthorized      401  no key, or none of ours
├── ForeignOrigin     403  a page that may not do this
├── NoSuchChannel     404
├── BadQuery          400  a parameter that cannot be understood; ``path`` names it
├── BadFilterGiven    422  a filter that cannot be used; ``reason`` has the place in it
├── BodyTooLarge      413
├── WrongMediaType    415
├── NotJson           400  with the position
├── InvalidBody       422  with the path of the field, or one failure per item
├── Overloaded        503  too many bodies are being received
├── ComeBack          503  not now
│   ├── ReadersFull   503  too many streams and polls
│   ├── FiltersFull   503  too many different filters of all readers
│   ├── NewEpoch      503  another epoch begins
│   └── JournalAway   503  the journal cannot be read
└── SaveFailed        500  ``error`` is always "Failed to save scraped result"; ``reason`` says more
    ├── RowRefused    422  the database refuses these values: sending them again is useless
    ├── BatchRefused  422  the same for a batch, with one failure per refused item
    ├── DatabaseAway  503  no connection, or no table to insert into: nothing was saved
    ├── DatabaseBusy  503  a lock or a limit was in the way: nothing was saved
    ├── QueueFull     503  too many rows wait already: nothing was saved
    ├── DeadlinePassed 503 still waiting when its time was up, withdrawn: nothing was saved
    └── OutcomeUnknown 503 the commit was sent and its answer never came: saved or not, nobody knows
"""

from __future__ import annotations

import logging
from http import HTTPStatus
from typing import Any, ClassVar, Literal

import falcon
import falcon.asgi
import msgspec

from journal.errors import JournalError

log = logging.getLogger(__name__)

SAVE_FAILED = "Failed to save scraped result"
RETRY_AFTER = 1  # seconds; the writer looks for the database at least this often


class ItemFailure(msgspec.Struct, omit_defaults=True, kw_only=True):
    """What is wrong with one item of a batch; ``index`` counts from 0."""

    index: int
    error: str
    path: str | None = None


class Failure(msgspec.Struct, omit_defaults=True, kw_only=True):
    """The body of every answer that is not a success. Only ``error`` is always there."""

    error: str
    reason: str | None = None
    path: str | None = None
    position: int | None = None
    line: int | None = None
    column: int | None = None
    limit: int | None = None
    length: int | None = None
    outcome: Literal["not_saved", "unknown"] | None = None
    hint: str | None = None
    errors: list[ItemFailure] | None = None


class ApiError(Exception):
    """Base of everything the API answers with something else than success."""

    status: ClassVar[int] = 500
    headers: ClassVar[dict[str, str]] = {}

    def __init__(self, failure: Failure) -> None:
        super().__init__(failure.error)
        self.failure = failure


class Unauthorized(ApiError):
    """The request carries no API key, or one that is not ours."""

    status = 401
    headers: ClassVar[dict[str, str]] = {"WWW-Authenticate": 'Bearer realm="rowcast"'}


class ForeignOrigin(ApiError):
    """A browser asks for a page of another origin than those that may."""

    status = 403

    def __init__(self) -> None:
        hint = "see gateway.origins"
        super().__init__(Failure(error="Pages from this origin or host name may not do this", hint=hint))


class NoSuchChannel(ApiError):
    """No channel has this name."""

    status = 404

    def __init__(self) -> None:
        super().__init__(Failure(error="There is no such channel", hint="GET /api/channels lists them"))


class BadQuery(ApiError):
    """A parameter of the query, or ``Last-Event-ID``, cannot be understood."""

    status = 400


class BadFilterGiven(ApiError):
    """``where`` is JSON, but no filter for this channel."""

    status = 422


class BodyTooLarge(ApiError):
    """The body is longer than ``api.max_body``."""

    status = 413


class WrongMediaType(ApiError):
    """The body is of a media type, character set or content coding that is not taken."""

    status = 415


class NotJson(ApiError):
    """The body is not JSON text; ``position`` counts bytes from 0, ``line`` and ``column`` from 1."""

    status = 400


class InvalidBody(ApiError):
    """The body is JSON, but not what was asked for."""

    status = 422


class Overloaded(ApiError):
    """The bodies being received take more memory than allowed."""

    status = 503
    headers: ClassVar[dict[str, str]] = {"Retry-After": str(RETRY_AFTER)}


class ComeBack(ApiError):
    """It cannot be answered now. A stream says so by ending at once, so that a browser comes back by itself."""

    status = 503
    headers: ClassVar[dict[str, str]] = {"Retry-After": str(RETRY_AFTER)}


class ReadersFull(ComeBack):
    """There are as many streams and polls as may be."""


class FiltersFull(ComeBack):
    """All readers together have as many different filters as may be."""


class NewEpoch(ComeBack):
    """What the client or we hold is of an epoch that ends."""

    def __init__(self) -> None:
        super().__init__(Failure(error="Another epoch begins"))


class Stopping(ComeBack):
    """The server goes away."""

    def __init__(self) -> None:
        super().__init__(Failure(error="The server stops"))


class JournalAway(ComeBack):
    """The journal cannot be read."""

    def __init__(self) -> None:
        super().__init__(Failure(error="The journal cannot be read now"))


class SaveFailed(ApiError):
    """A row was not saved, or perhaps was. ``retry`` says whether sending it again may help and cannot repeat it."""

    retry: ClassVar[bool] = False
    outcome: ClassVar[Literal["not_saved", "unknown"]] = "not_saved"

    def __init__(self, reason: str, *, path: str | None = None, hint: str | None = None) -> None:
        super().__init__(Failure(error=SAVE_FAILED, reason=reason, path=path, hint=hint, outcome=self.outcome))
        self.reason = reason

    def __str__(self) -> str:
        return self.reason


class RowRefused(SaveFailed):
    """The database refuses these values."""

    status = 422


class BatchRefused(SaveFailed):
    """The database refuses some rows of a batch; none was saved."""

    status = 422

    def __init__(self, errors: list[ItemFailure]) -> None:
        super().__init__(f"{len(errors)} of the rows are refused; none was saved")
        self.failure.errors = errors


class _TryAgain(SaveFailed):
    status = 503
    headers: ClassVar[dict[str, str]] = {"Retry-After": str(RETRY_AFTER)}
    retry = True


class DatabaseAway(_TryAgain):
    """There is no connection, or the server cannot insert at all."""


class DatabaseBusy(_TryAgain):
    """A lock or a limit of the server was in the way this time."""


class QueueFull(_TryAgain):
    """Too many rows wait to be saved."""


class DeadlinePassed(_TryAgain):
    """The row was still waiting when its request's time was up, and was withdrawn."""


class OutcomeUnknown(SaveFailed):
    """The row may be saved. Without ``Retry-After``: a client that repeats by itself would risk a second row."""

    status = 503
    outcome = "unknown"

    def __init__(self, reason: str) -> None:
        super().__init__(f"{reason}: the row may be saved", hint="look for the row before sending it again")


def install(app: falcon.asgi.App[Any, Any]) -> None:
    """Let every failure of ``app`` be answered from here."""
    app.add_error_handler(Exception, _unexpected)
    app.add_error_handler(falcon.HTTPError, _http_error)
    app.add_error_handler(ApiError, _api_error)
    app.add_error_handler(JournalError, _journal_error)


def encode(failure: Failure) -> bytes:
    """The failure as the body of an answer."""
    return msgspec.json.encode(failure)


async def _api_error(
    _req: falcon.asgi.Request, resp: falcon.asgi.Response, error: ApiError, _params: dict[str, Any]
) -> None:
    _answer(resp, error.status, error.headers, error.failure)


async def _journal_error(
    req: falcon.asgi.Request, resp: falcon.asgi.Response, error: JournalError, params: dict[str, Any]
) -> None:
    log.warning("%s %s: %s", req.method, req.path, error)  # it names files: not for strangers
    await _api_error(req, resp, JournalAway(), params)


async def _http_error(
    _req: falcon.asgi.Request, resp: falcon.asgi.Response, error: falcon.HTTPError, _params: dict[str, Any]
) -> None:
    status = HTTPStatus(error.status_code)
    headers = dict(error.headers or {})
    _answer(resp, status, headers, Failure(error=status.phrase.capitalize(), reason=error.description))


async def _unexpected(
    req: falcon.asgi.Request, resp: falcon.asgi.Response, error: Exception, _params: dict[str, Any]
) -> None:
    log.error("unexpected failure of %s %s", req.method, req.path, exc_info=error)
    _answer(resp, 500, {}, Failure(error="Internal error", hint="the server's log says more"))


def _answer(resp: falcon.asgi.Response, status: int, headers: dict[str, str], failure: Failure) -> None:
    resp.status = status
    resp.set_headers(headers)
    resp.content_type = falcon.MEDIA_JSON
    resp.data = encode(failure)
