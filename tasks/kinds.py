"""What each kind of task is, said once: its gold, what a model reads and answers, how that is scored.

One object per kind, in `KINDS`; everything else asks it and compares no kind's name. A further kind is a class here,
with metrics of its own in tasks/metrics.py where none reads its answers. Nothing heavy is imported: planning asks too.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

from tasks.entities import tags_of_text, to_text
from tasks.errors import DataError

if TYPE_CHECKING:
    from tasks.config import TaskConfig
    from tasks.examples import Example
    from tasks.templates import Template

Answerer = Callable[["Example"], Any]


class Kind:
    """One kind of task; the attributes are what others ask.

    Attributes:
        name: as in a task's YAML.
        gold: form of the column to be predicted (tasks/rows.py): label, number, answers or tags.
        answer: what one answer is called.
        reads: the form in which its metrics read answers (tasks/metrics.py).
        closed: the same label words answer every row.
        options: every row has options of its own, one of which is right.
        ranked: candidates can be compared by their log-probability.
        several: free text, of which several answers may be accepted.
        row_per_answer: each accepted answer is a training example of its own.
        head: the head of an encoder: one output per `sequence`, per `choice` or per `token`.
        metrics: what a new task of this kind records (scripts/new.py); also: what is recorded beside a task's own.
        cue: what a decoder-only model reads last in a new task.
    """

    name = ""
    gold = "label"
    answer = "label"
    reads = "classes"
    closed = options = ranked = several = row_per_answer = False
    head = "sequence"
    metrics: tuple[str, ...] = ("accuracy", "f1_macro")
    also: tuple[str, ...] = ()
    cue = "label:"

    @property
    def numbers(self) -> bool:
        """A number is predicted."""
        return self.gold == "number"

    @property
    def tags(self) -> bool:
        """Every word of a sentence gets a tag."""
        return self.gold == "tags"

    @property
    def classes(self) -> bool:
        """Rows have a class to draw by (a number counts as one of two)."""
        return self.closed or self.options or self.numbers

    def example(self, template: Template, fields: dict[str, Any], variant: int) -> dict[str, Any]:
        """The fields of an Example that this kind fills, from a row; `variant` is the answer that is the target."""
        raise TypeError(f"{type(self).__name__} must define `example`.")

    def reference(self, task: TaskConfig, example: Example) -> Any:
        """The gold in the form of a prediction."""
        return list(example.references)

    def parse(self, task: TaskConfig, example: Example, text: str) -> Any:
        """What a generated text answers; an unusable one stays as it is and counts as wrong."""
        return text

    def outputs(self, task: TaskConfig) -> int:
        """Outputs of an encoder's head."""
        return len(task.labels)

    def tag_names(self, task: TaskConfig) -> list[str]:
        """IOB2 tags in the order of their ids; none for other kinds."""
        return []

    def commonest(self, task: TaskConfig, train: Sequence[Example]) -> Answerer:
        """What answers every example with the commonest training answer (`method=majority`)."""
        target = Counter(e.target for e in train).most_common(1)[0][0]
        return lambda example: target

    def unknown(self, task: TaskConfig, row: dict[str, Any], label: str | None) -> dict[str, Any]:
        """Stand-ins for what is to be predicted of a row without gold; they reach no answer."""
        return {label: task.labels[0]} if label and task.labels else {}


class Classification(Kind):
    """One of the task's labels."""

    name = "classification"
    closed = ranked = True

    def example(self, template: Template, fields: dict[str, Any], variant: int) -> dict[str, Any]:
        label = template.ids[fields[template.label]]
        names = template.task.labels
        if template.referent and template.traits.writes:
            referent = fields["span1_text"]
            return {"target": referent, "label": label, "references": (referent, names[label])}
        words = template.words or tuple(names)
        return {
            "target": words[label],
            "choices": words,
            "label": label,
            "references": (words[label],),
            "segments": template.segments(fields),
        }

    def reference(self, task: TaskConfig, example: Example) -> Any:
        if example.names:
            return example.names[int(example.label or 0)]
        return example.references[1] if self.asks_for_referent(example) else example.target

    def parse(self, task: TaskConfig, example: Example, text: str) -> Any:
        """WSC's referent becomes the label that T5's rule gives it."""
        if not self.asks_for_referent(example):
            return text
        from tasks.scoring import content_words, same_referent

        # an answer of determiners alone is no answer, so that it matches neither label (T5 gives it -1)
        return task.labels[int(same_referent(text, example.references[0]))] if content_words(text) else ""

    def asks_for_referent(self, example: Example) -> bool:
        """Whether the answer is WSC's referent itself (Lester et al. 2021): references are (referent, label name)."""
        return self.closed and not example.choices


