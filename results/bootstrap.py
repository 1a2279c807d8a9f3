"""The hierarchical bootstrap between two methods on one task: seeds, then examples, in whole clusters.

The metric itself is recomputed on every resample; metrics that are functions of sums over examples
(results/metric_sums.py) go through a matrix product, any other one through its own function.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]
BLOCK = 4_000_000  # entries of a matrix of resampling weights that are held at once (32 MB)
# metric(predictions, references) -> score
Metric = Callable[[Sequence[Any], Sequence[Any]], float]


@dataclass(frozen=True)
class Difference:
    """A difference a - b with its percentile interval and two-sided p-value."""

    value: float
    low: float
    high: float
    p: float
    resamples: int


@dataclass(frozen=True)
class Sums:
    """A metric as a function of sums over examples, which makes a bootstrap a matrix product.

    Attributes:
        terms: (n, k) what each example adds.
        value: sums (..., k) -> metric (...).
    """

    terms: Array
    value: Callable[[Array], Array]


def hierarchical_bootstrap(
    a: Sequence[Sums],
    b: Sequence[Sums],
    groups: Sequence[Any] | None = None,
    resamples: int = 1000,
    level: float = 0.95,
    seed: int = 0,
) -> Difference:
    """Difference between two methods on one task, from the examples of every seed.

    Seeds are drawn with replacement within each method; examples are drawn with replacement once per
    resample, in whole clusters, and the same draw serves both methods and all seeds, because all saw the same
    test set. The metric is recomputed from each resample.

    Args:
        a: One `Sums` per seed of the first method; examples in the same order throughout.
        b: The same for the second method.
        groups: Cluster of each example (passage, question); None: every example is its own.
        resamples: Number of resamples.
        level: Coverage of the interval.
        seed: Seed of the resampling.

    Raises:
        ValueError: If the numbers of examples differ.
    """
    sizes = {len(sums.terms) for sums in (*a, *b)}
    if len(sizes) != 1:
        raise ValueError(f"all runs must be on the same examples; numbers of examples seen: {sorted(sizes)}")
    owners = _owners(groups, sizes.pop())
    terms = [[_by_cluster(sums.terms, owners) for sums in side] for side in (a, b)]
    clusters = len(terms[0][0])
    scores = [np.empty((len(side), resamples)) for side in (a, b)]
    block = max(1, min(resamples, BLOCK // clusters))
    for start in range(0, resamples, block):
        stop = min(start + block, resamples)
        weights = _weights(clusters, stop - start, seed + start)
        for side, runs in enumerate((a, b)):
            for index, sums in enumerate(runs):
                scores[side][index, start:stop] = sums.value(weights @ terms[side][index])
    random = np.random.default_rng([seed, 1])
    means = [_over_seeds(score, random) for score in scores]
    observed = [float(np.mean([sums.value(sums.terms.sum(0)) for sums in side])) for side in (a, b)]
    return _difference(observed[0] - observed[1], means[0] - means[1], level)


def bootstrap_metric(
    a: Sequence[Sequence[Any]],
    b: Sequence[Sequence[Any]],
    references: Sequence[Any],
    metric: Metric,
    groups: Sequence[Any] | None = None,
    resamples: int = 1000,
    level: float = 0.95,
    seed: int = 0,
) -> Difference:
    """`hierarchical_bootstrap` for any metric, by recomputing it on every resample.

    Args:
        a: One sequence of predictions per seed of the first method, in the order of `references`.
        b: The same for the second method.
        references: The gold of each example.
        metric: `metric(predictions, references)` -> score.
        groups: Cluster of each example.
        resamples: Number of resamples.
        level: Coverage of the interval.
        seed: Seed of the resampling.
    """
    random = np.random.default_rng(seed)
    owners = _owners(groups, len(references))
    members = [np.flatnonzero(owners == cluster) for cluster in range(owners.max() + 1)]
    scores = [np.empty((len(side), resamples)) for side in (a, b)]
    for resample in range(resamples):
        drawn = random.integers(len(members), size=len(members))
        rows = np.concatenate([members[cluster] for cluster in drawn])
        gold = [references[row] for row in rows]
        for side, runs in enumerate((a, b)):
            for index, run in enumerate(runs):
                scores[side][index, resample] = metric([run[row] for row in rows], gold)
    means = [_over_seeds(score, random) for score in scores]
    observed = [float(np.mean([metric(run, references) for run in side])) for side in (a, b)]
    return _difference(observed[0] - observed[1], means[0] - means[1], level)


@lru_cache(maxsize=2)
def _weights(clusters: int, resamples: int, seed: int) -> Array:
    """How often each cluster is drawn in each resample; the same for every comparison of a column."""
    random = np.random.default_rng([seed, clusters])
    return random.multinomial(clusters, np.full(clusters, 1.0 / clusters), size=resamples).astype(float)


def _owners(groups: Sequence[Any] | None, n: int) -> NDArray[np.int64]:
    """Cluster number of each example."""
    if groups is None:
        return np.arange(n)
    numbers: dict[Any, int] = {}
    return np.array([numbers.setdefault(group, len(numbers)) for group in groups], dtype=np.int64)


def _by_cluster(terms: Array, owners: NDArray[np.int64]) -> Array:
    """Sums of the terms within each cluster."""
    if len(owners) == owners.max() + 1:
        return terms
    out = np.zeros((int(owners.max()) + 1, terms.shape[1]))
    np.add.at(out, owners, terms)
    return out


def _over_seeds(scores: Array, random: np.random.Generator) -> Array:
    """Mean over a draw of seeds per resample; scores (seeds, resamples)."""
    seeds, resamples = scores.shape
    drawn = random.integers(seeds, size=(seeds, resamples))
    return np.take_along_axis(scores, drawn, axis=0).mean(axis=0)


def _difference(value: float, resampled: Array, level: float) -> Difference:
    """Percentile interval, and a p-value from the bootstrap's standard error.

    Counting resamples beyond zero cannot give less than 2 / (resamples + 1), which Holm over a table of a
    hundred comparisons would always call nothing.
    """
    low, high = np.quantile(resampled, [0.5 - level / 2, 0.5 + level / 2])
    error = float(resampled.std(ddof=1))
    p = math.erfc(abs(value) / error / math.sqrt(2.0)) if error > 0 else float(value == 0)
    return Difference(value, float(low), float(high), p, len(resampled))
