"""Training rows whose gold was dealt out anew: the control that has nothing to learn but the rows themselves."""

from __future__ import annotations

import hashlib
import random
from collections import defaultdict
from collections.abc import Mapping, Sequence
from typing import Any

from tasks.config import TaskConfig
from tasks.rows import gold_column
from tasks.task import Examples


class Rows:
    """Canonical rows with another gold in some of them (read as a ``datasets.Dataset`` is: a row, rows, a column).

    Args:
        rows: the true rows.
        column: the column of the gold.
        gold: row number -> its gold here.
    """

    def __init__(self, rows: Any, column: str, gold: Mapping[int, Any]) -> None:
        self.rows, self.column, self.gold = rows, column, dict(gold)
        self.digest = hashlib.sha256(repr(sorted(self.gold.items())).encode()).hexdigest()

    def __len__(self) -> int:
        return len(self.rows)

    def __getitem__(self, at: Any) -> Any:
        found = self.rows[at]
        if at == self.column:
            return [self.gold.get(i, value) for i, value in enumerate(found)]
        if isinstance(at, str):
            return found
        if isinstance(at, int):
            return {**found, self.column: self.gold.get(at, found[self.column])}
        places = range(len(self.rows))[at] if isinstance(at, slice) else at
        values = [self.gold.get(int(i), value) for i, value in zip(places, found[self.column], strict=True)]
        return {**found, self.column: values}


def permuted(task: TaskConfig, train: Examples, seed: int) -> tuple[Examples, int]:
    """A training split with its gold permuted over the rows.

    Gold moves between rows of one form only, so that each row stays one that the task could have: a sentence's tags go
    to a sentence of as many words, a list of accepted answers to a row with as many examples.

    Args:
        seed: the run's; the same one gives the same permutation on every machine.

    Returns:
        The split, and how many of its rows have another gold than their own.
    """
    column = gold_column(task)
    numbers = list(dict.fromkeys(row for row, _ in train.items))
    examples = dict.fromkeys(numbers, 0)
    for row, _ in train.items:
        examples[row] += 1
    true = dict(zip(numbers, train.rows[numbers][column], strict=True))
    alike: dict[Any, list[int]] = defaultdict(list)
    for row in numbers:
        value = true[row]
        alike[len(value) if _is_list(value) else None, examples[row]].append(row)
    generator = random.Random(f"gold of {task.name}: {seed}")  # a string seeds alike on every machine
    gold: dict[int, Any] = {}
    for rows in alike.values():
        gold |= zip(rows, (true[row] for row in generator.sample(rows, len(rows))), strict=True)
    changed = sum(gold[row] != true[row] for row in numbers)
    return Examples(Rows(train.rows, column, gold), train.items, train.template, train.split), changed


def _is_list(value: Any) -> bool:
    return isinstance(value, Sequence) and not isinstance(value, str)
