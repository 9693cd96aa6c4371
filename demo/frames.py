"""Pictures of detections, drawn as SVG from an address's parameters alone, so that old addresses work for ever."""

from __future__ import annotations

import re
from collections.abc import Mapping
from html import escape
from typing import NamedTuple
from urllib.parse import urlencode

from demo.backdrops import BACKDROPS, SUBJECTS
from demo.scene import CAMERAS, HEIGHT, WIDTH, Detection

COLOURS = {"person": "#4ee3ae", "car": "#6fb1ff", "bicycle": "#ffc15e", "dog": "#d79bff"}
OTHER = "#f2f5f7"
_NAMES = {camera.number: camera.name for camera in CAMERAS}


class BadParameter(ValueError):
    """A parameter is missing or is not what it should be; the text says which."""


class Frame(NamedTuple):
    """What one picture shows. ``at`` is UTC, ISO 8601, e.g. ``2026-11-23T08:19:33.120``."""

    camera: int
    label: str
    confidence: float
    box: tuple[int, int, int, int]
    at: str


def query_of(detection: Detection, at: str) -> str:
    """The query string of a detection's picture."""
    box = ",".join(map(str, detection.box))
    parameters = {"camera": detection.camera, "label": detection.label, "box": box, "at": at}
    return urlencode({**parameters, "confidence": detection.confidence}, safe=",:")


def frame_of(parameters: Mapping[str, str]) -> Frame:
    """A frame from an address's parameters, all checked; raises ``BadParameter``."""
    x, y, width, height = map(int, _matching(parameters, "box", r"\d{1,3},\d{1,3},\d{1,3},\d{1,3}").split(","))
    if not (0 < width <= WIDTH - x and 0 < height <= HEIGHT - y):
        raise BadParameter(f"box: must lie within {WIDTH} x {HEIGHT}")
    return Frame(
        camera=int(_matching(parameters, "camera", r"\d{1,4}")),
        label=_matching(parameters, "label", r"[\w .-]{1,24}"),
        confidence=float(_matching(parameters, "confidence", r"0|1|0?\.\d{1,4}", default="1")),
        box=(x, y, width, height),
        at=_matching(parameters, "at", r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d{1,6})?"),
    )


def svg(frame: Frame) -> str:
    """The picture."""
    place = escape(f"CAM {frame.camera}  {_NAMES.get(frame.camera, '')}".rstrip())
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}" width="{WIDTH}" height="{HEIGHT}" '
        f'font-family="ui-monospace, Menlo, Consolas, DejaVu Sans Mono, monospace">'
        f"<title>Demo picture: {escape(frame.label)}, camera {frame.camera}</title>"
        f"{BACKDROPS[frame.camera % len(BACKDROPS)]}"
        f"{_subject(frame)}{_mark(frame)}"
        f'<path d="M0 0H{WIDTH}V34H0zM0 {HEIGHT - 34}H{WIDTH}V{HEIGHT}H0z" fill="#000" opacity=".45"/>'
        f'<g fill="#fff" font-size="16"><text x="14" y="23" xml:space="preserve">{place}</text>'
        f'<text x="14" y="{HEIGHT - 12}">{escape(frame.at.replace("T", " "))} UTC</text></g>'
        f'<g transform="translate({WIDTH - 84} {HEIGHT - 29})"><rect width="72" height="24" rx="5" fill="#ffd84d"/>'
        f'<text x="36" y="18" font-size="16" font-weight="700" text-anchor="middle" fill="#2b2300">DEMO</text></g>'
        "</svg>"
    )


def _matching(parameters: Mapping[str, str], name: str, pattern: str, default: str = "") -> str:
    value = parameters.get(name, default)
    if not re.fullmatch(pattern, value, re.ASCII):
        raise BadParameter(f"{name}: must match {pattern}")
    return value


def _subject(frame: Frame) -> str:
    """Who was seen, filling its box; what is cut off at the picture's edge is cut off here."""
    x, y, width, height = frame.box
    shape = SUBJECTS.get(frame.label)
    if shape is None:
        return ""
    fit = "xMidYMax meet"
    if x == 0 or x + width == WIDTH:
        fit = "xMaxYMax slice" if x == 0 else "xMinYMax slice"
    return (
        f'<svg x="{x}" y="{y}" width="{width}" height="{height}" viewBox="{shape.view}" '
        f'preserveAspectRatio="{fit}">{shape.drawing}</svg>'
    )


def _mark(frame: Frame) -> str:
    """The detector's box with its corners, and a tag with label and confidence above it."""
    x, y, width, height = frame.box
    colour = COLOURS.get(frame.label, OTHER)
    corner = max(6, min(width, height) // 5)
    corners = "".join(
        f"M{cx} {cy + dy * corner}v{-dy * corner}h{dx * corner}"
        for cx, dx in ((x, 1), (x + width, -1))
        for cy, dy in ((y, 1), (y + height, -1))
    )
    tag = f"{frame.label} {frame.confidence:.2f}"
    tag_width = 10 * len(tag) + 14
    left, top = max(2, min(x - 2, WIDTH - tag_width - 2)), max(36, y - 28)
    return (
        f'<rect x="{x}" y="{y}" width="{width}" height="{height}" fill="{colour}" fill-opacity=".1" stroke="{colour}"/>'
        f'<path d="{corners}" fill="none" stroke="{colour}" stroke-width="4"/>'
        f'<rect x="{left}" y="{top}" width="{tag_width}" height="24" rx="4" fill="{colour}"/>'
        f'<text x="{left + 7}" y="{top + 17}" font-size="16" font-weight="700" fill="#0b1218">{escape(tag)}</text>'
    )
