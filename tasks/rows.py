"""Canonical rows: labels and tags by name, answers as a list of strings; equal hashes mean equal data."""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Iterable, Mapping
from typing import Any

from tasks.config import TaskConfig
from tasks.entities import spans
from tasks.errors import DataError
from tasks.iob import TO_IOB2, NotATag, iob2
from tasks.kinds import kind_of
from tasks.reading import answer_texts

ID = "_id"  # the row's own id, beside its canonical columns and outside the content hash
PLACEHOLDERS = ("", "-1", "-1.0", "nan")  # what stands for a label where there is none (the Hub's GLUE test: -1)
NO_TAGS = (None, "", -1, -100, "-1", "-100")
FORMS = {
    "text": "a string",
    "texts": "a list of strings",
    "words": "a list of strings",
    "number": "a finite number",
    "label": "a class name or id",
    "tags": "a list of IOB2 tags, by name or id",
    "answers": "a list of strings, one string, or {text: [...]}",
    "any": "anything",
}


def canonical(
    task: TaskConfig, split: str, rows: Iterable[Mapping[str, Any]], place: str, notes: list[str] | None = None
) -> list[dict[str, Any]]:
    """Canonical rows of one official split; an empty list where the split carries no gold (the Hub's GLUE test).

    Args:
        place: what the rows came from, for messages (a file, or "hub ... split").
        notes: takes what was brought to another form, passed over or left out.

    Raises:
        DataError: a missing column, a label outside the set, a wrong form, an id seen twice; with the row number.
    """
    out: list[dict[str, Any]] = []
    numbers: list[int] = []
    missing: dict[int, Any] = {}  # row -> what stands where its gold should
    said = notes if notes is not None else []
    empty, tags = 0, kind_of(task).tags
    seen: set[str] = set()
    for number, row in enumerate(rows, start=1):
        where = f"{place}: row {number}"
        if tags and not row.get("tokens", True):
            empty += 1
            continue
        made = canonical_row(task, row, where)
        if made is None:
            missing[number] = row.get(gold_column(task))
            continue
        made[ID] = row_id(task, row, number - 1)
        if made[ID] in seen:
            raise DataError(f"{where}: id {made[ID]!r} ({task.id_column}) was seen before; ids are unique in a split")
        seen.add(made[ID])
        out.append(made)
        numbers.append(number)
    _refuse_half(task, split, place, missing, len(out), empty)
    if empty:
        said.append(f"{split}: {empty} sentences without words passed over")
    if tags and out:
        _in_iob2(task, out, numbers, split, place, said)
    if kind_of(task).numbers and out and {row[gold_column(task)] for row in out} == {-1.0}:
        missing, out = dict.fromkeys(numbers, -1), []
    if missing:
        value = next(iter(missing.values()))
        said.append(f"{split}: {len(missing)} rows without gold ({gold_column(task)}: {value!r}), never scored")
    return out


def _refuse_half(task: TaskConfig, split: str, place: str, missing: Mapping[int, Any], made: int, empty: int) -> None:
    """Refuse a split with gold in some rows alone, and one without rows.

    Args:
        missing: row -> what stands where its gold should.
        made: rows that have gold.
        empty: sentences without words.

    Raises:
        DataError: it is such a split.
    """
    if missing and made:
        number, value = next(iter(missing.items()))
        raise DataError(
            f"{place}: row {number} has no label, but others of the split {split!r} have one "
            f"({gold_column(task)}: {value!r})"
        )
    if not missing and not made:
        raise DataError(
            f"{place}: the split {split!r} is empty" + (f" ({empty} sentences without words)" if empty else "")
        )


def _in_iob2(
    task: TaskConfig, rows: list[dict[str, Any]], numbers: list[int], split: str, place: str, said: list[str]
) -> None:
    """Bring the tags of a split to IOB2 in place, and refuse what cannot be gold."""
    column = gold_column(task)
    try:
        tags, scheme = iob2([row[column] for row in rows])
    except NotATag as error:
        raise DataError(f"{place}: row {numbers[error.sentence]}, column {column!r}: {error}") from None
    for row, made in zip(rows, tags, strict=True):
        row[column] = made
    if scheme:
        said.append(f"{split}: tags brought from {scheme} to IOB2")
    if not any(spans(made) for made in tags):
        raise DataError(
            f"{place}: {len(rows)} sentences without a single entity: every tag is O, nothing can be scored"
        )


def canonical_row(task: TaskConfig, row: Mapping[str, Any], where: str) -> dict[str, Any] | None:
    """One row in canonical form, or ``None`` where it carries no label."""
    made: dict[str, Any] = {}
    gold = gold_column(task)
    if gold in task.columns and without_gold(task, task.columns[gold], row.get(gold)):
        return None
    for column, form in task.columns.items():
        if column not in row:
            raise DataError(
                f"{where}: no column {column!r} ({FORMS[form]}); {task.name} needs {list(task.columns)}, "
                f"the row has {list(row)}"
            )
        made[column] = FORM[form](task, row[column], f"{where}, column {column!r}")
    if kind_of(task).tags and len(made["tokens"]) != len(made["ner_tags"]):
        raise DataError(f"{where}: {len(made['tokens'])} tokens but {len(made['ner_tags'])} tags")
    return made


def label_column(task: TaskConfig) -> str | None:
    """The column that holds the label or the number to be predicted."""
    if kind_of(task).numbers:
        return "label"
    return next((column for column, form in task.columns.items() if form == "label"), None)


