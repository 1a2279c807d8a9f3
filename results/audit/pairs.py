"""What two printed numbers on one test set can carry: the interval of their difference, tests and a verdict."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from results.statistics import holm

LEVEL = 0.05
NORMAL = 1.959963984540054  # two-sided 5% of the normal curve
MEANINGS = {
    "R": "beyond test-set noise even unpaired",
    "U": "depends on pairing",
    "N": "not separable under any pairing",
}
HAIR = 1e-9  # binary fractions of decimals


@dataclass(frozen=True)
class PrintedDifference:
    """A printed difference a - b (fractions) with the width that rounding of both leaves."""

    value: float
    width: float

    @property
    def most(self) -> float:
        """The largest size that rounding allows."""
        return abs(self.value) + self.width

    @property
    def least(self) -> float:
        """The smallest size that rounding allows."""
        return max(abs(self.value) - self.width, 0.0)


def difference(a: float, b: float, half_a: float, half_b: float) -> PrintedDifference:
    """a - b, each known to half a unit of its last printed decimal (truncation gives the same width)."""
    return PrintedDifference(a - b, half_a + half_b)


def most_items(d: PrintedDifference, n: int) -> int:
    """The largest whole number of examples that a printed difference of two single runs can stand for."""
    return min(n, math.floor(n * d.most + HAIR * n))


def exact_mcnemar_floor(items: int) -> float:
    """Exact two-sided McNemar test with `items` discordant examples, all in one direction: min(1, 2^(1 - k)).

    The best case for a difference: 5 items give .0625, 6 give .031, so five or fewer never reach 5%.
    """
    if items < 0:
        raise ValueError(f"items cannot be negative ({items})")
    return min(1.0, 2.0 ** (1 - items))


def smallest_paired(n: int) -> float:
    """The smallest difference of two single runs that an exact paired test can show at 5%: 6 items (1 if n < 6)."""
    return min(6.0 / n, 1.0)


def unpaired(a: float, b: float) -> float:
    """Standard error of a difference of independent scores; conservative where errors correlate positively."""
    return math.hypot(a, b)


def two_sided(d: float, error: float, degrees: float = math.inf) -> float:
    """Two-sided p of a difference with its standard error; Student's t where degrees of freedom are given."""
    from scipy.special import ndtr, stdtr

    if error <= 0.0:
        return 1.0 if d == 0.0 else 0.0
    x = -abs(d) / error
    return float(2.0 * (ndtr(x) if math.isinf(degrees) else stdtr(degrees, x)))


@dataclass(frozen=True)
class Verdict:
    """R, U or N, and what it hangs on.

    Attributes:
        letter: see MEANINGS.
        p_unpaired: two-sided p without pairing; p_best: with the pairing that favours a difference most, 0 where no
            floor is known (another metric than accuracy, or means over several runs).
        items: examples in the best case, None where there is no floor.
        assumes_single: the floor holds if both numbers are single runs, and it is not known whether they are.
        rounding_decides: R at the printed difference, not at the smallest one that rounding allows.
    """

    letter: str
    p_unpaired: float
    p_best: float
    items: int | None = None
    assumes_single: bool = False
    rounding_decides: bool = False

    @property
    def words(self) -> str:
        """The verdict as a sentence part."""
        if self.letter == "N" and self.assumes_single:
            return f"{MEANINGS['N']} if these are single runs, else {MEANINGS['R' if self.p_unpaired < LEVEL else 'U']}"
        return MEANINGS[self.letter] + (" (rounding could undo it)" if self.rounding_decides else "")


def verdict(
    d: PrintedDifference,
    error: float,
    *,
    degrees: float = math.inf,
    n: int | None = None,
    single: bool | None = False,
) -> Verdict:
    """The verdict at 5%, two-sided.

    N comes before R: with a handful of items and shares near 0 or 1 an unpaired test can be beyond 1.96 errors where
    no exact paired test of the same items is.

    Args:
        d: the printed difference; error: its unpaired standard error (the upper end where it is a range).
        degrees: Satterthwaite's, where a printed spread is part of the error.
        n: examples, for accuracy and exact match on the same items; None where the floor does not exist.
        single: whether both numbers are single runs; None = not known.
    """
    p = two_sided(d.value, error, degrees)
    items = None if n is None or single is False else most_items(d, n)
    best = 0.0 if items is None else exact_mcnemar_floor(items)
    assumes = items is not None and single is None
    if best > LEVEL:
        return Verdict("N", p, best, items, assumes)
    if p < LEVEL:
        return Verdict("R", p, best, items, assumes, two_sided(d.least, error, degrees) >= LEVEL)
    return Verdict("U", p, best, items, assumes)


@dataclass(frozen=True)
class Survivors:
    """How many of the K cells of a quoted claim survive Holm's correction, at least and at most, in each direction."""

    cells: int
    least: int
    most: int
    against_least: int
    against_most: int
    if_single: bool = False

    @property
    def words(self) -> str:
        """`between x and y of K`."""

        def span(low: int, high: int) -> str:
            return f"{low}" if low == high else f"between {low} and {high}"

        text = f"{span(self.least, self.most)} of {self.cells}"
        if self.against_most:
            text += f"; in the other direction {span(self.against_least, self.against_most)}"
        return text + (" (the upper ends hold if these are single runs)" if self.if_single else "")


def family(judged: Sequence[tuple[float, Verdict]], level: float = LEVEL) -> Survivors:
    """Holm over the cells of one claim, each (difference in the claimed direction, verdict).

    At least: with unpaired p-values. At most: with those of the pairing that favours a difference most.
    """

    def survivors(p_values: list[float]) -> list[float]:
        return [d for (d, _), p in zip(judged, holm(p_values), strict=True) if p <= level]

    low = survivors([max(v.p_unpaired, v.p_best) for _, v in judged])
    high = survivors([v.p_best for _, v in judged])
    return Survivors(
        cells=len(judged),
        least=sum(d > 0 for d in low),
        most=sum(d > 0 for d in high),
        against_least=sum(d < 0 for d in low),
        against_most=sum(d < 0 for d in high),
        if_single=any(v.assumes_single for _, v in judged),
    )