class MultipleChoice(Classification):
    """One of the row's own options, answered by its number or, in cloze form, by its text."""

    name = "multiple_choice"
    answer = "choice"
    closed, options = False, True
    head = "choice"

    def example(self, template: Template, fields: dict[str, Any], variant: int) -> dict[str, Any]:
        made = super().example(template, fields, variant)
        if made["label"] >= len(template.choice_texts(fields)):
            raise DataError(
                f"{template.task.name}: a row has {len(template.choice_texts(fields))} options, and its right one is "
                f"{template.task.labels[made['label']]!r}, number {made['label'] + 1} ({str(fields)[:80]})"
            )
        if template.cloze and template.traits.writes:
            texts = tuple(template.choice_texts(fields))
            made |= {"target": texts[made["label"]], "choices": texts, "names": tuple(template.task.labels)}
        return made

    def outputs(self, task: TaskConfig) -> int:
        return 1

    def commonest(self, task: TaskConfig, train: Sequence[Example]) -> Answerer:
        place = int(Counter(e.label for e in train).most_common(1)[0][0] or 0)
        return lambda example: (example.names or example.choices)[place]


class Regression(Kind):
    """A number."""

    name = "regression"
    gold, answer, reads = "number", "number", "numbers"
    metrics = ("pearson", "spearman")

    def example(self, template: Template, fields: dict[str, Any], variant: int) -> dict[str, Any]:
        value = float(fields["label"])
        target = template.number(value)
        # the DePT family scores against the rounded number that the model was taught
        rounded = template.protocol.regression_rounding == "tenth" and template.traits.writes
        gold = target if rounded else str(value)
        return {"target": target, "label": value, "references": (gold,), "segments": template.segments(fields)}

    def reference(self, task: TaskConfig, example: Example) -> Any:
        return float(example.references[0])

    def outputs(self, task: TaskConfig) -> int:
        return 1

    def commonest(self, task: TaskConfig, train: Sequence[Example]) -> Answerer:
        mean = sum(float(e.label or 0) for e in train) / max(len(train), 1)
        return lambda example: mean

    def unknown(self, task: TaskConfig, row: dict[str, Any], label: str | None) -> dict[str, Any]:
        return {"label": 0.0}


class QA(Kind):
    """A text, as any of the accepted answers."""

    name = "qa"
    gold, answer, reads = "answers", "answer", "answers"
    several = True
    metrics = ("f1", "em")
    cue = "answer:"

    def example(self, template: Template, fields: dict[str, Any], variant: int) -> dict[str, Any]:
        answers = tuple(fields["answers"])
        kept = answers[:1] if template.protocol.qa_references == "first" else answers
        return {"target": answers[0], "references": kept}

    def unknown(self, task: TaskConfig, row: dict[str, Any], label: str | None) -> dict[str, Any]:
        return {"answers": [""]} | super().unknown(task, row, label)


class Cloze(QA):
    """One of the entities of a passage (ReCoRD)."""

    name = "cloze"
    answer = "entity"
    ranked = row_per_answer = True

    def example(self, template: Template, fields: dict[str, Any], variant: int) -> dict[str, Any]:
        choices = tuple(fields["entities"]) if template.protocol.scoring == "rank" else ()
        answers = tuple(fields["answers"])
        accepted = answers[variant : variant + 1] if template.answers_apart else answers
        return {"target": answers[variant], "choices": choices, "references": accepted}


class Tagging(Kind):
    """The entities of a sentence, as IOB2 tags or written as text."""

    name = "tagging"
    gold, answer, reads = "tags", "tags", "tags"
    head = "token"
    metrics = ("f1", "precision", "recall")
    also = ("f1_lenient", "precision_lenient", "recall_lenient")
    cue = "entities:"

    def example(self, template: Template, fields: dict[str, Any], variant: int) -> dict[str, Any]:
        words, tags = tuple(fields["tokens"]), tuple(fields["ner_tags"])
        text = to_text(words, tags)
        return {"target": text, "references": (text,), "words": words, "tags": tags}

    def reference(self, task: TaskConfig, example: Example) -> Any:
        return list(example.tags)

    def parse(self, task: TaskConfig, example: Example, text: str) -> Any:
        return tags_of_text(example.words, text)

    def outputs(self, task: TaskConfig) -> int:
        return len(self.tag_names(task))

    def tag_names(self, task: TaskConfig) -> list[str]:
        return ["O"] + [f"{prefix}-{label}" for label in task.labels for prefix in ("B", "I")]

    def commonest(self, task: TaskConfig, train: Sequence[Example]) -> Answerer:
        """No entity: O is the commonest tag."""
        return lambda example: ["O"] * len(example.words)

    def unknown(self, task: TaskConfig, row: dict[str, Any], label: str | None) -> dict[str, Any]:
        tokens = row["tokens"] if isinstance(row.get("tokens"), list) else str(row.get("tokens", "")).split()
        return {"tokens": tokens, "ner_tags": ["O"] * len(tokens)}


KINDS: dict[str, Kind] = {
    one.name: one for one in (Classification(), Regression(), MultipleChoice(), QA(), Cloze(), Tagging())
}


def kind_of(task: TaskConfig) -> Kind:
    """A task's kind.

    Raises:
        ValueError: there is none of this name.
    """
    if task.kind not in KINDS:
        raise ValueError(f"{task.name}: kind {task.kind!r} is not one of {', '.join(KINDS)}")
    return KINDS[task.kind]