def gold_column(task: TaskConfig) -> str:
    """The column that holds what is to be predicted: label, number, answers or tags."""
    wanted = kind_of(task).gold
    return label_column(task) or next((c for c, form in task.columns.items() if form == wanted), "label")


def without_gold(task: TaskConfig, form: str, value: Any) -> bool:
    """Whether a gold value is none: null, an empty text, NaN, the Hub's -1, an empty list or a list of such."""
    if isinstance(value, Mapping):
        value = answer_texts(dict(value))
    if isinstance(value, list | tuple):
        blank = NO_TAGS if form == "tags" else (None, "")
        return all(v in blank or (isinstance(v, str) and not v.strip()) for v in value)
    if value is None or (isinstance(value, float) and math.isnan(value)):
        return True
    if form == "number":  # -1 may be a score; a split that holds nothing else has none
        return isinstance(value, str) and value.strip().lower() in ("", "nan")
    text = _name(value).strip().lower()
    return text in PLACEHOLDERS and text not in [name.lower() for name in task.labels]


def row_id(task: TaskConfig, row: Mapping[str, Any], number: int) -> str:
    """The row's own id as text (nested ids joined by ``-``), else its number in the split."""
    value: Any = row.get(task.id_column) if task.id_column else None
    if isinstance(value, Mapping):
        return "-".join(str(value[k]) for k in sorted(value, key=ID_ORDER.index))
    return str(number if value in (None, "") else value)


ID_ORDER = ["paragraph", "passage", "question", "query", "answer"]


def _text(task: TaskConfig, value: Any, where: str) -> str:
    if not isinstance(value, str):
        raise DataError(f"{where}: {value!r} ({type(value).__name__}), expected {FORMS['text']}")
    return value


def _texts(task: TaskConfig, value: Any, where: str) -> list[str]:
    if not isinstance(value, list | tuple) or not all(isinstance(v, str) for v in value):
        raise DataError(f"{where}: {str(value)[:60]!r}, expected {FORMS['texts']}")
    return list(value)


def _number(task: TaskConfig, value: Any, where: str) -> float:
    try:
        number = math.nan if isinstance(value, bool) else float(value)
    except (TypeError, ValueError, OverflowError):
        number = math.nan
    if not math.isfinite(number):
        raise DataError(f"{where}: {str(value)[:60]!r}, expected {FORMS['number']}")
    return number


def _label(task: TaskConfig, value: Any, where: str) -> str:
    allowed = f"one of {dict(enumerate(task.labels))}"
    name = _name(value)
    named = next((label for label in task.labels if label in (name, str(value))), None) or next(
        (label for label in task.labels if isinstance(value, bool) and label.lower() == name.lower()), None
    )
    if named is not None:
        return named
    # WinoGrande's are "1" and "2": 1 is no place there; and a truth value is none anywhere
    if isinstance(value, bool) or any(_is_number(label) for label in task.labels):
        raise DataError(f"{where}: label {value!r} is outside the set, expected one of {task.labels}, by name")
    try:
        number = int(value)
    except (TypeError, ValueError, OverflowError):
        raise DataError(f"{where}: label {value!r} is outside the set, expected {allowed}") from None
    if not 0 <= number < len(task.labels) or number != float(value):
        raise DataError(f"{where}: label {value!r} is outside the set, expected {allowed}")
    return task.labels[number]


def _is_number(text: str) -> bool:
    try:
        return math.isfinite(float(text))
    except ValueError:
        return False


def _name(value: Any) -> str:
    """A label as text; a whole number read as a float (a column that had gaps) is that number."""
    return str(int(value)) if isinstance(value, float) and value.is_integer() else str(value)


def _tags(task: TaskConfig, value: Any, where: str) -> list[str]:
    names = kind_of(task).tag_names(task)
    if not isinstance(value, list | tuple):
        raise DataError(f"{where}: {str(value)[:60]!r}, expected {FORMS['tags']}")
    known = {*names, *(prefix + name[1:] for prefix in TO_IOB2 for name in names if name[0] == "B")}
    out = []
    for tag in value:
        name = names[tag] if isinstance(tag, int) and not isinstance(tag, bool) and 0 <= tag < len(names) else tag
        if not isinstance(name, str) or name not in known:
            raise DataError(f"{where}: tag {tag!r} is outside the set {names}")
        out.append(str(name))
    return out


def _answers(task: TaskConfig, value: Any, where: str) -> list[str]:
    made = _texts(task, answer_texts(dict(value) if isinstance(value, Mapping) else value), where)
    if any(not text.strip() for text in made):  # whoever answers nothing would be right
        raise DataError(f"{where}: one of the answers {str(made)[:60]} is empty; leave it out")
    return made


FORM = {
    "text": _text,
    "texts": _texts,
    "words": _texts,
    "number": _number,
    "label": _label,
    "tags": _tags,
    "answers": _answers,
    "any": lambda task, value, where: value,
}


def content_sha256(task: TaskConfig, splits: Mapping[str, Iterable[Mapping[str, Any]]]) -> str:
    """Sha256 over the canonical columns of every split, in row order; ids are no part of it."""
    digest = hashlib.sha256()
    for split in sorted(splits):
        digest.update(f"\x00{split}\n".encode())
        for row in splits[split]:
            kept = {column: row[column] for column in task.columns}
            digest.update(json.dumps(kept, ensure_ascii=False, sort_keys=True, separators=(",", ":")).encode())
            digest.update(b"\n")
    return digest.hexdigest()
