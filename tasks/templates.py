"""Row -> Example: what a model reads and what it must answer, per protocol and backbone family."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from tasks.config import ProtocolConfig, TaskConfig
from tasks.errors import DataError
from tasks.examples import Example
from tasks.rows import ID

Row = dict[str, Any]


def styled(table: dict[str, Any], style: str, what: str, task: TaskConfig) -> Any:
    """The entry of ``style``, else ``default``."""
    if style in table:
        return table[style]
    if "default" in table:
        return table["default"]
    raise DataError(f"{task.name} has no {what} for {style!r}; it has {sorted(table)}")


def label_words(task: TaskConfig, protocol: ProtocolConfig) -> tuple[str, ...]:
    """The words that answer, in the order of the class ids."""
    if task.kind in ("qa", "cloze", "tagging", "regression"):
        return ()
    if protocol.label_words == "digits" and "digits" not in task.label_words:
        return tuple(str(i) for i in range(len(task.labels)))
    words = tuple(str(w) for w in styled(task.label_words, protocol.label_words, "label words", task))
    if len(words) != len(task.labels) or len(set(words)) != len(words):
        raise DataError(f"{task.name}: label words {words} must be one distinct word for each of {task.labels}")
    return words


PREPARE: dict[str, Callable[[Row], Row]] = {}


class Template:
    """Makes Examples of one task under one protocol for one backbone family (``t5 | llama | encoder``)."""

    def __init__(self, task: TaskConfig, protocol: ProtocolConfig, family: str) -> None:
        if family not in ("t5", "llama", "encoder"):
            raise DataError(f"family {family!r}: t5, llama or encoder")
        self.task, self.protocol, self.family = task, protocol, family
        self.words = label_words(task, protocol)
        self.ids = {name: i for i, name in enumerate(task.labels)}
        self.prepare = PREPARE[task.prepare] if task.prepare else dict
        self.text = "" if family == "encoder" else styled(task.templates, protocol.style, "template", task)
        cue = task.decoder_cue if protocol.decoder_cue is None else protocol.decoder_cue
        self.suffix = f" {cue}" if family == "llama" and cue else ""

    def __call__(self, row: Row, variant: int = 0) -> Example:
        """Render one canonical row."""
        fields = self.prepare(row)
        label = self.ids[row["label"]]
        return Example(
            id=row[ID],
            source=self.source(fields),
            target=self.words[label],
            choices=self.words,
            label=label,
            references=(self.words[label],),
            segments=self.segments(fields),
            suffix=self.suffix,
        )

    def source(self, fields: Row) -> str:
        """The text-to-text input, the decoder's cue at its end."""
        if self.family == "encoder":
            return ""
        text = self.text.format(**fields)
        return text.rstrip() + self.suffix if self.suffix else text

    def segments(self, fields: Row) -> tuple[tuple[str, str | None], ...]:
        """The texts of an encoder's sequence."""
        if self.family != "encoder":
            return ()
        parts = [p.format(**fields) for p in styled(self.task.segments, self.protocol.style, "segments", self.task)]
        return ((parts[0], parts[1] if len(parts) > 1 else None),)
