"""What needs no training: the answer of the majority class."""

from __future__ import annotations

from conf.schema import Config
from tasks.answers import reference_of
from tasks.kinds import kind_of
from tasks.metrics import Prediction
from tasks.task import TaskData


def majority_predictions(config: Config, data: TaskData, role: str) -> list[Prediction]:
    """The commonest training answer for every example (regression: the mean; tagging: no entity)."""
    task = config.task
    answer = kind_of(task).commonest(task, data.splits["train"])
    return [Prediction(e.id, answer(e), reference_of(task, e), e.group) for e in data.splits[role]]
