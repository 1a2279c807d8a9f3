"""Pure scores on plain arrays, free of heavy imports: bootstraps call them on subsets thousands of times.

Everything is a fraction. Class ids are integers; ``-1`` is an answer outside the labels and never right.
"""

from __future__ import annotations

import re
import string
from collections import Counter
from collections.abc import Sequence

import numpy as np
from numpy.typing import ArrayLike

from tasks.entities import lenient_spans, spans

INVALID = -1
PUNCTUATION = str.maketrans("", "", string.punctuation)
ARTICLES = re.compile(r"\b(a|an|the)\b")


def accuracy(predictions: ArrayLike, references: ArrayLike) -> float:
    """Share of equal entries; an invalid prediction (-1) never equals a reference."""
    predictions, references = np.asarray(predictions), np.asarray(references)
    return float(np.mean(predictions == references)) if len(references) else 0.0


def f1(predictions: ArrayLike, references: ArrayLike, positive: int = 1) -> float:
    """F1 of one class; 0 where the class is neither predicted nor there."""
    predictions, references = np.asarray(predictions), np.asarray(references)
    got, gold = predictions == positive, references == positive
    total = got.sum() + gold.sum()
    return float(2 * (got & gold).sum() / total) if total else 0.0


def f1_macro(predictions: ArrayLike, references: ArrayLike, classes: int | None = None) -> float:
    """Mean F1 over the task's classes; one that is neither predicted nor there counts 0, as in T5 (mean_multiclass_f1).

    Without `classes`, over those that are predicted or there; invalid answers make no class of their own.
    """
    predictions, references = np.asarray(predictions), np.asarray(references)
    present = np.union1d(predictions[predictions != INVALID], references)
    counted = present if classes is None else np.arange(classes)
    return float(np.mean([f1(predictions, references, c) for c in counted.tolist()])) if len(counted) else 0.0


def matthews(predictions: ArrayLike, references: ArrayLike) -> float:
    """Matthews correlation for any number of classes (Gorodkin 2004); 0 where it is not defined."""
    predictions, references = np.asarray(predictions), np.asarray(references)
    classes = np.union1d(predictions, references)
    got = np.array([(predictions == c).sum() for c in classes], dtype=float)
    gold = np.array([(references == c).sum() for c in classes], dtype=float)
    n, right = float(len(references)), float((predictions == references).sum())
    below = np.sqrt((n * n - (got @ got)) * (n * n - (gold @ gold)))
    return float((right * n - got @ gold) / below) if below else 0.0


def pearson(predictions: ArrayLike, references: ArrayLike) -> float:
    """Pearson correlation; 0 where a side is constant (the DePT family's rule for NaN)."""
    x, y = np.asarray(predictions, dtype=float), np.asarray(references, dtype=float)
    if len(x) < 2:
        return 0.0
    x, y = x - x.mean(), y - y.mean()
    x, y = x / (np.abs(x).max() or 1.0), y / (np.abs(y).max() or 1.0)
    below = np.sqrt((x @ x) * (y @ y))
    return float(np.clip(x @ y / below, -1.0, 1.0)) if below else 0.0


def spearman(predictions: ArrayLike, references: ArrayLike) -> float:
    """Pearson correlation of average ranks."""
    return pearson(_ranks(predictions), _ranks(references))


def _ranks(values: ArrayLike) -> np.ndarray:
    _, inverse, counts = np.unique(np.asarray(values, dtype=float), return_inverse=True, return_counts=True)
    last = np.cumsum(counts)
    return (last - (counts - 1) / 2)[inverse]


def group_exact_match(predictions: ArrayLike, references: ArrayLike, groups: Sequence[str]) -> float:
    """Share of groups whose every entry is right (MultiRC: questions with all answers judged right)."""
    right = np.asarray(predictions) == np.asarray(references)
    _, inverse = np.unique(np.asarray(groups), return_inverse=True)
    wrong = np.bincount(inverse, weights=~right)
    return float(np.mean(wrong == 0)) if len(wrong) else 0.0


