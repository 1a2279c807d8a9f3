"""Between a model's raw answer and what is scored: the same form for ranked, generated and classified answers."""

from __future__ import annotations

from typing import Any

from tasks.config import TaskConfig
from tasks.entities import tags_of_text
from tasks.examples import Example
from tasks.scoring import content_words, same_referent


def decoded(tokenizer: Any, ids: Any) -> str:
    """Token ids as the text that they stand for, special tokens left out.

    Never "cleaned up": some tokenizers take spaces away before punctuation, and an entity or an answer that has
    some would be another one (86 to 100 F1 for perfect answers on four NER sets).
    """
    return str(tokenizer.decode(ids, skip_special_tokens=True, clean_up_tokenization_spaces=False)).strip()


def answer_of(task: TaskConfig, example: Example, index: int) -> str:
    """The answered word where one of the candidates was chosen."""
    return (example.names or example.choices)[index]


def parse_answer(task: TaskConfig, example: Example, text: str) -> Any:
    """What a generated text answers; an unusable one stays as it is and counts as wrong.

    Entities written as text become tags; WSC's referent becomes the label that T5's rule gives it.
    """
    if task.kind == "tagging":
        return tags_of_text(example.words, text)
    if asks_for_referent(task, example):
        # an answer of determiners alone is no answer, so that it matches neither label (T5 gives it -1)
        return task.labels[int(same_referent(text, example.references[0]))] if content_words(text) else ""
    return text


def reference_of(task: TaskConfig, example: Example) -> Any:
    """The gold in the form of a prediction: word, number, tags, or every accepted answer."""
    if task.kind == "regression":
        return float(example.references[0])
    if task.kind == "tagging":
        return list(example.tags)
    if task.kind in ("qa", "cloze"):
        return list(example.references)
    if example.names:
        return example.names[int(example.label or 0)]
    return example.references[1] if asks_for_referent(task, example) else example.target


def asks_for_referent(task: TaskConfig, example: Example) -> bool:
    """Whether the answer is WSC's referent itself (Lester et al. 2021): references are (referent, label name)."""
    return task.kind == "classification" and not example.choices
