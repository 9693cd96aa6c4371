"""API keys: who may write."""

from __future__ import annotations

from collections.abc import Sequence
from hmac import compare_digest

import falcon.asgi

from api.errors import Failure, Unauthorized


class ApiKeys:
    """The keys that open the writing half of the API; without any it is open to everybody."""

    def __init__(self, keys: Sequence[str]) -> None:
        self._keys = [key.encode() for key in keys]

    def check(self, req: falcon.asgi.Request) -> None:
        """Raise ``Unauthorized`` unless the request carries ``Authorization: Bearer KEY`` with one of the keys."""
        if not self._keys:
            return
        scheme, _, given = (req.auth or "").partition(" ")
        # Every key is compared, in constant time: how long it takes tells nothing about which one came close.
        matches = [compare_digest(key, given.strip().encode()) for key in self._keys]
        if scheme.lower() != "bearer" or not any(matches):
            hint = "send the header Authorization: Bearer KEY"
            raise Unauthorized(Failure(error="An API key is required", hint=hint))
