"""The HTTP API as one Falcon application."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import falcon.asgi

from api import errors
from api.changes import ChannelChanges
from api.channels import Channels
from api.feed import Feed
from api.health import Healthz, Metrics, MetricsText, Readiness, Readyz
from api.keys import ApiKeys
from api.limits import Asgi, BoundedBodies
from api.openapi import OpenApi
from api.origins import Allows, Origins
from api.page import web_files
from api.results import ScrapedResult, ScrapedResults
from api.stream import Stream
from api.writer import ResultWriter


def create_app(
    *,
    results: ResultWriter,
    feed: Feed,
    origins: Allows,
    readiness: Readiness,
    metrics: Metrics,
    page_settings: Mapping[str, object],
    keys: Sequence[str] = (),
    max_body: int = 1 << 20,
) -> Asgi:
    """The whole application; it starts nothing and owns none of its parts."""
    app = falcon.asgi.App()
    errors.install(app)
    api_keys = ApiKeys(keys)
    pages = Origins(origins)
    app.add_route("/api/scraped-result", ScrapedResult(results, api_keys, pages))
    app.add_route("/api/scraped-results", ScrapedResults(results, api_keys, pages))
    app.add_route("/api/channels", Channels(feed.journal, pages))
    app.add_route("/api/stream/{channel}", Stream(feed, pages))
    app.add_route("/api/changes/{channel}", ChannelChanges(feed, pages))
    app.add_route("/healthz", Healthz())
    app.add_route("/readyz", Readyz(readiness))
    app.add_route("/metrics", MetricsText(metrics))
    app.add_route("/openapi.json", OpenApi(keys_needed=bool(keys)))
    for path, file in web_files(page_settings):
        app.add_route(path, file)
    return BoundedBodies(app, max_body=max_body)
