from __future__ import annotations

from collections import defaultdict
from itertools import pairwise
from random import Random

import pytest

from demo.scene import CAMERAS, HEIGHT, WIDTH, Detection, Scene

STEP = 0.1


def story(seed: int, seconds: float) -> list[tuple[float, Detection]]:
    """What the cameras see in so many seconds, with the time of each detection."""
    scene = Scene(Random(seed))
    return [(step * STEP, seen) for step in range(int(seconds / STEP)) for seen in scene.advance(STEP)]


@pytest.mark.parametrize("seed", range(5))
def test_two_to_four_detections_a_second(seed: int) -> None:
    """Over five minutes the cameras see about three things a second."""
    assert 2 <= len(story(seed, 300)) / 300 <= 4


@pytest.mark.parametrize("seed", range(5))
def test_boxes_lie_within_the_picture(seed: int) -> None:
    """Every box has a size and fits into the picture, every confidence is a probability with two digits."""
    for _, seen in story(seed, 300):
        x, y, width, height = seen.box
        assert 0 <= x < x + width <= WIDTH
        assert 0 <= y < y + height <= HEIGHT
        assert 0 < seen.confidence < 1
        assert seen.confidence == round(seen.confidence, 2)


def test_motion_is_believable() -> None:
    """A track stays with its camera, label and direction, and moves steadily instead of jumping."""
    tracks = defaultdict(list)
    for at, seen in story(1, 300):
        tracks[seen.track].append((at, seen))
    for sightings in tracks.values():
        assert len({(seen.camera, seen.label) for _, seen in sightings}) == 1
        # Where neither edge of the picture cuts the box, its middle tells the speed.
        whole = [(at, seen.box[0] + seen.box[2] / 2) for at, seen in sightings if 0 < seen.box[0] < WIDTH - seen.box[2]]
        speeds = [(there - here) / (then - now) for (now, here), (then, there) in pairwise(whole)]
        assert all(speed * speeds[0] > 0 for speed in speeds)
        assert all(abs(speed) < 250 for speed in speeds)


def test_every_camera_and_kind_is_seen() -> None:
    """Nothing and nobody is left out."""
    seen = {(seen.camera, seen.label) for _, seen in story(2, 900)}
    assert seen == {(camera.number, kind.label) for camera in CAMERAS for kind in camera.kinds}


def test_same_seed_same_story() -> None:
    """Nothing but the seed decides."""
    assert story(7, 60) == story(7, 60)
    assert story(7, 60) != story(8, 60)
