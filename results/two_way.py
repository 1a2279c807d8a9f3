"""The test between two methods: seeds and examples crossed, both drawn at random.

The score of a run depends on the seed it was trained with and on the examples it was scored on. A difference is
believed to the extent that both, drawn again, would give it again. Every verdict between methods (bold, pairs,
averages, contrasts) is made here, and p and interval are read off the same errors and degrees of freedom.

For a cell of S runs on n examples (whole clusters where rows share a passage) there is a matrix of values (S, n): for
accuracy whether an answer is right, for a metric that is no mean its jackknife pseudo-values (Tukey 1958). Three
variances of the mean of a cell come from it (Cornfield and Tukey 1956: two factors, crossed), and Student's t with
Satterthwaite's degrees of freedom (1946) judges the difference. docs/statistics.md says how often this errs, by
simulation (`make calibrate`).
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import numpy as np

from results.statistics import student_p, t_quantile
from tasks.sums import Array, Sums

# Two examples are added to every comparison, one for each side (Bonett and Price 2012): without them five answers that
# all differ in one direction would be significant, where the exact test of McNemar asks for six.
ADDED = 2.0
# Two or three seeds can agree by luck. Where other trained rows of the column tell how much seeds usually spread, each
# cell's variance is mixed with theirs, which counts as much as two further seeds, and is never made smaller by it (a
# moderated variance, Smyth 2004, towards the larger). `KNOWN` degrees of freedom of others are asked for.
WEIGHT = 2.0
KNOWN = 4.0


@dataclass(frozen=True)
class Variance:
    """A part of a variance: how large, and from how many degrees of freedom it is known."""

    variance: float
    degrees: float


@dataclass(frozen=True)
class Sample:
    """What the runs of one cell say.

    Attributes:
        scores: (S,) the metric of each run on all examples.
        values: (S, n) what each example (or cluster) contributes to each run; their mean over n is the score, for a
            metric that is no mean up to the jackknife's correction.
        trained: whether another seed could have given another score. What trains nothing needs one run only.
        informs: whether its spread over seeds tells how much training spreads (what is drawn and never trained: no).
    """

    scores: Array
    values: Array
    trained: bool = True
    informs: bool = True

    @property
    def testable(self) -> bool:
        """One trained run says nothing of how much another seed would differ."""
        return len(self.scores) > 1 or not self.trained

    @cached_property
    def spread(self) -> Variance | None:
        """Variance between single runs; None from one run."""
        count = len(self.scores)
        return Variance(float(self.scores.var(ddof=1)), count - 1.0) if count > 1 else None

    def seeds(self, prior: float | None = None) -> Variance:
        """Variance of the mean over several seeds, from the runs' scores and the variance usual among other rows."""
        own = self.spread or Variance(0.0, 1.0)
        if prior is None:
            return Variance(own.variance / len(self.scores), own.degrees)
        degrees = own.degrees + WEIGHT
        mixed = (own.degrees * own.variance + WEIGHT * prior) / degrees
        return Variance(max(own.variance, mixed) / len(self.scores), degrees)

    @cached_property
    def interaction(self) -> Variance:
        """What of `seeds` is due to the examples: seeds err on different ones; counted in `examples` already."""
        count, n = self.values.shape
        if count < 2 or n < 2:
            return Variance(0.0, 1.0)
        own = self.values - self.values.mean(axis=0)
        variance = float(own.var(axis=1, ddof=1).sum()) / n / (count - 1) / count
        return Variance(variance, (count - 1.0) * (n - 1.0))


@dataclass(frozen=True)
class Difference:
    """A difference a - b, its standard error, degrees of freedom, interval and two-sided p-value."""

    value: float
    error: float
    degrees: float
    low: float
    high: float
    p: float


def sample(runs: Sequence[Sums], groups: Sequence[Any] | None = None, trained: bool = True) -> Sample:
    """A cell from the metric of each of its runs as sums over examples.

    Args:
        runs: One per run; examples in the same order throughout.
        groups: Cluster of each example (passage, question); None: every example is its own.
        trained: Whether another seed could give another score.

    Raises:
        ValueError: If there are no runs or examples, or the numbers of examples differ.
    """
    sizes = {len(run.terms) for run in runs}
    if len(sizes) != 1 or not min(sizes):
        raise ValueError(f"all runs must be on the same examples; numbers of examples seen: {sorted(sizes)}")
    terms = np.stack([_by_cluster(run.terms, groups) for run in runs])
    whole = terms.sum(axis=1, keepdims=True)
    scores = np.array([run.value(total) for run, total in zip(runs, whole[:, 0], strict=True)], dtype=float)
    without = np.stack([run.value(rest) for run, rest in zip(runs, whole - terms, strict=True)])
    n = terms.shape[1]
    return Sample(scores, n * scores[:, None] - (n - 1) * without, trained)


def _by_cluster(terms: Array, groups: Sequence[Any] | None) -> Array:
    """Sums of the terms within each cluster, clusters in the order of their first example."""
    if groups is None:
        return terms
    numbers: dict[Any, int] = {}
    owners = np.array([numbers.setdefault(group, len(numbers)) for group in groups], dtype=np.int64)
    if len(numbers) == len(terms):
        return terms
    out = np.zeros((len(numbers), terms.shape[1]))
    np.add.at(out, owners, terms)
    return out


