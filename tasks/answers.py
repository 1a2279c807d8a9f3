"""Between a model's raw answer and what is scored: the same form for ranked, generated and classified answers."""

from __future__ import annotations

from typing import Any

from tasks.config import TaskConfig
from tasks.examples import Example


def answer_of(task: TaskConfig, example: Example, index: int) -> str:
    """The answered word where one of the candidates was chosen."""
    return example.choices[index]


def parse_answer(task: TaskConfig, example: Example, text: str) -> Any:
    """What a generated text answers; an unusable one stays as it is and counts as wrong."""
    return text


def reference_of(task: TaskConfig, example: Example) -> Any:
    """The gold in the form of a prediction: word, number, tags, or every accepted answer."""
    if task.kind == "regression":
        return example.label
    if task.kind == "tagging":
        return list(example.tags)
    if task.kind in ("qa", "cloze"):
        return list(example.references)
    return example.target
