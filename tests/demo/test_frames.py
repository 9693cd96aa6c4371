from __future__ import annotations

from random import Random
from urllib.parse import parse_qsl
from xml.etree import ElementTree

import pytest

from demo.backdrops import SUBJECTS
from demo.frames import BadParameter, Frame, frame_of, query_of, svg
from demo.scene import CAMERAS, Scene

GOOD = {"camera": "3", "label": "person", "confidence": "0.91", "box": "10,100,50,120", "at": "2026-11-23T08:19:33.120"}


def words(picture: str) -> list[str]:
    """The texts of a picture, which must be well-formed."""
    root = ElementTree.fromstring(picture)
    return [element.text or "" for element in root.iter("{http://www.w3.org/2000/svg}text")]


def test_picture_says_what_was_seen_and_that_it_is_a_demo() -> None:
    """Camera, time, label with confidence, and DEMO are written in it."""
    assert words(svg(frame_of(GOOD))) == ["person 0.91", "CAM 3  Garden path", "2026-11-23 08:19:33.120 UTC", "DEMO"]


def test_address_carries_the_whole_detection() -> None:
    """What an address's query says is read back as it was, for everything that the cameras see."""
    scene = Scene(Random(3))
    for seen in [seen for _ in range(600) for seen in scene.advance(0.1)]:
        query = query_of(seen, GOOD["at"])
        assert len(query) < 200
        assert frame_of(dict(parse_qsl(query))) == Frame(seen.camera, seen.label, seen.confidence, seen.box, GOOD["at"])


@pytest.mark.parametrize(
    "change",
    [
        {"camera": "x"},
        {"camera": "-1"},
        {"camera": "99999"},
        {"camera": "٣"},
        {"label": ""},
        {"label": "<script>alert(1)</script>"},
        {"label": "x" * 25},
        {"confidence": "1e3"},
        {"confidence": "nan"},
        {"box": "1,2,3"},
        {"box": "1,2,0,4"},
        {"box": "600,0,41,10"},
        {"box": "0,300,10,61"},
        {"box": "1,2,3,4,5"},
        {"at": "yesterday"},
        {"at": '2026-11-23T08:19:33"><script>'},
    ],
)
def test_anything_else_is_refused(change: dict[str, str]) -> None:
    """A parameter that is not of its form is refused by name."""
    with pytest.raises(BadParameter, match=f"^{next(iter(change))}:"):
        frame_of(GOOD | change)


@pytest.mark.parametrize("name", ["camera", "label", "box", "at"])
def test_missing_parameter_is_named(name: str) -> None:
    """Everything but the confidence is needed."""
    with pytest.raises(BadParameter, match=f"^{name}:"):
        frame_of({key: value for key, value in GOOD.items() if key != name})


def test_each_camera_has_its_own_place() -> None:
    """The same thing before another camera stands before another backdrop; an unknown camera gets one of these."""
    pictures = {svg(frame_of(GOOD | {"camera": str(camera.number)})) for camera in CAMERAS}
    assert len(pictures) == len(CAMERAS)
    assert words(svg(frame_of(GOOD | {"camera": "17"})))[1] == "CAM 17"


def test_every_kind_has_a_shape() -> None:
    """Whatever moves in the scene is drawn; an unknown label gets a box alone."""
    assert {kind.label for camera in CAMERAS for kind in camera.kinds} <= SUBJECTS.keys()
    assert words(svg(frame_of(GOOD | {"label": "horse"})))[0] == "horse 0.91"