def usual_variance(others: Iterable[Sample]) -> float | None:
    """The variance between single runs that is usual among other trained cells, pooled; None where too few tell.

    Not their median, which errs in a tenth of the tables where steady and scattered methods stand in one column.
    """
    spreads = [cell.spread for cell in others if cell.trained and cell.informs]
    known = [spread for spread in spreads if spread is not None]
    degrees = sum(spread.degrees for spread in known)
    if degrees < KNOWN:
        return None
    return sum(spread.degrees * spread.variance for spread in known) / degrees


def compare(a: Sample, b: Sample, others: Iterable[Sample] = (), level: float = 0.95) -> Difference | None:
    """The difference between two cells on the same examples; None where one of them cannot be tested.

    Args:
        a, b: The cells.
        others: Further cells of the same column, which tell how much seeds usually spread there.
        level: Coverage of the interval.
    """
    return compare_sums([[Term(1.0, a, b, usual_variance(others))]], level)


@dataclass(frozen=True)
class Term:
    """A weight times the difference a - b of two cells on the same examples; `prior` is usual_variance of others."""

    weight: float
    a: Sample
    b: Sample
    prior: float | None = None

    @property
    def testable(self) -> bool:
        return self.a.testable and self.b.testable and self.a.values.shape[1] == self.b.values.shape[1]


def compare_sums(groups: Iterable[Sequence[Term]], level: float = 0.95) -> Difference | None:
    """A weighted sum of differences, as an average over tasks is one; None where one of its cells cannot be tested.

    Args:
        groups: Groups are independent of each other (tasks); the terms of one group (RTE, where it stands in two
            suites) count as one variable: their errors add up.
        level: Coverage of the interval.
    """
    value = 0.0
    over_examples, over_seeds, interactions = [], [], []
    informed = True
    for group in groups:
        informed &= all(term.prior is not None for term in group)
        if not all(term.testable for term in group):
            return None
        value += sum(term.weight * float(term.a.scores.mean() - term.b.scores.mean()) for term in group)
        over_examples.append(_together([(term.weight, examples(term.a, term.b)) for term in group]))
        for side in ("a", "b"):
            cells = [(term.weight, getattr(term, side), term.prior) for term in group]
            several = [(weight, cell, prior) for weight, cell, prior in cells if len(cell.scores) > 1]
            if several:
                over_seeds.append(_together([(weight, cell.seeds(prior)) for weight, cell, prior in several]))
                interactions += [Variance(w**2 * c.interaction.variance, c.interaction.degrees) for w, c, _ in several]
    return judge(value, over_examples, over_seeds, interactions, level, informed)


def _together(parts: Sequence[tuple[float, Variance]]) -> Variance:
    """The variance of a weighted sum whose terms err together."""
    error = sum(abs(weight) * math.sqrt(part.variance) for weight, part in parts)
    return Variance(error**2, min(part.degrees for _, part in parts))


def examples(a: Sample, b: Sample) -> Variance:
    """Variance of the difference over examples, every seed kept: both sides saw the same ones."""
    gaps = a.values.mean(axis=0) - b.values.mean(axis=0)
    n = len(gaps)
    squares = float(gaps @ gaps) + ADDED - float(gaps.sum()) ** 2 / (n + ADDED)
    return Variance(squares / n**2, max(n - 1.0, 1.0))


def judge(
    value: float,
    over_examples: Iterable[Variance],
    over_seeds: Iterable[Variance] = (),
    interactions: Iterable[Variance] = (),
    level: float = 0.95,
    informed: bool = False,
) -> Difference:
    """p and interval of a difference from the parts of its variance.

    Satterthwaite's degrees of freedom are too many in the far tail, where Holm's correction over a table looks, as long
    as a variance may be small by luck (nine equal methods with two seeds: a false difference in a quarter of the
    tables). Where the variance of seeds is not informed by other rows, Welch's test over the seeds alone is made
    beside the two-way one, and the larger p and the wider interval are the verdict's.

    Args:
        value: The difference.
        over_examples: Its variance over examples.
        over_seeds: Variance of each side's mean over seeds, where there are several.
        interactions: What of these is due to examples.
        level: Coverage of the interval.
        informed: Whether other rows speak for the variance over seeds.
    """
    over_examples, over_seeds, interactions = list(over_examples), list(over_seeds), list(interactions)
    fixed = sum(part.variance for part in over_examples)
    known = sum(part.variance for part in over_seeds) - sum(part.variance for part in interactions)
    two_way = satterthwaite(max(fixed + known, fixed), [*over_examples, *over_seeds, *interactions])
    tests = [two_way]
    if over_seeds and not informed:
        tests.append(satterthwaite(sum(part.variance for part in over_seeds), over_seeds))
    found = [_student(value, test, level) for test in tests]
    widest = max(found, key=lambda difference: difference.high - difference.low)
    return replace(widest, p=max(difference.p for difference in found))


def satterthwaite(variance: float, parts: Sequence[Variance]) -> Variance:
    """A variance made of several, with the degrees of freedom that it is known from."""
    below = sum(part.variance**2 / part.degrees for part in parts)
    return Variance(variance, variance**2 / below if below > 0 else 1.0)


def _student(value: float, test: Variance, level: float) -> Difference:
    error = math.sqrt(test.variance)
    half = t_quantile(0.5 + level / 2, test.degrees) * error
    return Difference(value, error, test.degrees, value - half, value + half, student_p(value, error, test.degrees))
