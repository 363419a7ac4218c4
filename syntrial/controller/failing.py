"""Experiments whose looks fail: how long each is left alone. Pure but for the clock that is handed in."""

from dataclasses import dataclass
from typing import Final

FIRST_PAUSE: Final = 5.0
"""Seconds after the first failure in a row; each further pause is twice as long, up to `LONGEST_PAUSE`."""

LONGEST_PAUSE: Final = 300.0


@dataclass(kw_only=True, slots=True)
class _Failure:
    times: int
    generation: int
    until: float


class Failing:
    """By UID, the failures in a row; one that goes well is forgotten."""

    def __init__(self) -> None:
        self._failures: dict[str, _Failure] = {}

    def failed(self, uid: str, *, generation: int, now: float) -> int:
        """Takes note of a failure; returns how many there were in a row with this specification."""
        known = self._failures.get(uid)
        times = 1 + (known.times if known is not None and known.generation == generation else 0)
        # The exponent is bounded: an outage of days makes hundreds of failures.
        pause = min(LONGEST_PAUSE, FIRST_PAUSE * 2.0 ** min(times - 1, 10))
        self._failures[uid] = _Failure(times=times, generation=generation, until=now + pause)
        return times

    def went_well(self, uid: str) -> None:
        """Forgets the failures, also of what is gone."""
        self._failures.pop(uid, None)

    def pause(self, uid: str, *, generation: int, now: float) -> float:
        """Seconds for which it is still to be left alone; 0 with another specification than the one that failed."""
        known = self._failures.get(uid)
        return 0.0 if known is None or known.generation != generation else max(0.0, known.until - now)

    def __len__(self) -> int:
        """How many fail."""
        return len(self._failures)
