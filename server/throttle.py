"""Lines of the log that come at most so often. Pure: the time is handed in."""

from collections.abc import Hashable
from typing import Final

from providers.bounded_dict import BoundedDict

_THINGS: Final = 1000  # counted at once


class Throttle:
    """Allows each thing `times` times in a period of `seconds`, which begins when the thing comes first."""

    def __init__(self, times: int, seconds: float) -> None:
        self._times, self._seconds = times, seconds
        self._counts: BoundedDict[Hashable, list[float]] = BoundedDict(
            _THINGS
        )  # thing → begin of its period, times in it

    def allows(self, thing: Hashable, now: float) -> bool:
        """Count this thing; return whether it may come once more. A clock that is set back begins a new period."""
        count = self._counts.get(thing)
        if count is None or not count[0] <= now < count[0] + self._seconds:
            count = self._counts[thing] = [now, 0]
        count[1] += 1
        return count[1] <= self._times
