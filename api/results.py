"""``POST /api/scraped-result`` and ``/api/scraped-results``: answered after the commit, not before."""

from __future__ import annotations

import falcon
import falcon.asgi
import msgspec

from api.client import SCOPE_KEY
from api.keys import ApiKeys
from api.limits import MEDIA_NDJSON, check_media
from api.origins import Origins
from api.rows import read_many, read_one
from api.writer import ResultWriter


class Saved(msgspec.Struct, kw_only=True):
    """The answer to one saved result; ``id`` is its primary key."""

    message: str = "Scraped result saved"
    id: int


class SavedBatch(msgspec.Struct, kw_only=True):
    """The answer to a saved batch: the primary keys in the order of its items."""

    message: str = "Scraped results saved"
    ids: list[int]


class ScrapedResult:
    """Takes one result."""

    def __init__(self, results: ResultWriter, keys: ApiKeys, origins: Origins) -> None:
        self._results = results
        self._keys = keys
        self._origins = origins

    async def on_post(self, req: falcon.asgi.Request, resp: falcon.asgi.Response) -> None:
        """Save a result, together with whatever others are waiting."""
        self._origins.admit_writing(req)
        self._keys.check(req)
        check_media(req, falcon.MEDIA_JSON)
        row = read_one(req.scope[SCOPE_KEY].body, self._results.limits)
        saved = Saved(id=await self._results.save(row))
        resp.status = falcon.HTTP_201
        resp.data = msgspec.json.encode(saved)


class ScrapedResults:
    """Takes many results in one transaction: all of them or none."""

    def __init__(self, results: ResultWriter, keys: ApiKeys, origins: Origins) -> None:
        self._results = results
        self._keys = keys
        self._origins = origins

    async def on_post(self, req: falcon.asgi.Request, resp: falcon.asgi.Response) -> None:
        """Save the items of a JSON array, or of newline-delimited JSON."""
        self._origins.admit_writing(req)
        self._keys.check(req)
        media = check_media(req, falcon.MEDIA_JSON, MEDIA_NDJSON)
        rows = read_many(req.scope[SCOPE_KEY].body, self._results.limits, lines=media == MEDIA_NDJSON)
        saved = SavedBatch(ids=await self._results.save_all(rows))
        resp.status = falcon.HTTP_201
        resp.data = msgspec.json.encode(saved)
