"""The settings as text: the effective ones for a person, and the table of all of them for the documentation."""

from __future__ import annotations

import json
from collections.abc import Iterator
from functools import reduce
from pathlib import Path
from typing import Any

from msgspec import UNSET

from rowcast.loading import Loaded
from rowcast.mysql_url import MysqlUrl
from rowcast.settings import Key, Settings, settings_keys

_DERIVED = {"mysql.admin_url": "mysql.url", "api.mysql_url": "mysql.url"}


def effective(loaded: Loaded) -> Iterator[str]:
    """One TOML line for each setting in force, and where it comes from. Secrets are masked."""
    settings = loaded.settings
    for key in settings_keys(settings.channels):
        value = _value(settings, key)
        origin = loaded.origins.get(key.name, "default")
        if key.name == "mysql.server_id" and value is None:
            value, origin = settings.server_id, "derived from host name and journal.path"
        if value is None:
            fallback = f": {_DERIVED[key.name]} is used" if key.name in _DERIVED else ""
            yield f"# {key.name} is not set{fallback}"
        else:
            yield f"{key.name} = {_toml(key, value)}  # {origin}"


def table() -> str:
    """Every setting as a Markdown table: key, environment variable, default, what it is."""
    rows = ["| key | environment | default | what it is |", "|---|---|---|---|"]
    for key in settings_keys(["NAME"]):
        files = f", `{key.environment}_FILE`" if key.secret else ""
        default = "" if key.default in {None, UNSET} else f"`{_toml(key, key.default)}`"
        rows.append(f"| `{key.name}` | `{key.environment}`{files} | {default} | {key.text} |")
    return "\n".join(rows)


def _value(settings: Settings, key: Key) -> Any:
    if key.name.startswith("channels."):
        _, channel, name = key.name.split(".")
        return getattr(settings.channels[channel], name)
    return reduce(getattr, key.name.split("."), settings)


def _toml(key: Key, value: Any) -> str:
    if isinstance(value, MysqlUrl | Path):
        return json.dumps(str(value))
    if key.secret:
        return json.dumps(["***"] * len(value))
    return json.dumps(value)
