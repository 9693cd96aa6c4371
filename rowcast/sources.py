"""Where settings are written: a TOML file, the environment, flags. Each becomes dotted keys that know their place."""

from __future__ import annotations

import difflib
import re
import tomllib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from rowcast.settings import Channel, Key, section_keys, settings_keys
from rowcast.toml_lines import key_lines, line_of

DEFAULT_FILE = Path("rowcast.toml")
# not ours to judge: ./dev, the demo and the tests have theirs, Kubernetes adds some for a service named rowcast
_FOREIGN = re.compile(r"ROWCAST_(CONFIG$|(DEV|DEMO|TEST)_|PORT$|(.*_)?SERVICE_(HOST|PORT)|(.*_)?PORT_\d+_(TCP|UDP))")
_NEW_CHANNEL = re.compile(r"ROWCAST_CHANNELS_([A-Z][A-Z0-9_]*)_([A-Z]+)")
_TOML_ERROR = re.compile(r"(.*?)(?: \(at (?:line (\d+), column \d+|end of document)\))?", re.DOTALL)


class Problem(NamedTuple):
    """One thing wrong: where it stands, what it is, how to mend it."""

    where: str
    text: str
    hint: str = ""

    def __str__(self) -> str:
        return f"{self.where}: {self.text}" + (f" ({self.hint})" if self.hint else "")


class Given(NamedTuple):
    """A value as its source gave it; ``typed`` when it came from TOML and must already have its type."""

    value: Any
    where: str
    typed: bool


class Source(NamedTuple):
    """What one source gave, by dotted key, and what is wrong with it."""

    given: dict[str, Given]
    problems: list[Problem]
    channels: Sequence[str] | None = None  # those a file lists; None when it has no [channels]


def from_toml(config: Path | None, environment: Mapping[str, str]) -> Source:
    """Keys of ``config``, else of ``$ROWCAST_CONFIG``, else of ``./rowcast.toml`` if there is one."""
    named = str(config or environment.get("ROWCAST_CONFIG", ""))
    file = Path(named) if named else DEFAULT_FILE
    try:
        text = file.read_text("utf-8")
        document = tomllib.loads(text)
    except FileNotFoundError:
        return Source({}, [Problem(named, "there is no such settings file")] if named else [])
    except tomllib.TOMLDecodeError as error:
        return Source({}, [_malformed(file, text, str(error))])
    except (OSError, UnicodeDecodeError) as error:
        return Source({}, [Problem(str(file), f"cannot be read: {error}")])
    lines = key_lines(text)
    given = {key: Given(value, f"{file}:{line_of(lines, key)}", typed=True) for key, value in _flat("", document)}
    channels = document.get("channels")
    return Source(given, [], list(channels) if isinstance(channels, dict) else None)


def from_environment(environment: Mapping[str, str], channels: Iterable[str]) -> Source:
    """Keys of all ``ROWCAST_…`` variables, empty ones left out; a secret's also as ``…_FILE``, a path."""
    source = Source({}, [])
    known = {key.environment: key for key in settings_keys(channels)}
    known |= {f"{key.environment}_FILE": key for key in known.values() if key.secret}
    for variable, text in sorted(environment.items()):
        if not variable.startswith("ROWCAST_") or not text or _FOREIGN.match(variable):
            continue
        key = known.get(variable) or _channel_key(variable)
        if key is None:
            source.problems.append(Problem(variable, "is no setting of ours", did_you_mean(variable, known)))
        elif key.name in source.given:
            source.problems.append(Problem(variable, f"{key.environment} is set too", "keep one of them"))
        elif variable == key.environment:
            source.given[key.name] = Given(text, variable, typed=False)
        else:
            _from_secret_file(source, key, variable, Path(text))
    return source


def from_flags(flags: Iterable[str]) -> Source:
    """Keys of ``key=value`` texts; the last of a key counts."""
    source = Source({}, [])
    for flag in flags:
        name, equals, text = flag.partition("=")
        if equals:
            source.given[name.strip()] = Given(text, f"--set {name.strip()}", typed=False)
        else:
            source.problems.append(Problem(f"--set {name}", "has no value", "write --set key=value"))
    return source


def did_you_mean(name: str, known: Iterable[str]) -> str:
    """A hint that names the closest of ``known``, or nothing."""
    close = difflib.get_close_matches(name, list(known), 1, 0.6)
    return f"did you mean {close[0]}?" if close else ""


def _flat(prefix: str, table: Mapping[str, Any]) -> Iterator[tuple[str, Any]]:
    for name, value in table.items():
        if isinstance(value, dict):
            yield from _flat(f"{prefix}{name}.", value)
        else:
            yield prefix + name, value


def _malformed(file: Path, text: str, message: str) -> Problem:
    match = _TOML_ERROR.fullmatch(message)
    what, line = match.groups() if match else (message, None)
    return Problem(f"{file}:{line or len(text.splitlines())}", f"is not valid TOML: {what}")


def _channel_key(variable: str) -> Key | None:
    """The key of a channel that the environment alone defines, its name in lower case."""
    if not (match := _NEW_CHANNEL.fullmatch(variable)):
        return None
    own = section_keys(f"channels.{match[1].lower()}", Channel)
    return next((key for key in own if key.environment == variable), None)


def _from_secret_file(source: Source, key: Key, variable: str, file: Path) -> None:
    try:
        text = file.read_text("utf-8").strip()
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "it is not UTF-8 text"
        source.problems.append(Problem(variable, f"{file} cannot be read: {reason}"))
        return
    source.given[key.name] = Given(text.replace("\n", ","), variable, typed=False)
