"""Every metric in one place: what it is of whole columns, and its sums over examples for errors and tests.

A metric is a function of `Columns`, registered under its name and the form of the answers that it reads (a kind says
which: tasks/kinds.py). `score` gives a task's metrics, with the same code however a run was made; `sums_of` one of them
as sums. A further metric is a function here and its name in a task's YAML: it is then scored, bootstrapped, tested
and tabulated. Records keep what scikit-learn, scipy and seqeval say (tasks/evaluate_metrics.py, where there is one).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from tasks import sums
from tasks.columns import Columns, columns_of
from tasks.config import ProtocolConfig, TaskConfig
from tasks.errors import DataError
from tasks.kinds import KINDS, kind_of
from tasks.scoring import INVALID
from tasks.sums import Sums


@dataclass
class Prediction:
    """What was answered for one example.

    Both in the forms that tasks/answers.py gives: the answered word (classification; WSC's referent as a label), text
    (QA, ReCoRD; the reference has every accepted answer), a number, or one tag per word.
    """

    id: str
    prediction: Any
    reference: Any
    group: str = ""
    scores: dict[str, float] | None = None  # candidate -> normalised log-probability (ranked and classified answers)


@dataclass(frozen=True)
class Metric:
    """A registered metric.

    Attributes:
        score: columns -> fraction; sums: the same as sums over examples, None where it has none.
        nature: `proportion` (a share of right answers: binomial), `correlation` (Fisher's z) or nothing.
    """

    name: str
    score: Callable[[Columns], float]
    sums: Callable[[Columns], Sums | None] | None
    nature: str = ""


Scorer = Callable[[Columns], float]
METRICS: dict[str, dict[str, Metric]] = {}  # form of the answers -> name -> metric


def metric(
    form: str, name: str, sums: Callable[[Columns], Sums | None] | None = None, nature: str = ""
) -> Callable[[Scorer], Scorer]:
    """Register a function as a metric of answers of one form (`classes`, `numbers`, `answers`, `tags`)."""

    def keep(score: Scorer) -> Scorer:
        METRICS.setdefault(form, {})[name] = Metric(name, score, sums, nature)
        return score

    return keep


@metric("classes", "accuracy", lambda c: sums.of_right(c.right), "proportion")
def accuracy(c: Columns) -> float:
    return c.library("accuracy")["accuracy"]


@metric("classes", "f1", lambda c: c.table("f1", c.decided))
def f1(c: Columns) -> float:
    """Of the second class."""
    return c.library("f1", predictions=c.decided)["f1"]


@metric("classes", "f1_macro", lambda c: c.table("f1_macro", c.got))
def f1_macro(c: Columns) -> float:
    return c.library("f1_macro", classes=c.classes)["f1_macro"]


@metric("classes", "matthews", lambda c: c.table("matthews", c.got))
def matthews(c: Columns) -> float:
    return c.library("matthews")["matthews"]


@metric("classes", "em", lambda c: None if c.groups is None else sums.of_groups(c.right, c.groups), "proportion")
def group_exact_match(c: Columns) -> float:
    """MultiRC: questions with every answer judged right."""
    return c.library("em", predictions=c.decided, groups=c.groups)["em"]


@metric("classes", "f1_m")
def group_f1_macro(c: Columns) -> float:
    """MultiRC: mean over questions of the macro-F1 inside the question."""
    return c.library("f1_m", predictions=c.decided, groups=c.groups)["f1_m"]


@metric("numbers", "pearson", lambda c: sums.of_moments(np.array(c.got), np.array(c.gold)), "correlation")
def pearson(c: Columns) -> float:
    return c.library("pearson")["pearson"]


@metric("numbers", "spearman", nature="correlation")
def spearman(c: Columns) -> float:
    return c.library("spearman")["spearman"]


@metric("answers", "em", lambda c: c.questions(0), "proportion")
def exact_match(c: Columns) -> float:
    return c.library("answers")["em"]


@metric("answers", "f1", lambda c: c.questions(1))
def token_f1(c: Columns) -> float:
    return c.library("answers")["f1"]


def _entity_metrics() -> None:
    """Precision, recall and F1 of entities under strict IOB2 and, `_lenient`, in seqeval's default mode."""
    for name in ("f1", "precision", "recall"):
        for ending, library in (("", "entities"), ("_lenient", "lenient_entities")):

            def score(c: Columns, key: str = name + ending, library: str = library) -> float:
                return c.library(library)[key]

            def counted(c: Columns, name: str = name, ending: str = ending) -> Sums:
                return c.entities(name, bool(ending))

            metric("tags", name + ending, counted)(score)


_entity_metrics()


def of_nature(nature: str) -> frozenset[str]:
    """The names of the metrics that are a `proportion` or a `correlation`."""
    return frozenset(name for found in METRICS.values() for name, one in found.items() if one.nature == nature)


def score(task: TaskConfig, protocol: ProtocolConfig, predictions: Sequence[Prediction]) -> dict[str, float]:
    """All metrics of a task, as fractions.

    Raises:
        ValueError: no predictions, or a reference that is none of the task's labels.
        DataError: the task names a metric that there is none of for its kind.
    """
    from tasks.templates import label_words

    if not predictions:
        raise ValueError(f"{task.name}: no predictions to score")
    kind = kind_of(task)
    known = METRICS[kind.reads]
    words = label_words(task, protocol) or task.labels
    references = [p.reference for p in predictions]
    groups = [p.group or p.id for p in predictions]
    columns = columns_of(
        kind.reads, [p.prediction for p in predictions], references, words, protocol.invalid_output, groups
    )
    if kind.reads == "classes" and not columns.classes:
        bad = predictions[columns.gold.index(INVALID)]
        raise ValueError(f"{task.name}: reference {bad.reference!r} of {bad.id} is none of the labels {list(words)}")
    wanted = [name for name in dict.fromkeys((*task.metrics, *task.mean_of, *kind.also)) if name != "mean"]
    if strange := [name for name in wanted if name not in known]:
        raise DataError(f"{task.name}: no metric {strange[0]!r} for {kind.name} tasks; there are {', '.join(known)}")
    found = {name: known[name].score(columns) for name in wanted}
    if task.mean_of:
        found["mean"] = sum(found[name] for name in task.mean_of) / len(task.mean_of)
    mean = ("mean",) if task.mean_of else ()
    return {name: found[name] for name in dict.fromkeys((*task.metrics, *mean, *kind.also))}


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
        kind: The task's kind.
        invalid_output: "opposite" where an answer outside two labels counts as the wrong one in F1.
        groups: Cluster of each example, for exact match over whole groups (MultiRC).
        mean_of: Metrics that "mean" is the mean of.
    """
    columns = columns_of(KINDS[kind].reads, predictions, references, labels, invalid_output, groups)
    known: Mapping[str, Metric] = METRICS[KINDS[kind].reads]

    def one(name: str) -> Sums | None:
        made = known[name].sums if name in known else None
        return made(columns) if made else None

    return sums.mean_of([one(name) for name in mean_of]) if metric == "mean" and mean_of else one(metric)
