"""When a night starts no more datasets."""

import datetime
import time
from dataclasses import dataclass

DAY = 24 * 3600.0


@dataclass(frozen=True)
class Deadline:
    """A time of day, held as a moment of the clock that never jumps."""

    label: str
    """As the user said it."""
    moment: float
    """On ``time.monotonic``'s clock [s]."""

    @classmethod
    def at(cls, text: str, now: datetime.datetime | None = None) -> "Deadline":
        """Find the next time that the clock on the wall shows what ``text`` says.

        Parameters
        ----------
        text : str
            ``HH:MM``, local time.
        now : datetime, optional
            For tests.

        Raises
        ------
        ValueError
            If it is no time of day.
        """
        now = now or datetime.datetime.now()
        try:
            wanted = datetime.datetime.strptime(text, "%H:%M").time()
        except ValueError as error:
            raise ValueError(
                f"{text!r} is no time of day; give hours and minutes, as in 07:00"
            ) from error
        left = (datetime.datetime.combine(now.date(), wanted) - now).total_seconds()
        return cls(text, time.monotonic() + (left if left > 0 else left + DAY))

    @property
    def passed(self) -> bool:
        """Whether it is over; a wall clock that is set meanwhile does not matter."""
        return time.monotonic() >= self.moment
