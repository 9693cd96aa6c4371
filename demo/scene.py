"""Who walks past the cameras: motion in, detections out. No clock, no I/O; the same seed gives the same story."""

from __future__ import annotations

from dataclasses import dataclass, field
from random import Random
from typing import NamedTuple

WIDTH, HEIGHT = 640, 360  # of every picture, in pixels
CROWD = 4  # on the move at any time; each is seen about every 1.3 s, so three detections a second in all


class Kind(NamedTuple):
    """Something that moves: its size at scale 1, its speed in widths of itself per second."""

    label: str
    width: int
    height: int
    speed: float
    certainty: float


class Camera(NamedTuple):
    """A place: what comes by, and the heights in the picture at which feet and wheels touch the ground."""

    number: int
    name: str
    kinds: tuple[Kind, ...]
    lanes: tuple[int, ...]


class Detection(NamedTuple):
    """What one camera saw at one moment. ``box`` is x, y, width, height in pixels, inside the picture."""

    camera: int
    label: str
    confidence: float
    box: tuple[int, int, int, int]
    track: int


PERSON = Kind("person", 52, 132, 1.1, 0.91)
CAR = Kind("car", 190, 86, 0.8, 0.95)
BICYCLE = Kind("bicycle", 104, 112, 1.3, 0.84)
DOG = Kind("dog", 82, 58, 1.5, 0.78)

CAMERAS = (
    Camera(1, "Front gate", (PERSON, PERSON, DOG, BICYCLE), (265, 290, 318)),
    Camera(2, "Car park", (CAR, CAR, PERSON), (240, 285, 320)),
    Camera(3, "Garden path", (PERSON, DOG, BICYCLE), (285, 312)),
    Camera(4, "Loading dock", (CAR, PERSON, PERSON), (285, 318)),
)


@dataclass
class Walker:
    """One of the crowd on its way from one edge of the picture to the other."""

    camera: Camera
    kind: Kind
    track: int
    ground: int
    scale: float
    velocity: float  # pixels per second, leftwards when negative
    x: float
    due: float  # seconds until it is detected next

    @property
    def size(self) -> tuple[float, float]:
        """Width and height in pixels."""
        return self.kind.width * self.scale, self.kind.height * self.scale

    @property
    def visible(self) -> float:
        """How much of its width is inside the picture, from 0 to 1."""
        width = self.size[0]
        return max(0.0, min(self.x + width, WIDTH) - max(self.x, 0.0)) / width

    @property
    def gone(self) -> bool:
        """Whether it has all but left on the far side."""
        return self.visible < 0.3 and (self.x > WIDTH / 2) == (self.velocity > 0)

    def seen(self, random: Random) -> Detection:
        """It as a detector reports it: a box that trembles, less certain while only a part is in sight."""
        width, height = self.size
        left = max(0, round(self.x + random.gauss(0, 1.5)))
        right = min(WIDTH, round(self.x + width + random.gauss(0, 1.5)))
        top = max(0, round(self.ground - height + random.gauss(0, 1.5)))
        certainty = self.kind.certainty * (0.6 + 0.4 * self.visible) + random.gauss(0, 0.025)
        confidence = round(min(0.99, max(0.35, certainty)), 2)
        box = (left, top, max(1, right - left), self.ground - top)
        return Detection(self.camera.number, self.kind.label, confidence, box, self.track)


@dataclass
class Scene:
    """All cameras at one moment."""

    random: Random
    crowd: list[Walker] = field(default_factory=list)
    tracks: int = 0

    def advance(self, seconds: float) -> list[Detection]:
        """Let this much time pass (a fraction of a second); what the cameras saw in it."""
        while len(self.crowd) < CROWD:
            self.crowd.append(self._enter())
        detections = []
        for walker in self.crowd:
            walker.x += walker.velocity * seconds
            walker.due -= seconds
            if walker.due <= 0 and walker.visible >= 0.3:
                walker.due += self.random.uniform(1.0, 1.6)
                detections.append(walker.seen(self.random))
        self.crowd = [walker for walker in self.crowd if not walker.gone]
        return detections

    def _enter(self) -> Walker:
        """A newcomer at an edge of one of the emptiest cameras."""
        counts = {camera: sum(walker.camera is camera for walker in self.crowd) for camera in CAMERAS}
        camera = self.random.choice([camera for camera in CAMERAS if counts[camera] == min(counts.values())])
        kind, ground = self.random.choice(camera.kinds), self.random.choice(camera.lanes)
        scale = ground / max(camera.lanes)  # the further up in the picture, the further away
        speed = kind.width * scale * kind.speed * self.random.uniform(0.8, 1.2)
        rightwards = self.random.random() < 0.5
        width = kind.width * scale
        self.tracks += 1
        return Walker(
            camera=camera,
            kind=kind,
            track=self.tracks,
            ground=ground,
            scale=scale,
            velocity=speed if rightwards else -speed,
            x=-0.6 * width if rightwards else WIDTH - 0.4 * width,
            due=self.random.uniform(0.0, 1.3),
        )
