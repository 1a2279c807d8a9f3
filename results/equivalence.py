"""Whether runs reproduce a published value: two one-sided tests within a margin declared beforehand.

Both sides saw the same examples, so that what another draw of examples would change cancels to a large part, and the
error is that of the seeds, s^2 (1/S + 1/S_published). Three seeds can agree by luck: s is therefore not taken to be
less than what other runs on the same task show, nor less than the rounding of a score to whole examples.
"""

from __future__ import annotations

import math
import statistics
from collections.abc import Sequence
from dataclasses import dataclass

from results.statistics import deviation, t_quantile
from results.two_way import Variance, satterthwaite

UNDECIDABLE = "undecidable"
BLOCKS_ALL = ("split", "seeds")  # what must be known for any verdict; an unknown selection blocks `reproduced` alone


@dataclass(frozen=True)
class Verdict:
    """reproduced, differs, inconclusive, undecidable or not comparable, and why."""

    name: str
    why: str


@dataclass(frozen=True)
class Spread:
    """Noise between the seeds of a cell: its standard deviation, floored, from so many degrees of freedom."""

    value: float
    degrees: float
    seeds: int
    known: bool = True  # whether anything but rounding speaks for it

    def of_mean(self, weight: float = 1.0, published_seeds: int | None = None) -> Variance:
        """The variance of a weighted mean over our seeds, and over the published ones where ours stand for theirs."""
        share = 1.0 / self.seeds + (1.0 / published_seeds if published_seeds else 0.0)
        return Variance((weight * self.value) ** 2 * share, self.degrees)


def spread_of(values: Sequence[float], step: float = 0.0, others: Sequence[float] = ()) -> Spread | None:
    """The spread of a cell with its floors; None from fewer than two values.

    Args:
        values: Our scores, one per seed, in points.
        step: What one example is worth, in points (100 / n).
        others: Standard deviations over seeds of other cells on this task; their median is the prior.
    """
    own = deviation(values)
    if own is None:
        return None
    prior = statistics.median(others) if others else 0.0
    return Spread(max(own, prior, step / math.sqrt(12.0)), len(values) - 1.0, len(values), max(own, prior) > 1e-9)


def equivalence(
    difference: float,
    own: Sequence[Spread | None],
    published_seeds: int | None,
    margin: float = 1.0,
    published_std: float | None = None,
    step: float = 0.0,
    blocked_by: Sequence[str] = (),
    weights: Sequence[float] | None = None,
    level: float = 0.95,
) -> Verdict:
    """Whether runs reproduce a published value.

    undecidable: the margin is under what one example is worth. reproduced: the (2 level - 1) interval of the
    difference lies within the margin. differs: the two-sided `level` interval leaves out zero, and it is not
    reproduced. Otherwise inconclusive; so always from one run, where split or seeds of the published value are
    unknown, and where our seeds all gave one score and nothing else tells of their noise.

    Args:
        difference: Our mean less the published value, in points.
        own: The spread of our cell, or of every cell that our average is the mean of (None: a single run).
        published_seeds: Number of runs behind the published value, None where it is unknown.
        margin: Equivalence margin in points.
        published_std: Its printed standard deviation; ours stands for it where none is printed.
        step: What one example is worth, in points.
        blocked_by: What is not known of it: "split", "seeds", "selection".
        weights: Weight of each cell in our average.
        level: Confidence of each one-sided test.
    """
    if step > margin:
        return Verdict(UNDECIDABLE, f"one example is worth {step:.1f} points, more than the margin of {margin:g}")
    spreads = [spread for spread in own if spread is not None]
    if len(spreads) < len(own) or not own:
        return Verdict("inconclusive", "a single run: no spread, so nothing can be concluded")
    unknown = [name for name in blocked_by if name in BLOCKS_ALL]
    if unknown or published_seeds is None:
        said = " and ".join(unknown or ["number of seeds"])
        return Verdict("inconclusive", f"the published {said} {'are' if len(unknown) > 1 else 'is'} unknown")
    if not any(spread.known for spread in spreads):
        return Verdict("inconclusive", "all seeds gave one score, and no other run on this task tells of their noise")
    shares = weights or [1.0] * len(spreads)
    printed = published_std is not None and published_seeds > 1
    theirs = None if printed else published_seeds
    parts = [spread.of_mean(weight, theirs) for spread, weight in zip(spreads, shares, strict=True)]
    if published_std is not None and printed:
        parts.append(Variance(published_std**2 / published_seeds, published_seeds - 1.0))
    error = satterthwaite(sum(part.variance for part in parts), parts)
    return _within(difference, error, margin, blocked_by, level)


def _within(difference: float, error: Variance, margin: float, blocked_by: Sequence[str], level: float) -> Verdict:
    half_90, half_95 = (t_quantile(q, error.degrees) * math.sqrt(error.variance) for q in (level, 0.5 + level / 2))
    interval = f"difference {difference:+.2f}, {100 * level:.0f}% interval ±{half_95:.2f}, margin {margin:g}"
    if abs(difference) + half_90 < margin:
        if blocked_by:
            return Verdict(
                "inconclusive", f"within the margin, but the published {', '.join(blocked_by)} is unknown ({interval})"
            )
        return Verdict("reproduced", interval)
    return Verdict("differs" if abs(difference) > half_95 else "inconclusive", interval)


def largest_spread(seeds: int, published_seeds: int, margin: float = 1.0, level: float = 0.95) -> float:
    """The spread between seeds (points) above which not even a difference of zero is called reproduced."""
    return margin / (t_quantile(level, seeds - 1.0) * math.sqrt(1.0 / seeds + 1.0 / published_seeds))
