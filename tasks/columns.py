"""Answers and golds of a set of examples in the form that metrics read, from what records hold."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from tasks import scoring, sums
from tasks.scoring import INVALID
from tasks.sums import Array, Sums

# what T5's reader (Python's float) takes: 3, 3., .5, 1e0; not nan or inf, which no answer means
NUMBER = re.compile(r"[-+]?(?:\d+\.?\d*|\.\d+)(?:[eE][-+]?\d+)?")
UNREADABLE = {"opposite": -1.0, "wrong": 2.5}  # STS-B: the author code's -1, or the middle of the scale 0..5


@dataclass
class Columns:
    """Answers and golds of a set of examples, in one form.

    Attributes:
        got, gold: class ids (-1 is outside the labels), numbers, answers (gold: lists of accepted ones) or tags.
        groups: of each example; None where they are not known.
        classes: how many labels there are; 0 where a gold is none of them, so that no table can be made.
        right: (n,) whether a class was answered rightly.
        opposite: an answer outside two labels counts in F1 as the wrong one of them.
    """

    got: list[Any]
    gold: list[Any]
    groups: Sequence[str] | None = None
    classes: int = 0
    right: Array = field(default_factory=lambda: np.zeros(0))
    opposite: bool = False
    _told: dict[str, dict[str, float]] = field(default_factory=dict)

    @property
    def decided(self) -> list[Any]:
        """The answers with those outside two labels decided, where the protocol has that rule."""
        if not self.opposite or self.classes != 2:
            return self.got
        return [1 - gold if got == INVALID else got for got, gold in zip(self.got, self.gold, strict=True)]

    def library(self, name: str, **changed: Any) -> dict[str, float]:
        """What scikit-learn, scipy or seqeval say, computed once."""
        if name not in self._told:
            from tasks.evaluate_metrics import compute

            self._told[name] = compute(name, **{"predictions": self.got, "references": self.gold} | changed)
        return self._told[name]

    def table(self, metric: str, got: list[Any]) -> Sums | None:
        """A class metric from a table of gold by answered."""
        if not self.classes:
            return None
        answered = np.array([self.classes if code == INVALID else code for code in got])
        return sums.of_classes(metric, answered, np.array(self.gold), self.classes)

    def questions(self, place: int) -> Sums:
        """Exact match (0) or token F1 (1) of each answer, the best over the accepted ones."""
        pairs = [scoring.answer_scores(p, r) for p, r in zip(self.got, self.gold, strict=True)]
        return sums.of_questions(np.array([pair[place] for pair in pairs]))

    def entities(self, metric: str, lenient: bool) -> Sums:
        """Precision, recall or F1 of entities."""
        counts = [scoring.entity_counts(p, r, lenient) for p, r in zip(self.got, self.gold, strict=True)]
        return sums.of_entities(metric, np.array(counts))


def columns_of(
    reads: str,
    predictions: Sequence[Any],
    references: Sequence[Any],
    labels: Sequence[str] = (),
    invalid_output: str | None = None,
    groups: Sequence[str] | None = None,
) -> Columns:
    """Answers and golds, as records have them, in the form that metrics read.

    Args:
        reads: the form.
        labels: label words in the order of their ids; without any the golds themselves are the labels.
        invalid_output: the protocol's rule for answers outside the labels.
    """
    if reads == "answers":
        return Columns([str(p) for p in predictions], [_accepted(r) for r in references], groups)
    if reads == "tags":
        return Columns([list(p) for p in predictions], [list(r) for r in references], groups)
    if reads == "numbers":
        return Columns(
            [read_number(p, invalid_output) for p in predictions], [float(word(r)) for r in references], groups
        )
    got, gold = [word(p) for p in predictions], [word(r) for r in references]
    names = [word(label) for label in labels] or sorted(set(gold))
    ids = {name: number for number, name in enumerate(names)}
    codes = [[ids.get(one, INVALID) for one in column] for column in (got, gold)]
    right = np.array([p == r for p, r in zip(got, gold, strict=True)], dtype=float)
    return Columns(
        codes[0], codes[1], groups, 0 if INVALID in codes[1] else len(names), right, invalid_output == "opposite"
    )


def read_number(answer: Any, policy: str | None) -> float:
    """A regression answer as a number; what cannot be read is -1 (author code) or the middle of the scale."""
    text = str(answer).strip()
    return float(text) if NUMBER.fullmatch(text) else UNREADABLE[policy or "wrong"]


def word(answer: Any) -> str:
    """An answer as it is compared; a reference may stand alone or as the only one of a list."""
    return str(answer[0] if isinstance(answer, list | tuple) and answer else answer).strip()


def _accepted(reference: Any) -> list[str]:
    return [str(reference)] if isinstance(reference, str) else [str(r) for r in reference]
