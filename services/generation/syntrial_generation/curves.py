"""What a training's figures were on the way: the content of `curves.json`."""

from collections.abc import Mapping
from typing import Any

from syntrial.documents import training as documents


class Curves:
    """Means of a training's figures over equal stretches of images, for `curves.json`."""

    def __init__(self, *, images: int, points: int = 100) -> None:
        self._images = images
        self._every = max(images // points, 1)
        self._sums: dict[str, float] = {}
        self._count = 0
        self.latest: dict[str, float] = {}
        """The figures of the last step added."""
        self.x: list[int] = []
        self.series: dict[str, list[float]] = {}

    def add(self, done: int, figures: Mapping[str, float]) -> None:
        """Takes the figures of one optimiser step, after which `done` images have been shown."""
        self.latest = dict(figures)
        for name, value in figures.items():
            self._sums[name] = self._sums.get(name, 0.0) + value
        self._count += 1
        if done >= self._images or done // self._every > (self.x[-1] if self.x else 0) // self._every:
            self.x.append(done)
            for name, total in self._sums.items():
                self.series.setdefault(name, []).append(total / self._count)
            self._sums, self._count = {}, 0

    def document(self) -> documents.Curves:
        """The content of `curves.json`."""
        series: dict[str, tuple[float | None, ...]] = {name: tuple(values) for name, values in self.series.items()}
        return documents.Curves(x_unit="images", x=tuple(self.x), series=series)

    def notes(self) -> dict[str, Any]:
        """All of it as JSON; numbers come back exactly."""
        return {"sums": self._sums, "count": self._count, "x": self.x, "series": self.series}

    def load(self, notes: Mapping[str, Any]) -> None:
        """Puts back what `notes` took."""
        self._sums, self._count = dict(notes["sums"]), notes["count"]
        self.x, self.series = list(notes["x"]), {name: list(values) for name, values in notes["series"].items()}
