"""Metrics as sums over examples: leaving one out, or drawing examples anew, is then a subtraction or a product.

tasks/metrics.py names them beside each metric; one that is no function of sums over examples (Spearman) has none.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]


@dataclass(frozen=True)
class Sums:
    """A metric as a function of sums over examples.

    Attributes:
        terms: (n, k) what each example adds.
        value: sums (..., k) -> metric (...).
    """

    terms: Array
    value: Callable[[Array], Array]


def of_right(right: NDArray[Any]) -> Sums:
    """Accuracy of answers that are right (1) or not."""
    return Sums(np.stack([right, np.ones_like(right)], axis=-1).astype(float), _ratio)


def of_classes(metric: str, answers: NDArray[Any], gold: NDArray[Any], classes: int) -> Sums:
    """f1, f1_macro or matthews of class numbers (n,); an answer of `classes` is outside the labels.

    The terms are (n, c * (c + 1)): one-hot of (gold, answered); the last answer column is an answer outside.
    """
    terms = np.zeros((len(gold), classes * (classes + 1)))
    terms[np.arange(len(gold)), gold * (classes + 1) + answers] = 1.0
    return Sums(terms, CLASS_VALUES[metric](classes))


def of_entities(metric: str, counts: NDArray[Any]) -> Sums:
    """Micro f1, precision or recall of (right, answered, gold) entities of each sentence, (n, 3)."""
    columns = {"precision": [1], "recall": [2], "f1": [1, 2]}[metric]

    def value(sums: Array) -> Array:
        total = sums[..., columns].sum(-1)
        hits = len(columns) * sums[..., 0]
        return np.divide(hits, total, out=np.zeros_like(total), where=total > 0)

    return Sums(counts.astype(float).reshape(-1, 3), value)


def of_questions(values: NDArray[Any]) -> Sums:
    """The mean of one value per example, (n,)."""
    return Sums(np.stack([values, np.ones_like(values)], axis=1).astype(float), _ratio)


def of_groups(right: NDArray[Any], groups: Sequence[str]) -> Sums:
    """The share of groups that are right (1) as a whole."""
    return Sums(_group_terms(right.astype(float), groups), _ratio)


def of_moments(x: Array, y: Array) -> Sums:
    """Pearson correlation of (n,) and (n,) from moments; about the mean, so that no digits are lost."""
    x, y = x - x.mean(), y - y.mean()
    terms = np.stack([np.ones_like(x), x, y, x * x, y * y, x * y], axis=1)

    def value(sums: Array) -> Array:
        n, sx, sy, sxx, syy, sxy = (sums[..., i] for i in range(6))
        scale = np.sqrt(np.maximum(n * sxx - sx * sx, 0.0) * np.maximum(n * syy - sy * sy, 0.0))
        return np.divide(n * sxy - sx * sy, scale, out=np.zeros_like(scale), where=scale > 1e-12)

    return Sums(terms, value)


def mean_of(parts: Sequence[Sums | None]) -> Sums | None:
    """The mean of several metrics, None if one has no sums."""
    known = [part for part in parts if part is not None]
    if len(known) < len(parts):
        return None
    edges = np.cumsum([0, *(part.terms.shape[1] for part in known)])

    def value(sums: Array) -> Array:
        scores = [part.value(sums[..., edges[i] : edges[i + 1]]) for i, part in enumerate(known)]
        return np.mean(scores, axis=0)

    return Sums(np.concatenate([part.terms for part in known], axis=1), value)


def _group_terms(right: Array, groups: Sequence[str]) -> Array:
    """(n, 2): at the first example of each group whether all of it is right, and one; nothing at the others."""
    whole: dict[str, float] = {}
    for value, group in zip(right, groups, strict=True):
        whole[group] = min(whole.get(group, 1.0), float(value))
    terms, seen = np.zeros((len(right), 2)), set()
    for row, group in enumerate(groups):
        if group not in seen:
            seen.add(group)
            terms[row] = whole[group], 1.0
    return terms


def _ratio(sums: Array) -> Array:
    """First over second, 0 where there is nothing."""
    return np.divide(sums[..., 0], sums[..., 1], out=np.zeros_like(sums[..., 0]), where=sums[..., 1] > 0)


def _f1(classes: int) -> Callable[[Array], Array]:
    """F1 of the second class (of the only one, if so); an answer outside the labels is no positive answer."""

    def value(sums: Array) -> Array:
        table = sums.reshape(*sums.shape[:-1], classes, classes + 1)
        at = min(1, classes - 1)
        hit = table[..., at, at]
        total = table[..., at, :].sum(-1) + table[..., at].sum(-1)
        return np.divide(2 * hit, total, out=np.zeros_like(hit), where=total > 0)

    return value


def _f1_macro(classes: int) -> Callable[[Array], Array]:
    """Mean F1 over all classes; one that is neither answered nor there counts 0 (tasks/scoring.py, f1_macro)."""

    def value(sums: Array) -> Array:
        table = sums.reshape(*sums.shape[:-1], classes, classes + 1)
        hit = np.diagonal(table[..., :classes], axis1=-2, axis2=-1)
        total = table.sum(-1) + table[..., :classes].sum(-2)
        shares = np.divide(2 * hit, total, out=np.zeros_like(hit), where=total > 0)
        return shares.mean(-1)

    return value


def _matthews(classes: int) -> Callable[[Array], Array]:
    """Matthews correlation (multi-class form); answers outside the labels are a class of their own."""

    def value(sums: Array) -> Array:
        table = sums.reshape(*sums.shape[:-1], classes, classes + 1)
        total = table.sum((-2, -1))
        gold = table.sum(-1)
        answered = table.sum(-2)
        right = np.diagonal(table[..., :classes], axis1=-2, axis2=-1).sum(-1)
        covariance = right * total - (gold * answered[..., :classes]).sum(-1)
        scale = np.sqrt((total**2 - (answered**2).sum(-1)) * (total**2 - (gold**2).sum(-1)))
        return np.divide(covariance, scale, out=np.zeros_like(covariance), where=scale > 0)

    return value


CLASS_VALUES: dict[str, Callable[[int], Callable[[Array], Array]]] = {
    "f1": _f1,
    "f1_macro": _f1_macro,
    "matthews": _matthews,
}
