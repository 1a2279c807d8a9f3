"""The metrics as ``evaluate.Metric`` subclasses on scikit-learn, scipy and seqeval; nothing is fetched.

Kept apart from tasks/metrics.py because ``import evaluate`` takes seconds. tests/unit/test_tasks_metrics.py holds
these, the pure functions of tasks/scoring.py and the official scripts' rules equal.
"""

from __future__ import annotations

import math
import warnings
from functools import cache
from typing import Any, ClassVar

import evaluate
from datasets import Features, Value
from datasets import List as ListOf

from tasks import scoring

INT, FLOAT, TEXT = Value("int64"), Value("float64"), Value("string")


class LocalMetric(evaluate.Metric):
    """A metric in memory; ``inputs``: feature types of predictions, references and, if any, groups."""

    inputs: ClassVar[dict[str, Any]] = {"predictions": INT, "references": INT}
    source = "GLUE"

    def __init__(self) -> None:
        super().__init__(keep_in_memory=True)

    def _info(self) -> evaluate.MetricInfo:
        return evaluate.MetricInfo(
            description=self.__doc__ or "", citation=self.source, features=Features(dict(self.inputs))
        )


class Accuracy(LocalMetric):
    """Share of right class ids."""

    def _compute(self, predictions: Any, references: Any) -> dict[str, float]:
        from sklearn.metrics import accuracy_score

        return {"accuracy": float(accuracy_score(references, predictions))}


class BinaryF1(LocalMetric):
    """F1 of class 1 over all rows (MRPC, QQP; MultiRC's F1a)."""

    def _compute(self, predictions: Any, references: Any) -> dict[str, float]:
        from sklearn.metrics import f1_score

        # labels=[1]: an invalid answer (-1) is no third class
        return {"f1": float(f1_score(references, predictions, labels=[1], average="macro", zero_division=0.0))}


class MacroF1(LocalMetric):
    """Mean F1 over the task's classes, absent ones (0) with them (CB: T5's and DePT's mean_multiclass_f1)."""

    source = "SuperGLUE, T5"

    def _compute(self, predictions: Any, references: Any, classes: int) -> dict[str, float]:
        from sklearn.metrics import f1_score

        labels = list(range(classes))
        return {"f1_macro": float(f1_score(references, predictions, labels=labels, average="macro", zero_division=0.0))}


class Matthews(LocalMetric):
    """Matthews correlation (CoLA)."""

    def _compute(self, predictions: Any, references: Any) -> dict[str, float]:
        from sklearn.metrics import matthews_corrcoef

        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # one class alone scores 0, as in the first steps of many runs
            return {"matthews": float(matthews_corrcoef(references, predictions))}


class Pearson(LocalMetric):
    """Pearson correlation; 0 where a side is constant (STS-B)."""

    inputs: ClassVar[dict[str, Any]] = {"predictions": FLOAT, "references": FLOAT}

    def _compute(self, predictions: Any, references: Any) -> dict[str, float]:
        return {"pearson": _correlation("pearsonr", predictions, references)}


class Spearman(LocalMetric):
    """Spearman rank correlation; 0 where a side is constant (STS-B)."""

    inputs: ClassVar[dict[str, Any]] = {"predictions": FLOAT, "references": FLOAT}

    def _compute(self, predictions: Any, references: Any) -> dict[str, float]:
        return {"spearman": _correlation("spearmanr", predictions, references)}


def _correlation(name: str, predictions: Any, references: Any) -> float:
    from scipy import stats

    if len(references) < 2:
        return 0.0
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # a constant side is no surprise in the first steps; it scores 0
        value = float(getattr(stats, name)(predictions, references)[0])
    return 0.0 if math.isnan(value) else value


class GroupExactMatch(LocalMetric):
    """Share of questions whose every answer is judged right (MultiRC's EM)."""

    inputs: ClassVar[dict[str, Any]] = {"predictions": INT, "references": INT, "groups": TEXT}
    source = "SuperGLUE"

    def _compute(self, predictions: Any, references: Any, groups: Any) -> dict[str, float]:
        return {"em": scoring.group_exact_match(predictions, references, groups)}


class GroupF1(LocalMetric):
    """Mean over questions of the macro-F1 inside the question (MultiRC's F1m)."""

    inputs: ClassVar[dict[str, Any]] = {"predictions": INT, "references": INT, "groups": TEXT}
    source = "SuperGLUE"

    def _compute(self, predictions: Any, references: Any, groups: Any) -> dict[str, float]:
        return {"f1_m": scoring.group_f1_macro(predictions, references, groups)}


class Answers(LocalMetric):
    """Exact match and token F1, each the best over the references (SQuAD 1.1, MRQA, ReCoRD)."""

    inputs: ClassVar[dict[str, Any]] = {"predictions": TEXT, "references": ListOf(TEXT)}
    source = "SQuAD, MRQA, ReCoRD"

    def _compute(self, predictions: Any, references: Any) -> dict[str, float]:
        return scoring.qa(predictions, references)


class EntityF1(LocalMetric):
    """Entity micro-F1 of tags under strict IOB2 (seqeval's strict mode)."""

    strict: ClassVar[bool] = True
    inputs: ClassVar[dict[str, Any]] = {"predictions": ListOf(TEXT), "references": ListOf(TEXT)}
    source = "CoNLL-2003, seqeval"

    def _compute(self, predictions: Any, references: Any) -> dict[str, float]:
        from seqeval.metrics import f1_score, precision_score, recall_score
        from seqeval.metrics.v1 import precision_recall_fscore_support
        from seqeval.scheme import IOB2

        # an absent entity of a generated answer stands past the sentence's end, and seqeval wants equal lengths
        references = [[*r, *["O"] * (len(p) - len(r))] for p, r in zip(predictions, references, strict=True)]
        predictions = [[*p, *["O"] * (len(r) - len(p))] for p, r in zip(predictions, references, strict=True)]
        if not self.strict:
            scores = {"f1": f1_score, "precision": precision_score, "recall": recall_score}
            return {
                f"{name}_lenient": float(value(references, predictions, zero_division=0))
                for name, value in scores.items()
            }
        precision, recall, f1, _ = precision_recall_fscore_support(
            references, predictions, average="micro", scheme=IOB2, zero_division=0
        )
        return {"precision": float(precision), "recall": float(recall), "f1": float(f1)}


class LenientEntityF1(EntityF1):
    """As `EntityF1`, in seqeval's default mode, which P-tuning v2's code and so APT's line report."""

    strict: ClassVar[bool] = False


METRICS: dict[str, type[LocalMetric]] = {
    "accuracy": Accuracy,
    "f1": BinaryF1,
    "f1_macro": MacroF1,
    "matthews": Matthews,
    "pearson": Pearson,
    "spearman": Spearman,
    "em": GroupExactMatch,
    "f1_m": GroupF1,
    "answers": Answers,
    "entities": EntityF1,
    "lenient_entities": LenientEntityF1,
}


@cache
def metric(name: str) -> LocalMetric:
    """The one instance of a metric; instances hold no rows between calls."""
    return METRICS[name]()


def compute(name: str, **columns: Any) -> dict[str, float]:
    """Scores of whole columns (predictions, references, groups); macro-F1 also takes the number of classes."""
    return dict(metric(name).compute(**columns) or {})
