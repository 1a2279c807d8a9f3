"""What can and what cannot be told apart: intervals, tests, equivalence with a published value.

Nothing here rounds or scales: scores come as they are (fractions or points) and go back so. Quantiles and exact
binomials are scipy.special's; scipy.stats is not imported, since it takes longer than a table should.
"""

from __future__ import annotations

import math
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np


def deviation(values: Sequence[float]) -> float | None:
    """Sample standard deviation (n - 1); None from fewer than two values."""
    return statistics.stdev(values) if len(values) > 1 else None


def t_interval(values: Sequence[float], level: float = 0.95) -> tuple[float, float] | None:
    """Student's interval of the mean over seeds; None from fewer than two values."""
    spread = deviation(values)
    if spread is None:
        return None
    half = t_quantile(0.5 + level / 2, len(values) - 1) * spread / math.sqrt(len(values))
    center = statistics.fmean(values)
    return center - half, center + half


def t_quantile(probability: float, degrees: float) -> float:
    """Quantile of Student's t."""
    from scipy.special import stdtrit

    return float(stdtrit(degrees, probability))


def binomial_error(share: float, n: int) -> float:
    """Standard error of a proportion from n examples."""
    share = min(max(share, 0.0), 1.0)
    return math.sqrt(share * (1.0 - share) / n)


def minimal_detectable_difference(n: int, share: float, level: float = 0.95, power: float = 0.5) -> float:
    """Smallest difference of two proportions, each of n examples, that an unpaired test finds.

    At power 0.5 it is the difference that is just significant (RTE, 139 rows at 0.8: 0.094); at 0.8 the one
    that is found four times in five. Pairing by example can only make it smaller.
    """
    normal = statistics.NormalDist()
    return (normal.inv_cdf(0.5 + level / 2) + normal.inv_cdf(power)) * math.sqrt(2.0) * binomial_error(share, n)


def mcnemar(right_a: Sequence[bool], right_b: Sequence[bool]) -> float:
    """Exact two-sided McNemar test; for accuracy only: other metrics are not sums of right answers."""
    from scipy.special import bdtr

    if len(right_a) != len(right_b):
        raise ValueError(f"both must be on the same examples ({len(right_a)} and {len(right_b)})")
    only_a = sum(bool(x) and not y for x, y in zip(right_a, right_b, strict=True))
    only_b = sum(bool(y) and not x for x, y in zip(right_a, right_b, strict=True))
    return min(1.0, 2.0 * float(bdtr(min(only_a, only_b), only_a + only_b, 0.5))) if only_a + only_b else 1.0


def one_per_task(differences: Mapping[str, float]) -> dict[str, float]:
    """Differences by task with a task that stands in two suites (RTE) counted once, by its mean."""
    merged: dict[str, list[float]] = {}
    for name, value in differences.items():
        merged.setdefault(name.rpartition("/")[2].lower(), []).append(value)
    return {name: statistics.fmean(values) for name, values in merged.items()}


def sign_flip(differences: Mapping[str, float] | Sequence[float]) -> float:
    """Exact two-sided sign-flip permutation test of a mean difference over tasks.

    Tasks given by name are first counted once each (`one_per_task`). The smallest possible value from n tasks
    is 2 / 2**n: with fewer than 6 tasks nothing is significant at 0.05.

    Raises:
        ValueError: If there are no tasks, or more than 24 (2**24 sign patterns).
    """
    values = list(one_per_task(differences).values()) if isinstance(differences, Mapping) else list(differences)
    if not 0 < len(values) <= 24:
        raise ValueError(f"sign_flip takes 1 to 24 tasks, not {len(values)}")
    sums = np.zeros(1)
    for value in values:
        sums = np.concatenate([sums + value, sums - value])
    # differences that are equal but for rounding are equal
    return float(np.mean(np.abs(sums) >= abs(sum(values)) - 1e-12))


def holm(p_values: Sequence[float]) -> list[float]:
    """Holm's adjusted p-values, in the order given."""
    order = sorted(range(len(p_values)), key=lambda index: p_values[index])
    adjusted = [0.0] * len(p_values)
    largest = 0.0
    for rank, index in enumerate(order):
        largest = max(largest, min(1.0, (len(p_values) - rank) * p_values[index]))
        adjusted[index] = largest
    return adjusted


@dataclass(frozen=True)
class Verdict:
    """reproduced, differs, inconclusive or not comparable, and why."""

    name: str
    why: str


def equivalence(
    values: Sequence[float],
    published: float,
    margin: float = 1.0,
    published_std: float | None = None,
    published_seeds: int | None = None,
    blocked_by: Sequence[str] = (),
    level: float = 0.95,
) -> Verdict:
    """Whether runs reproduce a published value, by two one-sided tests with a margin declared beforehand.

    reproduced: the (2 level - 1) interval of the difference lies within the margin (both one-sided tests at
    1 - level). differs: the two-sided `level` interval leaves out zero, and it is not reproduced. Otherwise
    inconclusive; so always from one run, and where something about the published value is not known
    (`blocked_by`) that a reproduction would have to share. The published value has an error of its own: its
    printed spread over its seeds (Welch), or where no spread is printed ours over its seeds, and over one run
    where their number is unknown.

    Args:
        values: Our scores, one per seed, in the unit of the others.
        published: The published value.
        margin: Equivalence margin (1.0 point by default).
        published_std: Its printed standard deviation.
        published_seeds: Number of runs behind it.
        blocked_by: What is not known of it: "split", "seeds", "selection".
        level: Confidence of each one-sided test.
    """
    if len(values) < 2:
        return Verdict("inconclusive", f"{len(values) or 'no'} run: no spread, so nothing can be concluded")
    difference = statistics.fmean(values) - published
    own = statistics.variance(values) / len(values)
    error = own + statistics.variance(values) / (published_seeds or 1)
    degrees = float(len(values) - 1)
    if published_std is not None and published_seeds is not None and published_seeds > 1:
        other = published_std**2 / published_seeds
        error = own + other
        parts = own**2 / (len(values) - 1) + other**2 / (published_seeds - 1)
        degrees = error**2 / parts if parts > 0 else float(len(values) - 1)
    half_90 = t_quantile(level, degrees) * math.sqrt(error)
    half_95 = t_quantile(0.5 + level / 2, degrees) * math.sqrt(error)
    interval = f"difference {difference:+.2f}, {100 * level:.0f}% interval ±{half_95:.2f}, margin {margin:g}"
    if abs(difference) + half_90 < margin:
        if blocked_by:
            unknown = ", ".join(blocked_by)
            return Verdict("inconclusive", f"within the margin, but the published {unknown} is unknown ({interval})")
        return Verdict("reproduced", interval)
    if abs(difference) > half_95:
        return Verdict("differs", interval)
    return Verdict("inconclusive", interval)
