"""Metrics as sums over examples, by name, for the bootstrap; held against tasks/scoring.py by a test.

A metric that is no function of sums (Spearman, set-level scores) has no entry: `sums_of` gives None, and the
bootstrap then has to be given the metric itself.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from results.bootstrap import Array, Sums

CLASS_METRICS = frozenset({"f1", "f1_macro", "matthews"})


def sums_of(
    metric: str, predictions: Sequence[Any], references: Sequence[Any], labels: Sequence[str] = ()
) -> Sums | None:
    """A metric over predictions as sums, or None where it has no such form.

    Args:
        metric: Its name in the records.
        predictions: What was answered, as in `predictions.<split>.jsonl`.
        references: The gold.
        labels: Label words in the order of their ids; the last one of two is the positive class.
    """
    if metric == "accuracy":
        right = np.array([_word(p) == _word(r) for p, r in zip(predictions, references, strict=True)], dtype=float)
        return Sums(np.stack([right, np.ones_like(right)], axis=1), _ratio)
    if metric == "pearson":
        return _pearson_sums(predictions, references)
    if metric in CLASS_METRICS and not any(isinstance(r, list) for r in references):
        names = [_word(label) for label in labels] or sorted({_word(r) for r in references})
        terms = _confusion(predictions, references, names)
        values = {"f1": _f1(len(names)), "f1_macro": _f1_macro(len(names)), "matthews": _matthews(len(names))}
        return Sums(terms, values[metric])
    if metric == "f1" and all(isinstance(r, list) for r in references) and _tagged(predictions):
        return _span_sums(predictions, references)
    return None


def _word(answer: Any) -> str:
    """An answer as it is compared."""
    return str(answer).strip()


def _tagged(predictions: Sequence[Any]) -> bool:
    """Whether the predictions are tag sequences."""
    return all(isinstance(prediction, list) for prediction in predictions)


def _ratio(sums: Array) -> Array:
    """First over second, 0 where there is nothing."""
    return np.divide(sums[..., 0], sums[..., 1], out=np.zeros_like(sums[..., 0]), where=sums[..., 1] > 0)


def _confusion(predictions: Sequence[Any], references: Sequence[Any], names: Sequence[str]) -> Array:
    """(n, c * (c + 1)): one-hot of (gold, answered); the last answer column is an answer outside the labels."""
    index = {name: i for i, name in enumerate(names)}
    width = len(names) + 1
    terms = np.zeros((len(references), len(names) * width))
    for row, (prediction, reference) in enumerate(zip(predictions, references, strict=True)):
        terms[row, index[_word(reference)] * width + index.get(_word(prediction), len(names))] = 1.0
    return terms


def _f1(classes: int) -> Callable[[Array], Array]:
    """F1 of the last class; an answer outside the labels is no positive answer."""

    def value(sums: Array) -> Array:
        table = sums.reshape(*sums.shape[:-1], classes, classes + 1)
        hit = table[..., classes - 1, classes - 1]
        total = table[..., classes - 1, :].sum(-1) + table[..., classes - 1].sum(-1)
        return np.divide(2 * hit, total, out=np.zeros_like(hit), where=total > 0)

    return value


def _f1_macro(classes: int) -> Callable[[Array], Array]:
    """Mean over the classes of their F1."""

    def value(sums: Array) -> Array:
        table = sums.reshape(*sums.shape[:-1], classes, classes + 1)
        hit = np.diagonal(table[..., :classes], axis1=-2, axis2=-1)
        total = table.sum(-1) + table[..., :classes].sum(-2)
        return np.divide(2 * hit, total, out=np.zeros_like(hit), where=total > 0).mean(-1)

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


def _pearson_sums(predictions: Sequence[Any], references: Sequence[Any]) -> Sums | None:
    """Pearson from moments; None where an answer is not a number."""
    try:
        x = np.array([float(p) for p in predictions])
        y = np.array([float(r) for r in references])
    except (TypeError, ValueError):
        return None
    terms = np.stack([np.ones_like(x), x, y, x * x, y * y, x * y], axis=1)

    def value(sums: Array) -> Array:
        n, sx, sy, sxx, syy, sxy = (sums[..., i] for i in range(6))
        scale = np.sqrt(np.maximum(n * sxx - sx * sx, 0.0) * np.maximum(n * syy - sy * sy, 0.0))
        return np.divide(n * sxy - sx * sy, scale, out=np.zeros_like(scale), where=scale > 1e-12)

    return Sums(terms, value)


def _span_sums(predictions: Sequence[Any], references: Sequence[Any]) -> Sums:
    """Micro F1 of entity spans (conlleval's reading of IOB tags) from hits, answered and gold counts."""
    terms = np.zeros((len(references), 3))
    for row, (prediction, reference) in enumerate(zip(predictions, references, strict=True)):
        answered, gold = spans(prediction), spans(reference)
        terms[row] = len(answered & gold), len(answered), len(gold)

    def value(sums: Array) -> Array:
        total = sums[..., 1] + sums[..., 2]
        return np.divide(2 * sums[..., 0], total, out=np.zeros_like(total), where=total > 0)

    return Sums(terms, value)


def spans(tags: Sequence[str]) -> set[tuple[str, int, int]]:
    """Entities of a tag sequence; I- after another type or after O begins one, as conlleval reads it."""
    found, begin, kind = set(), 0, ""
    for index, tag in enumerate([*tags, "O"]):
        prefix, _, name = tag.partition("-")
        if kind and (prefix != "I" or name != kind):
            found.add((kind, begin, index))
            kind = ""
        if prefix in ("B", "I") and not kind:
            begin, kind = index, name
    return found
