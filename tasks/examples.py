"""An example: one row as the model reads it, whatever the backbone (no torch)."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Example:
    """One question to the model and what counts as its answer.

    Attributes:
        id: from the row, stable over machines and split recipes, unique in its split.
        source: text-to-text input, the cue (``suffix``) included.
        target: the text to be answered in training.
        choices: candidate answers; empty = free generation.
        label: index into ``choices`` (classification, multiple choice) or the value (regression).
        references: accepted answers of a generation task.
        group: rows that share a passage or a question have one group (exact match, bootstrap).
        segments: encoders: (first, second) text, one pair per sequence (one, or one per choice).
        words, tags: tagging: whole words and their IOB2 tags.
        suffix: end of ``source`` that truncation must never cut.
        names: what each candidate is called in predictions, where that is not its own text (cloze form).
    """

    id: str
    source: str
    target: str
    choices: tuple[str, ...] = ()
    label: int | float | None = None
    references: tuple[str, ...] = ()
    group: str = ""
    segments: tuple[tuple[str, str | None], ...] = ()
    words: tuple[str, ...] = ()
    tags: tuple[str, ...] = ()
    suffix: str = ""
    names: tuple[str, ...] = ()
