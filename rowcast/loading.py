"""Reads the settings: defaults < rowcast.toml < environment < flags. All that is wrong is told at once."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import msgspec

from rowcast.errors import CONFIGURATION, Failure
from rowcast.mysql_url import MysqlUrl
from rowcast.rules import broken, missing
from rowcast.settings import Channel, Key, Settings, default_channels, section_keys, settings_keys
from rowcast.sources import Given, Problem, did_you_mean, from_environment, from_flags, from_toml

CHANNEL_NAME = re.compile(r"[A-Za-z][A-Za-z0-9_-]{0,63}")


class SettingsError(Failure):
    """The settings cannot be used; ``problems`` holds everything that is wrong with them."""

    def __init__(self, problems: Sequence[Problem]) -> None:
        count = "one thing is" if len(problems) == 1 else f"{len(problems)} things are"
        lines = "".join(f"\n  {problem}" for problem in problems)
        super().__init__(f"{count} wrong with the settings:{lines}", exit_code=CONFIGURATION)
        self.problems = list(problems)


class Loaded(NamedTuple):
    """The settings, and for each key not left at its default the place that set it."""

    settings: Settings
    origins: dict[str, str]


def load(
    config: Path | None,
    environment: Mapping[str, str],
    flags: Iterable[str] = (),
    needs: Iterable[str] = (),
) -> Loaded:
    """Settings from all sources; ``needs`` names keys that must be set. Raises ``SettingsError``.

    A ``[channels]`` table in the file replaces the two default channels; a channel of their name inherits.
    """
    file = from_toml(config, environment)
    base = list(default_channels()) if file.channels is None else list(file.channels)
    sources = [file, from_environment(environment, base), from_flags(flags)]
    given: dict[str, Given] = {}
    problems: list[Problem] = []
    for source in sources:
        given |= source.given
        problems += source.problems
    settings = _Filling(given, problems).settings(base)
    if not file.problems:
        problems += missing(needs, given)
    problems += broken(settings, given)
    if problems:
        raise SettingsError(problems)
    return Loaded(settings, {name: one.where for name, one in given.items()})


class _Filling:
    """Fills the tree from dotted keys; what cannot be used stays at its default and becomes a problem."""

    def __init__(self, given: dict[str, Given], problems: list[Problem]) -> None:
        self.given = given
        self.problems = problems

    def settings(self, base: Sequence[str]) -> Settings:
        named = [name.split(".")[1] for name in self.given if re.match(r"channels\.[^.]+\.", name)]
        channels = list(dict.fromkeys([*base, *named]))
        if not channels:
            self.problems.append(Problem("channels", "there is none, so nothing to do", "see docs/settings.md"))
        self._refuse_unknown({key.name for key in settings_keys(channels)})
        sections = {
            field.name: field.type(**self._section(field.name, field.type))
            for field in msgspec.structs.fields(Settings)
            if field.name != "channels"
        }
        filled = {name: self._channel(name) for name in channels}
        return Settings(**sections, channels={name: one for name, one in filled.items() if one})

    def _section(self, prefix: str, section: type[msgspec.Struct]) -> dict[str, Any]:
        values = {}
        for key in section_keys(prefix, section):
            if key.name in self.given and (value := self._value(key)) is not msgspec.UNSET:
                values[key.name.rpartition(".")[2]] = value
        return values

    def _channel(self, name: str) -> Channel | None:
        prefix = f"channels.{name}"
        where = next((one.where for key, one in self.given.items() if key.startswith(f"{prefix}.")), prefix)
        if not CHANNEL_NAME.fullmatch(name):
            self.problems.append(Problem(where, f"{name!r} is no channel name", "letters, digits, _ and -"))
            return None
        values = self._section(prefix, Channel)
        default = default_channels().get(name)
        if default is None and "table" not in values:
            if f"{prefix}.table" not in self.given:
                self.problems.append(Problem(where, f"channel {name} has no table", f'set {prefix}.table = "…"'))
            return None
        return msgspec.structs.replace(default, **values) if default else Channel(**values)

    def _value(self, key: Key) -> Any:
        """The given value in its type, ``UNSET`` when it cannot be had."""
        value, where, typed = self.given[key.name]
        if not typed and key.many:
            value = tuple(part.strip() for part in value.split(",") if part.strip())
        try:
            if key.url and isinstance(value, str):
                return MysqlUrl.parse(value)
            return msgspec.convert(value, key.type, strict=typed, dec_hook=_path)
        except ValueError as error:  # a ValidationError is one
            text = str(error).replace("`", "").replace(" - at $", ", at ")
            self.problems.append(Problem(where, f"{key.name}: {text[:1].lower()}{text[1:]}", key.example))
            return msgspec.UNSET

    def _refuse_unknown(self, known: set[str]) -> None:
        for name, one in self.given.items():
            if name in known:
                continue
            hint = did_you_mean(name, known)
            if any(key.startswith(f"{name}.") for key in known):
                hint = f"{name} is a table: write [{name}] and its keys below"
            self.problems.append(Problem(one.where, f"unknown key {name}", hint))


def _path(kind: type, value: object) -> object:
    if not isinstance(value, str) or not value:
        raise ValueError(f"expected the path of a file, got {value!r}")
    return kind(value)
