"""Metrics as sums over examples, for tests and errors; per-example scores are those of tasks/scoring.py.

Leaving an example out, or drawing examples anew, is then a subtraction or a matrix product. A metric that is no
function of sums over examples (Spearman) has no such form: `sums_of` gives None, and nothing is tested with it.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tasks import scoring

Array = NDArray[np.float64]

UNREADABLE = {"opposite": -1.0, "wrong": 2.5}  # what an answer that is no number counts as (tasks/metrics.py)
NUMBER = re.compile(r"[-+]?(?:\d+\.?\d*|\.\d+)(?:[eE][-+]?\d+)?")  # as in tasks/metrics.py


@dataclass(frozen=True)
class Sums:
    """A metric as a function of sums over examples.

    Attributes:
        terms: (n, k) what each example adds.
        value: sums (..., k) -> metric (...).
    """

    terms: Array
    value: Callable[[Array], Array]


def sums_of(
    metric: str,
    predictions: Sequence[Any],
    references: Sequence[Any],
    labels: Sequence[str] = (),
    kind: str = "classification",
    invalid_output: str | None = None,
    groups: Sequence[str] | None = None,
    mean_of: Sequence[str] = (),
) -> Sums | None:
    """A metric over predictions as sums, or None where it has no such form.

    Args:
        metric: Its name in the records; "mean" is the mean of `mean_of`.
        predictions: What was answered, as in `predictions.<split>.jsonl`.
        references: The gold.
        labels: Label words in the order of their ids; the second is the positive class of F1.
        kind: The task's kind: classification, multiple_choice, regression, qa, cloze or tagging.
        invalid_output: "opposite" where an answer outside two labels counts as the wrong one in F1.
        groups: Cluster of each example, for exact match over whole groups (MultiRC).
        mean_of: Metrics that "mean" is the mean of.
    """
    if metric == "mean" and mean_of:
        shared = (predictions, references, labels, kind, invalid_output, groups)
        return _mean([sums_of(name, *shared) for name in mean_of])
    if kind in ("qa", "cloze"):
        return _answers(metric, predictions, references)
    if kind == "tagging":
        return _entities(metric, predictions, references)
    if kind == "regression":
        return _pearson(predictions, references, invalid_output) if metric == "pearson" else None
    return _classes(metric, predictions, references, labels, invalid_output, groups)


def _classes(
    metric: str,
    predictions: Sequence[Any],
    references: Sequence[Any],
    labels: Sequence[str],
    invalid_output: str | None,
    groups: Sequence[str] | None,
) -> Sums | None:
    """Metrics of classification from right answers or a table of gold by answered."""
    gold, got = [_word(r) for r in references], [_word(p) for p in predictions]
    right = np.array([g == p for g, p in zip(gold, got, strict=True)], dtype=float)
    if metric == "accuracy":
        return of_right(right)
    if metric == "em" and groups is not None:
        return Sums(_group_terms(right, groups), _ratio)
    names = [_word(label) for label in labels] or sorted(set(gold))
    if metric not in CLASS_VALUES or not set(gold) <= set(names):
        return None
    if metric == "f1" and invalid_output == "opposite" and len(names) == 2:
        got = [p if p in names else names[1 - names.index(g)] for g, p in zip(gold, got, strict=True)]
    index = {name: number for number, name in enumerate(names)}
    outside = len(names)
    codes = [np.array([index.get(word, outside) for word in words]) for words in (got, gold)]
    return of_classes(metric, codes[0], codes[1], len(names))


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


def _word(answer: Any) -> str:
    """An answer as it is compared; a reference may stand alone or as the only one of a list."""
    return str(answer[0] if isinstance(answer, list | tuple) and answer else answer).strip()


def _mean(parts: Sequence[Sums | None]) -> Sums | None:
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


def _answers(metric: str, predictions: Sequence[Any], references: Sequence[Any]) -> Sums | None:
    """Exact match and token F1 of answers: means over questions."""
    if metric not in ("em", "f1"):
        return None
    accepted = [[str(r)] if isinstance(r, str) else [str(x) for x in r] for r in references]
    pairs = [scoring.answer_scores(str(p), r) for p, r in zip(predictions, accepted, strict=True)]
    values = np.array([pair[metric == "f1"] for pair in pairs])
    return Sums(np.stack([values, np.ones_like(values)], axis=1), _ratio)


def _entities(metric: str, predictions: Sequence[Any], references: Sequence[Any]) -> Sums | None:
    """Micro F1, precision or recall of entities, strict or `_lenient`, from (right, answered, gold) counts."""
    name, lenient = metric.removesuffix("_lenient"), metric.endswith("_lenient")
    if name not in ("f1", "precision", "recall"):
        return None
    counts = [scoring.entity_counts(p, r, lenient) for p, r in zip(predictions, references, strict=True)]
    return of_entities(name, np.array(counts))


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


def _pearson(predictions: Sequence[Any], references: Sequence[Any], invalid_output: str | None) -> Sums:
    """Pearson correlation from moments; an answer that is no number counts by the protocol's rule."""

    def number(answer: Any) -> float:
        text = str(answer).strip()
        return float(text) if NUMBER.fullmatch(text) else UNREADABLE[invalid_output or "wrong"]

    x = np.array([number(p) for p in predictions])
    y = np.array([float(_word(r)) for r in references])
    x, y = x - x.mean(), y - y.mean()  # moments about the mean lose no digits
    terms = np.stack([np.ones_like(x), x, y, x * x, y * y, x * y], axis=1)

    def value(sums: Array) -> Array:
        n, sx, sy, sxx, syy, sxy = (sums[..., i] for i in range(6))
        scale = np.sqrt(np.maximum(n * sxx - sx * sx, 0.0) * np.maximum(n * syy - sy * sy, 0.0))
        return np.divide(n * sxy - sx * sy, scale, out=np.zeros_like(scale), where=scale > 1e-12)

    return Sums(terms, value)


CLASS_VALUES: dict[str, Callable[[int], Callable[[Array], Array]]] = {
    "f1": _f1,
    "f1_macro": _f1_macro,
    "matthews": _matthews,
}