def group_f1_macro(predictions: ArrayLike, references: ArrayLike, groups: Sequence[str]) -> float:
    """Mean over groups of the macro-F1 inside the group (MultiRC's F1m)."""
    predictions, references = np.asarray(predictions), np.asarray(references)
    _, inverse = np.unique(np.asarray(groups), return_inverse=True)
    found = [f1_macro(predictions[inverse == g], references[inverse == g]) for g in range(inverse.max() + 1)]
    return float(np.mean(found))


def normalize_answer(text: str) -> str:
    """Lower case, no punctuation, no articles, single spaces (SQuAD 1.1, MRQA and ReCoRD share it)."""
    return " ".join(ARTICLES.sub(" ", text.lower().translate(PUNCTUATION)).split())


def answer_f1(prediction: str, reference: str) -> float:
    """Token F1 of two normalised answers."""
    got, gold = normalize_answer(prediction).split(), normalize_answer(reference).split()
    same = sum((Counter(got) & Counter(gold)).values())
    return 2 * same / (len(got) + len(gold)) if same else 0.0


def answer_scores(prediction: str, references: Sequence[str]) -> tuple[float, float]:
    """(exact match, F1) of one answer, each the best over the references."""
    normal = normalize_answer(prediction)
    exact = float(any(normal == normalize_answer(r) for r in references))
    return exact, max(answer_f1(prediction, r) for r in references)


def qa(predictions: Sequence[str], references: Sequence[Sequence[str]]) -> dict[str, float]:
    """Mean exact match and F1 over questions (SQuAD 1.1, MRQA, ReCoRD)."""
    scores = np.array([answer_scores(p, r) for p, r in zip(predictions, references, strict=True)] or [(0.0, 0.0)])
    return {"em": float(scores[:, 0].mean()), "f1": float(scores[:, 1].mean())}


def entity_counts(prediction: Sequence[str], reference: Sequence[str], lenient: bool = False) -> tuple[int, int, int]:
    """(right, predicted, gold) entities of one sentence under strict IOB2, or in seqeval's default mode."""
    read = lenient_spans if lenient else spans
    got, gold = set(read(prediction)), set(read(reference))
    return len(got & gold), len(got), len(gold)


def micro_f1(counts: ArrayLike) -> dict[str, float]:
    """Precision, recall and F1 of summed (right, predicted, gold) rows; 0 where undefined."""
    right, got, gold = np.asarray(counts, dtype=float).reshape(-1, 3).sum(axis=0)
    return {
        "precision": float(right / got) if got else 0.0,
        "recall": float(right / gold) if gold else 0.0,
        "f1": float(2 * right / (got + gold)) if got + gold else 0.0,
    }


def entities(
    predictions: Sequence[Sequence[str]], references: Sequence[Sequence[str]], lenient: bool = False
) -> dict[str, float]:
    """Entity micro-F1 with precision and recall."""
    return micro_f1([entity_counts(p, r, lenient) for p, r in zip(predictions, references, strict=True)])


DETERMINERS = frozenset({
    "a", "an", "few", "her", "his", "each", "every", "many", "much", "my", "our", "some", "that", "the",
    "their", "these", "this", "those", "which", "whose", "your",
})  # fmt: skip


def content_words(text: str) -> list[str]:
    """The words of a phrase without determiners."""
    return [w for w in text.strip().lower().split(" ") if w and w not in DETERMINERS]


def same_referent(prediction: str, referent: str) -> bool:
    """T5's rule for WSC: one phrase's words hold the other's, determiners left out."""
    got, gold = content_words(prediction), content_words(referent)
    if not any(got) or ("'" in " ".join(got)) != ("'" in " ".join(gold)):
        return False
    return set(got) <= set(gold) or set(gold) <= set(got)
