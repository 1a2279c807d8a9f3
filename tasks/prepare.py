"""Pure functions that add fields to a row before its template is formatted; one line of a paper's recipe each."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Callable
from typing import Any

Row = dict[str, Any]
COPA_CONNECTIVE = {"cause": "because", "effect": "so"}


def pad_punctuation(text: str) -> str:
    """Spaces around every character that is neither letter, mark, number, underscore nor space (T5, ATTEMPT, DePT)."""

    def kept(c: str) -> bool:
        return c == "_" or c.isspace() or unicodedata.category(c)[0] in "LMN"

    return re.sub(r"\s+", " ", "".join(c if kept(c) else f" {c} " for c in text))


def pad_qa(row: Row) -> Row:
    """QA with punctuation padded in question, context and answers."""
    return {
        **row,
        "question": pad_punctuation(row["question"]),
        "context": pad_punctuation(row["context"]),
        "answers": [pad_punctuation(a) for a in row["answers"]],
    }


def strip_markup(row: Row) -> Row:
    """MultiRC: bold and line-break tags out of the paragraph."""
    text = re.sub(r"<br\s*/?>", " ", row["paragraph"])
    return {**row, "paragraph": re.sub(r"\s+", " ", re.sub(r"</?b>", "", text)).strip()}


def mark_spans(row: Row) -> Row:
    """WSC: ``* noun *`` and ``# pronoun #`` marked at their word index (ATTEMPT and DePT, after T5)."""
    text = _marked(row["text"], row["span1_text"], row["span1_index"], "*")
    # the first mark adds two words before a later span
    shift = 2 * int(row["span1_index"] < row["span2_index"])
    return {**row, "plain": row["text"], "text": _marked(text, row["span2_text"], row["span2_index"] + shift, "#")}


def mark_pronoun(row: Row) -> Row:
    """WSC as T5 words it: the pronoun between two stars, the referent is the answer."""
    text, index, words = row["text"], int(row["span2_index"]), row["text"].split(" ")
    if index < len(words) and not words[index].startswith(row["span2_text"]):
        # one row of the development set points at the word before its pronoun (T5 has it as a special case)
        index = next((i for i in (index + 1, index - 1) if words[i : i + 1] == [row["span2_text"]]), index)
    marked = _marked(text, row["span2_text"], index, "*", space="")
    # punctuation that hangs on the pronoun stands apart from the mark (three training rows, T5's other special case)
    return {**row, "plain": text, "text": re.sub(r"(\*\S+?\*)(?=[^\s*])", r"\1 ", marked)}


def _marked(text: str, span: str, index: int, mark: str, space: str = " ") -> str:
    """``text`` with ``span`` marked where it begins at whitespace word ``index``."""
    pattern = rf"^((?:\S+\s){{{int(index)}}})({re.escape(span)})"
    return re.sub(pattern, lambda m: f"{m[1]}{mark}{space}{m[2]}{space}{mark}", text)


def record_passage(row: Row) -> Row:
    """ReCoRD: highlights joined to the passage as sentences, entities as one comma-separated string (T5)."""
    passage = re.sub(r"(\.|\?|\!|\"|\')\n@highlight\n", r"\1 ", row["passage"])
    passage = re.sub(r"\n@highlight\n", ". ", passage)
    return {**row, "passage": passage, "entity_list": ", ".join(row["entities"])}


def copa_connective(row: Row) -> Row:
    """COPA for encoders: ``because`` or ``so`` after the premise (P-tuning v2)."""
    return {**row, "connective": COPA_CONNECTIVE.get(row["question"], row["question"])}


def numbered(row: Row) -> Row:
    """Multiple choice: the options of ``choices`` written as ``choice0: ... choice1: ...``."""
    return {**row, "options": " ".join(f"choice{i}: {text}" for i, text in enumerate(row["choices"]))}


def joined_words(row: Row) -> Row:
    """Tagging as text: the words joined by spaces."""
    return {**row, "text": " ".join(row["tokens"])}


PREPARE: dict[str, Callable[[Row], Row]] = {
    f.__name__: f
    for f in (
        pad_qa, strip_markup, mark_spans, mark_pronoun, record_passage, copa_connective, numbered, joined_words,
    )
}  # fmt: skip
