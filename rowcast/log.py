"""Our own log: lines for people on a terminal, JSON for machines elsewhere, and no secret in either."""

from __future__ import annotations

import json
import logging
import sys
import time
from collections.abc import Sequence
from typing import TextIO
from urllib.parse import quote

from pythonjsonlogger.json import JsonFormatter

from rowcast.settings import Settings

_TEXT = "%(asctime)s %(levelname)-7s %(name)s: %(message)s"
_SHORTEST = 4  # masking shorter secrets would blacken half the log and hide nothing


class Mask:
    """Replaces secrets in any text, as they are, as JSON writes them and as a URL does."""

    def __init__(self, secrets: Sequence[str]) -> None:
        long = [secret for secret in secrets if len(secret) >= _SHORTEST]
        shapes = {shape for s in long for shape in (s, json.dumps(s)[1:-1], quote(s), quote(s, safe=""))}
        self._shapes = sorted(shapes, key=len, reverse=True)

    def __call__(self, text: str) -> str:
        """The text without secrets."""
        for shape in self._shapes:
            text = text.replace(shape, "***")
        return text


class MaskingHandler(logging.StreamHandler[TextIO]):
    """Writes records with the secrets masked, wherever in a record they stand: message, arguments, traceback."""

    def __init__(self, stream: TextIO, mask: Mask) -> None:
        super().__init__(stream)
        self._mask = mask

    def format(self, record: logging.LogRecord) -> str:
        """The record's text without secrets."""
        return self._mask(super().format(record))


def set_up(settings: Settings, stream: TextIO | None = None) -> None:
    """Send everything that is logged to ``stream``, standard error by default."""
    stream = stream or sys.stderr
    handler = MaskingHandler(stream, Mask(settings.secrets))
    plain = settings.log.format == "text" or (settings.log.format == "auto" and stream.isatty())
    handler.setFormatter(_text() if plain else _json())
    logging.basicConfig(level=settings.log.level.upper(), handlers=[handler], force=True)
    logging.captureWarnings(capture=True)
    logging.getLogger("uvicorn").setLevel(logging.WARNING)  # what it has to say of starting, we say


def _text() -> logging.Formatter:
    return logging.Formatter(_TEXT)


def _json() -> logging.Formatter:
    formatter = JsonFormatter(
        "%(asctime)s %(levelname)s %(name)s %(message)s",
        rename_fields={"asctime": "time", "levelname": "level", "name": "logger"},
    )
    formatter.default_time_format = "%Y-%m-%dT%H:%M:%S"
    formatter.default_msec_format = "%s.%03dZ"
    formatter.converter = time.gmtime
    return formatter
