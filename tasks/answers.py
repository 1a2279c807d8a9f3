"""Between a model's raw answer and what is scored: the same form for ranked, generated and classified answers."""

from __future__ import annotations

from typing import Any

from tasks.config import TaskConfig
from tasks.examples import Example
from tasks.kinds import kind_of


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
    return kind_of(task).parse(task, example, text)


def reference_of(task: TaskConfig, example: Example) -> Any:
    """The gold in the form of a prediction: word, number, tags, or every accepted answer."""
    return kind_of(task).reference(task, example)
