"""Predictions -> metrics of a task; the same keys however the run was made."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from tasks import scoring
from tasks.config import ProtocolConfig, TaskConfig
from tasks.templates import label_words


@dataclass
class Prediction:
    """What was answered for one example.

    ``prediction`` is the answered word (classification), text (QA), number (regression) or tags (tagging);
    ``reference`` the gold of the same form (QA: every accepted answer).
    """

    id: str
    prediction: Any
    reference: Any
    group: str = ""


def score(task: TaskConfig, protocol: ProtocolConfig, predictions: Sequence[Prediction]) -> dict[str, float]:
    """All metrics of a task as fractions."""
    ids = {word: i for i, word in enumerate(label_words(task, protocol))}
    got = [ids.get(str(p.prediction).strip(), -1) for p in predictions]
    gold = [ids[str(p.reference).strip()] for p in predictions]
    return {"accuracy": scoring.accuracy(got, gold)}
