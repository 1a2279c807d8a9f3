"""Which runs, splits and roundings a printed accuracy is compatible with: k right answers over n R examples.

A value that fits none of the declared sets says that something about the cell is not as declared (runs, split,
rounding, transcription), and no more.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

RUNS = (1, 2, 3, 5, 10)
ROUNDINGS = ("nearest", "truncated")
USELESS = 1000  # from n R of about so many on every value at one decimal is attainable
NONE = "compatible set: none under the declared sets"
HAIR = 1e-9


@dataclass(frozen=True)
class Setting:
    """One declared way in which a printed value can have come about."""

    split: str
    runs: int
    rounding: str
    total: int


def settings(sizes: Mapping[str, int], runs: Sequence[int] = RUNS) -> list[Setting]:
    """Every declared combination; `sizes`: split -> examples."""
    return [
        Setting(split, count, rounding, n * count)
        for split, n in sizes.items()
        for count in runs
        for rounding in ROUNDINGS
    ]


def attainable(value: float, decimals: int, setting: Setting) -> bool:
    """Whether some k of n R right answers prints as `value` points with so many decimals."""
    unit = 10.0**-decimals
    # nearest: half a unit on both sides, since ties go either way; truncated: a unit above
    low, high = (value - unit / 2, value + unit / 2) if setting.rounding == "nearest" else (value, value + unit)
    first = math.ceil(low * setting.total / 100.0 - HAIR * setting.total)
    k = max(first, 0)
    share = 100.0 * k / setting.total
    inside = share <= high + HAIR if setting.rounding == "nearest" else share < high - HAIR
    return k <= setting.total and inside


def power(decimals: int, setting: Setting) -> float:
    """Share of the printable values that a setting cannot give: how often the check would notice another one."""
    steps = 100 * 10**decimals
    if setting.total >= 10 * steps:
        return 0.0
    unit = 10.0**-decimals
    given = sum(attainable(step * unit, decimals, setting) for step in range(steps + 1))
    return 1.0 - given / (steps + 1)


@dataclass(frozen=True)
class Compatible:
    """What a printed accuracy fits.

    Attributes:
        fits: the settings that can give the value; as_declared: whether the first one does (the declared split and
            runs, rounded to nearest); power: of that first check.
    """

    fits: tuple[Setting, ...]
    as_declared: bool
    power: float

    @property
    def words(self) -> str:
        """The compatible set as a sentence part."""
        if not self.fits:
            return NONE
        said = []
        for split in dict.fromkeys(setting.split for setting in self.fits):
            for rounding in ROUNDINGS:
                runs = [str(s.runs) for s in self.fits if (s.split, s.rounding) == (split, rounding)]
                if runs:
                    cut = " truncated" if rounding == "truncated" else ""
                    said.append(f"{split}{cut}, R = {', '.join(runs)}")
        return "compatible set: " + "; ".join(said)


def compatible(value: float, decimals: int, sizes: Mapping[str, int], runs: Sequence[int] = RUNS) -> Compatible:
    """The compatible set of a printed accuracy in points; the first split and the first number of runs are declared."""
    tried = settings(sizes, runs)
    first = tried[0]
    fits = tuple(setting for setting in tried if attainable(value, decimals, setting))
    return Compatible(fits, first in fits, power(decimals, first))
