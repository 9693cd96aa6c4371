"""The page's colours, read from the style sheet: legible in both schemes."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

WEB = Path(__file__).resolve().parents[2] / "web"
PAIRS = [
    ("ink", "ground"),
    ("ink", "panel"),
    ("ink", "sunk"),
    ("muted", "ground"),
    ("muted", "panel"),
    ("accent-ink", "accent"),
    ("good", "good-ground"),
    ("busy", "busy-ground"),
    ("bad", "bad-ground"),
]


def colours(block: str) -> dict[str, tuple[int, int, int]]:
    """Custom properties that are hex colours, three digits or six."""
    found = {}
    for name, digits in re.findall(r"--([\w-]+): #([0-9a-f]{3}|[0-9a-f]{6});", block):
        full = digits if len(digits) == 6 else "".join(2 * digit for digit in digits)
        found[name] = (int(full[:2], 16), int(full[2:4], 16), int(full[4:], 16))
    return found


def luminance(colour: tuple[int, int, int]) -> float:
    """WCAG 2, relative luminance."""
    red, green, blue = (
        (c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4) for c in (part / 255 for part in colour)
    )
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize(("text", "ground"), PAIRS)
def test_contrast(scheme: str, text: str, ground: str) -> None:
    """Text stands out from its ground by 4.5 to 1 at least (WCAG 2, level AA)."""
    light, dark = re.findall(r":root \{(.*?)\}", (WEB / "style.css").read_text(), re.DOTALL)
    palette = colours(light) | (colours(dark) if scheme == "dark" else {})
    lighter, darker = sorted((luminance(palette[text]), luminance(palette[ground])), reverse=True)
    assert (lighter + 0.05) / (darker + 0.05) >= 4.5
