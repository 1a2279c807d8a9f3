"""Predictions -> metrics of a task; the same keys and the same code however the run was made."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from tasks.config import ProtocolConfig, TaskConfig
from tasks.scoring import INVALID
from tasks.templates import label_words

LENIENT = ("f1_lenient", "precision_lenient", "recall_lenient")
# what T5's reader (Python's float) takes: 3, 3., .5, 1e0; not nan or inf, which no answer means
NUMBER = re.compile(r"[-+]?(?:\d+\.?\d*|\.\d+)(?:[eE][-+]?\d+)?")
UNREADABLE = {"opposite": -1.0, "wrong": 2.5}  # STS-B: the author code's -1, or the middle of the scale 0..5


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


def score(task: TaskConfig, protocol: ProtocolConfig, predictions: Sequence[Prediction]) -> dict[str, float]:
    """All metrics of a task, as fractions.

    Raises:
        ValueError: no predictions, or a reference that is none of the task's labels.
    """
    if not predictions:
        raise ValueError(f"{task.name}: no predictions to score")
    found = _scores(task, protocol, predictions)
    if task.mean_of:
        found["mean"] = sum(found[name] for name in task.mean_of) / len(task.mean_of)
    both_modes = LENIENT if task.kind == "tagging" else ()  # a tagging record has them beside the strict ones
    return {name: found[name] for name in (*task.metrics, *both_modes)}


def _scores(task: TaskConfig, protocol: ProtocolConfig, predictions: Sequence[Prediction]) -> dict[str, float]:
    from tasks.evaluate_metrics import compute

    if task.kind in ("qa", "cloze"):
        texts = [str(p.prediction) for p in predictions]
        return compute("answers", predictions=texts, references=[_list(p.reference) for p in predictions])
    if task.kind == "tagging":
        tags = [list(p.prediction) for p in predictions]
        gold = [list(p.reference) for p in predictions]
        strict = compute("entities", predictions=tags, references=gold)
        return strict | compute("lenient_entities", predictions=tags, references=gold)
    if task.kind == "regression":
        numbers = [read_number(p.prediction, protocol.invalid_output) for p in predictions]
        values = [float(_one(p.reference)) for p in predictions]
        return _all(["pearson", "spearman"], task, numbers, values)
    return _class_scores(task, protocol, predictions)


def _class_scores(task: TaskConfig, protocol: ProtocolConfig, predictions: Sequence[Prediction]) -> dict[str, float]:
    """Classification and multiple choice, invalid answers by the protocol's rule."""
    from tasks.evaluate_metrics import compute

    got, gold = class_ids(task, protocol, predictions)
    found = _all(["accuracy", "matthews"], task, got, gold)
    if "f1_macro" in task.metrics:
        found |= compute("f1_macro", predictions=got, references=gold, classes=len(task.labels))
    if protocol.invalid_output == "opposite" and len(task.labels) == 2:
        got = [1 - g if p == INVALID else p for p, g in zip(got, gold, strict=True)]
    found |= _all(["f1"], task, got, gold)
    groups = [p.group or p.id for p in predictions]
    for name in ("em", "f1_m"):
        if name in task.metrics:
            found |= compute(name, predictions=got, references=gold, groups=groups)
    return found


def _all(names: Sequence[str], task: TaskConfig, got: list[Any], gold: list[Any]) -> dict[str, float]:
    from tasks.evaluate_metrics import compute

    found: dict[str, float] = {}
    for name in names:
        if name in task.metrics:
            found |= compute(name, predictions=got, references=gold)
    return found


def class_ids(
    task: TaskConfig, protocol: ProtocolConfig, predictions: Sequence[Prediction]
) -> tuple[list[int], list[int]]:
    """Class ids of answers and golds; an answer that is no label word is -1 (string equality after strip)."""
    ids = {word: i for i, word in enumerate(label_words(task, protocol) or task.labels)}
    gold = [ids.get(str(_one(p.reference)).strip(), INVALID) for p in predictions]
    if INVALID in gold:
        bad = predictions[gold.index(INVALID)]
        raise ValueError(f"{task.name}: reference {bad.reference!r} of {bad.id} is none of the labels {list(ids)}")
    return [ids.get(str(p.prediction).strip(), INVALID) for p in predictions], gold


def read_number(answer: Any, policy: str | None) -> float:
    """A regression answer as a number; what cannot be read is -1 (author code) or the middle of the scale."""
    text = str(answer).strip()
    return float(text) if NUMBER.fullmatch(text) else UNREADABLE[policy or "wrong"]


def _list(reference: Any) -> list[str]:
    return [str(reference)] if isinstance(reference, str) else [str(r) for r in reference]


def _one(reference: Any) -> Any:
    return reference[0] if isinstance(reference, list | tuple) else reference
