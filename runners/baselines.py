"""What needs no training: the answer of the majority class."""

from __future__ import annotations

from collections import Counter
from typing import Any

from conf.schema import Config
from tasks.answers import answer_of, reference_of
from tasks.metrics import Prediction
from tasks.task import TaskData


def majority_predictions(config: Config, data: TaskData, role: str) -> list[Prediction]:
    """The commonest training answer for every example (regression: the mean; tagging: no entity)."""
    task = config.task
    split = data.splits[role]
    if task.kind == "tagging":
        return [Prediction(e.id, ["O"] * len(e.words), reference_of(task, e), e.group) for e in split]
    train = data.splits["train"]
    answer: Any
    if task.kind == "regression":
        answer = sum(float(e.label or 0) for e in train) / max(len(train), 1)
    elif task.kind == "multiple_choice":
        position = Counter(e.label for e in train).most_common(1)[0][0]
        return [Prediction(e.id, answer_of(task, e, int(position or 0)), reference_of(task, e), e.group) for e in split]
    else:
        answer = Counter(e.target for e in train).most_common(1)[0][0]
    return [Prediction(e.id, answer, reference_of(task, e), e.group) for e in split]
