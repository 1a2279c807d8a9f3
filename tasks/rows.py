"""Canonical rows: labels and tags by name, answers as a list of strings; equal hashes mean equal data."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping
from typing import Any

from tasks.config import TaskConfig
from tasks.errors import DataError

ID = "_id"  # the row's own id, beside its canonical columns and outside the content hash
UNLABELLED = (None, "", -1, "-1")
FORMS = {
    "text": "a string",
    "texts": "a list of strings",
    "words": "a list of strings",
    "number": "a number",
    "label": "a class name or id",
    "tags": "a list of IOB2 tags, by name or id",
    "answers": "a list of strings, one string, or {text: [...]}",
    "any": "anything",
}


def canonical(task: TaskConfig, split: str, rows: Iterable[Mapping[str, Any]], place: str) -> list[dict[str, Any]]:
    """Canonical rows of one official split; an empty list where the split carries no labels (GLUE test).

    Args:
        place: what the rows came from, for messages (a file, or "hub ... split").

    Raises:
        DataError: a missing column, a label outside the set, a wrong form, an id seen twice; with the row number.
    """
    out: list[dict[str, Any]] = []
    missing: list[int] = []
    seen: set[str] = set()
    for number, row in enumerate(rows, start=1):
        where = f"{place}: row {number}"
        made = canonical_row(task, row, where)
        if made is None:
            missing.append(number)
            continue
        made[ID] = row_id(task, row, number - 1)
        if made[ID] in seen:
            raise DataError(f"{where}: id {made[ID]!r} ({task.id_column}) was seen before; ids are unique in a split")
        seen.add(made[ID])
        out.append(made)
    if missing and out:
        raise DataError(f"{place}: row {missing[0]} has no label, but others of the split {split!r} have one")
    if not missing and not out:
        raise DataError(f"{place}: the split {split!r} is empty")
    return out


def canonical_row(task: TaskConfig, row: Mapping[str, Any], where: str) -> dict[str, Any] | None:
    """One row in canonical form, or ``None`` where it carries no label."""
    made: dict[str, Any] = {}
    for column, form in task.columns.items():
        if column not in row:
            raise DataError(
                f"{where}: no column {column!r} ({FORMS[form]}); {task.name} needs {list(task.columns)}, "
                f"the row has {list(row)}"
            )
        value = row[column]
        if form == "label" and value in UNLABELLED:
            return None
        made[column] = FORM[form](task, value, f"{where}, column {column!r}")
        if form == "answers" and not made[column]:
            return None
    if task.kind == "tagging" and len(made["tokens"]) != len(made["ner_tags"]):
        raise DataError(f"{where}: {len(made['tokens'])} tokens but {len(made['ner_tags'])} tags")
    return made


def label_column(task: TaskConfig) -> str | None:
    """The column that holds the label or the number to be predicted."""
    if task.kind == "regression":
        return "label"
    return next((column for column, form in task.columns.items() if form == "label"), None)


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
        return float(value)
    except (TypeError, ValueError):
        raise DataError(f"{where}: {value!r}, expected {FORMS['number']}") from None


def _label(task: TaskConfig, value: Any, where: str) -> str:
    allowed = f"one of {dict(enumerate(task.labels))}"
    if not isinstance(value, bool) and str(value) in task.labels:  # WinoGrande's labels are "1" and "2"
        return str(value)
    try:
        number = int(value)
    except (TypeError, ValueError):
        raise DataError(f"{where}: label {value!r} is outside the set, expected {allowed}") from None
    if not 0 <= number < len(task.labels) or number != float(value):
        raise DataError(f"{where}: label {value!r} is outside the set, expected {allowed}")
    return task.labels[number]


def tag_names(task: TaskConfig) -> list[str]:
    """IOB2 tags in the order of their ids: O, B-x, I-x, B-y, ..."""
    return ["O"] + [f"{prefix}-{kind}" for kind in task.labels for prefix in ("B", "I")]


def _tags(task: TaskConfig, value: Any, where: str) -> list[str]:
    names = tag_names(task)
    if not isinstance(value, list | tuple):
        raise DataError(f"{where}: {value!r}, expected {FORMS['tags']}")
    out = []
    for tag in value:
        name = names[tag] if isinstance(tag, int) and 0 <= tag < len(names) else tag
        if name not in names:
            raise DataError(f"{where}: tag {tag!r} is outside the set {names}")
        out.append(str(name))
    return out


def _answers(task: TaskConfig, value: Any, where: str) -> list[str]:
    if isinstance(value, str):
        return [value]
    if isinstance(value, Mapping) and "text" in value:
        value = value["text"]
    return _texts(task, value, where)


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
