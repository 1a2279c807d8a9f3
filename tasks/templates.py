"""Row -> Example: what a model reads and what it must answer, per protocol and backbone family."""

from __future__ import annotations

import hashlib
from typing import Any

from tasks.config import ProtocolConfig, TaskConfig, whole
from tasks.errors import DataError
from tasks.examples import Example
from tasks.families import FAMILIES
from tasks.families import family as traits_of
from tasks.kinds import kind_of
from tasks.prepare import PREPARE
from tasks.rows import ID, label_column

Row = dict[str, Any]
CLOZE = "cloze"  # multiple choice: the texts of the choices themselves are the candidates
REFERENT = "referent"  # WSC as T5 words it: the answer is the referent itself
DECIMALS = {"tenth": 10, "fifth": 5}


def styled(table: dict[str, Any], style: str, what: str, task: TaskConfig) -> Any:
    """The entry of ``style``, else ``default``."""
    if style in table:
        return table[style]
    if "default" in table:
        return table["default"]
    raise DataError(f"{task.name} has no {what} for {style!r}; it has {sorted(table)}")


def answers_with_referent(task: TaskConfig, protocol: ProtocolConfig) -> bool:
    """Whether this is WSC under a protocol that generates the referent (label_words: {lester: referent})."""
    return task.label_words.get(protocol.label_words) == REFERENT


def in_cloze_form(task: TaskConfig, protocol: ProtocolConfig) -> bool:
    """Whether a multiple choice is answered with the text of a choice, not with its number."""
    return kind_of(task).options and protocol.label_words == CLOZE


def label_words(task: TaskConfig, protocol: ProtocolConfig) -> tuple[str, ...]:
    """The words that answer, in the order of the class ids; empty for free-form answers."""
    kind = kind_of(task)
    if not (kind.closed or kind.options) or answers_with_referent(task, protocol):
        return ()
    if in_cloze_form(task, protocol):
        return tuple(task.labels)  # what a prediction is called
    if protocol.label_words == "digits" and "digits" not in task.label_words:
        return tuple(str(i) for i in range(len(task.labels)))
    style = "words" if protocol.label_words == CLOZE else protocol.label_words
    words = tuple(str(w) for w in styled(task.label_words, style, "label words", task))
    if len(words) != len(task.labels) or len({word.strip() for word in words}) != len(words):  # as they are compared
        raise DataError(f"{task.name}: label words {words} must be one distinct word for each of {task.labels}")
    return words


def unsupported(task: TaskConfig, protocol: ProtocolConfig, family: str) -> str:
    """Why a family cannot do a task under a protocol; empty where it can."""
    if family not in FAMILIES:
        return f"family {family!r}: {', '.join(FAMILIES)}"
    if family not in task.families:
        return f"{task.name} is not for {family} backbones (it is a {task.kind} task for {', '.join(task.families)})"
    if protocol.split == "lmbff" and not kind_of(task).classes:
        return f"protocol={protocol.name} draws rows per class, and {task.name} ({task.kind}) has no classes"
    if "train" not in task.rows and protocol.split == "lmbff":
        return f"protocol={protocol.name} draws training rows, and {task.name} has none"
    return ""


def number_text(value: float, rounding: str | None) -> str:
    """A regression target as text: to one decimal (``tenth``) or to steps of 0.2 (``fifth``, T5)."""
    steps = DECIMALS.get(rounding or "fifth")
    return str(value) if steps is None else f"{round(value * steps) / steps:.1f}"


class Template:
    """Makes Examples of one task under one protocol for one backbone family (``t5 | llama | encoder``)."""

    def __init__(self, task: TaskConfig, protocol: ProtocolConfig, family: str) -> None:
        why = unsupported(task, protocol, family)
        if why:
            raise DataError(why)
        self.task, self.protocol, self.family = task, protocol, family
        self.kind = kind_of(task)
        self.cloze, self.referent = in_cloze_form(task, protocol), answers_with_referent(task, protocol)
        self.words = label_words(task, protocol)
        self.label = label_column(task) or ""
        self.ids = {name: i for i, name in enumerate(task.labels)}
        style = protocol.style
        prepare = task.prepare.get(style, task.prepare.get("default"))
        self.prepare = PREPARE[prepare] if prepare else dict
        self.traits = traits_of(family)
        self.text = self._text(style) if self.traits.writes else ""
        self.parts = styled(task.segments, style, "segments", task) if self._has_segments() else ()
        self.name = f"{(protocol.source_name or '').format(name=task.name.partition('/')[2])} ".lstrip()
        cue = task.decoder_cue if protocol.decoder_cue is None else protocol.decoder_cue
        self.suffix = f" {cue}" if self.traits.continues and cue else ""
        self.answers_apart = (
            self.kind.row_per_answer and protocol.qa_references == "first" and protocol.scoring == "generate"
        )

    def expands_in(self, role: str) -> bool:
        """Whether a row of a role may make several examples, or none."""
        if role == "train":
            return self.kind.row_per_answer or self.referent
        return self.answers_apart

    def identity(self) -> list[Any]:
        """Of the key of token ids: task and protocol whole, so that no field can be forgotten."""
        return [whole(self.task), whole(self.protocol), self.suffix, self.family]

    def _has_segments(self) -> bool:
        return not self.traits.writes and not self.kind.tags

    def _text(self, style: str) -> str:
        text = styled(self.task.templates, style, "template", self.task)
        # WinoGrande in the DePT family's code: the second option is never shown
        return text.replace("{option2}", "{option1}") if self.protocol.repeat_option else text

    def variants(self, row: Row, train: bool) -> list[int]:
        """Which examples a row makes: ReCoRD one per answer, WSC's referent (in training) from true rows only.

        The DePT family's code makes one per answer in evaluation too, and scores it against that answer alone.
        """
        if self.kind.row_per_answer and (train or self.answers_apart):
            return list(range(len(row["answers"])))
        if train and self.referent:
            return [0] if row[self.label] == self.task.labels[1] else []
        return [0]

    def __call__(self, row: Row, variant: int = 0) -> Example:
        """Render one canonical row; ``variant`` says which of its answers is the target (ReCoRD)."""
        fields = self.prepare(row)
        made: dict[str, Any] = self.kind.example(self, fields, variant)
        group = self.task.group.format(**row) if self.task.group else ""
        return Example(
            id=row[ID],
            source=self.source(fields),
            group=hashlib.sha1(group.encode()).hexdigest()[:12] if group else "",
            suffix=self.suffix,
            **made,
        )

    def source(self, fields: Row) -> str:
        """The text-to-text input, the decoder's cue at its end."""
        if not self.traits.writes:
            return ""
        text = self.name + self.text.format(**fields)
        return text.rstrip() + self.suffix if self.suffix else text

    def segments(self, fields: Row) -> tuple[tuple[str, str | None], ...]:
        """The texts of an encoder's sequence, or of one sequence per choice."""
        if not self.parts:
            return ()
        choices = self.choice_texts(fields)
        rows = [{**fields, "choice": c} for c in choices] if choices else [fields]
        made = [[p.format(**r) for p in self.parts] for r in rows]
        return tuple((parts[0], parts[1] if len(parts) > 1 else None) for parts in made)

    def choice_texts(self, fields: Row) -> list[str]:
        """The texts of a row's options; none where it has no options."""
        if not self.kind.options:
            return []
        return list(fields["choices"]) if "choices" in fields else [fields["choice1"], fields["choice2"]]

    def number(self, value: float) -> str:
        """A regression target as text."""
        return number_text(value, self.protocol.regression_rounding)
