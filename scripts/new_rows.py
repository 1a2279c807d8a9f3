"""From a file's rows to what a new task needs of them: fields of a template, the kind, the answers (used by new.py)."""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tasks.errors import DataError
from tasks.iob import NotATag, iob2
from tasks.reading import answer_texts, read_rows

Row = dict[str, Any]
KINDS = ("classification", "regression", "qa", "tagging")
LABEL_NAMES = ("label", "labels", "target", "class", "answers", "answer", "ner_tags", "tags")
ID_NAMES = ("id", "idx")
WORD_NAMES = ("tokens", "words")
MOST_CLASSES = 20  # more different values than this are not taken for classes without being told so
ANSWER_COLUMN = {"classification": "label", "regression": "label", "qa": "answers", "tagging": "ner_tags"}


class NewTaskError(DataError):
    """A file that cannot become a task; the message says where and what is wanted."""


@dataclass
class SourceTable:
    """The rows of one file under fields of a format string.

    Attributes:
        path: where they are from.
        rows: values by field.
        named: field -> the column's own name.
        notes: what was renamed.
    """

    path: Path
    rows: list[Row]
    named: dict[str, str]
    notes: list[str] = field(default_factory=list)


def table_of(path: Path) -> SourceTable:
    """Read a file.

    Raises:
        NewTaskError: no rows, rows of different columns, a column without a name, two that become the same field.
    """
    rows = read_rows(path)
    if not rows:
        raise NewTaskError(f"{path}: no rows")
    columns = list(rows[0])
    for number, row in enumerate(rows, start=1):
        if set(row) != set(columns):
            other = sorted(map(repr, set(row) ^ set(columns)))
            raise NewTaskError(f"{path}: row {number} has other columns than row 1 (different: {', '.join(other)})")
    fields: dict[str, str] = {}
    notes = []
    for place, column in enumerate(columns, start=1):
        made = as_field(column)
        if not made:
            raise NewTaskError(
                f"{path}: column {place} ({column!r}) has no name that could stand in a template; name it"
            )
        if made in fields:
            raise NewTaskError(
                f"{path}: columns {fields[made]!r} and {column!r} would both be {{{made}}} in a template; rename one"
            )
        fields[made] = column
        if made.startswith("column_") and column.strip()[:1].isdigit():
            notes.append(f"column {column!r} is called {made}: a field of a template cannot begin with a digit")
    back = {column: made for made, column in fields.items()}
    return SourceTable(path, [{back[column]: value for column, value in row.items()} for row in rows], fields, notes)


def as_field(column: str) -> str:
    """A column's name as a field of a format string; empty where nothing of it can stand there."""
    made = re.sub(r"\W+", "_", str(column).strip()).strip("_").lower()
    return f"column_{made}" if made[:1].isdigit() else made


def with_fields(row: Row, fields: Sequence[str]) -> Row:
    """A row under a task's field names too, where it has them as the file of a new task did: `Ticket Text`."""
    theirs = {name: [column for column in row if as_field(column) == name] for name in fields if name not in row}
    return row | {name: row[columns[0]] for name, columns in theirs.items() if len(columns) == 1}


def answer_column(table: SourceTable, label: str | None) -> str:
    """The field with the answer: the one asked for, else one with a usual name, else the last."""
    columns = list(table.rows[0])
    if label is not None:
        wanted = as_field(label)
        if wanted not in columns:
            raise NewTaskError(f"{table.path}: no column {label!r}; there are {', '.join(table.named.values())}")
        return wanted
    if len(columns) < 2:
        raise NewTaskError(f"{table.path}: one column ({table.named[columns[0]]}); a text and an answer are wanted")
    return next((name for name in LABEL_NAMES if name in columns), columns[-1])


def missing(value: Any) -> bool:
    """Whether there is no answer: null, nothing, blanks, NaN, an empty list."""
    if isinstance(value, Mapping | list):
        texts = answer_texts(value)
        return isinstance(texts, list) and all(v is None or (isinstance(v, str) and not v.strip()) for v in texts)
    return value is None or str(value).strip().lower() in ("", "nan")


def number(value: Any) -> float | None:
    """A finite number, or None."""
    try:
        found = float(value) if not isinstance(value, bool) else math.nan
    except (TypeError, ValueError, OverflowError):
        return None
    return found if math.isfinite(found) else None


def guess(answer: str, rows: Sequence[Row], path: Path) -> tuple[str, str]:
    """(kind, why) from the answers.

    Raises:
        NewTaskError: they could be of more than one kind; the message asks for --kind.
    """
    values = [row[answer] for row in rows if not missing(row[answer])]
    if not values:
        raise NewTaskError(f"{path}: row 1 has no answer in {answer!r}, and no other row has one")
    if any(isinstance(value, list) for value in values) and word_column(rows[0], answer) is not None:
        return "tagging", f"{answer} has a tag for every word"
    if any(isinstance(value, list | Mapping) for value in values):
        if answer in ("answers", "answer") or {"question", "context"} & set(rows[0]):
            return "qa", f"{answer} holds accepted answers"
        raise _unsure(path, f"{answer!r} holds lists", "qa takes them as accepted answers", "tagging as tags")
    if answer == "answers":
        return "qa", "its column is called answers"
    different, numbers = {name_of(value) for value in values}, [number(value) for value in values]
    fractions = [n for n in numbers if n is not None and not n.is_integer()]
    if all(n is not None for n in numbers) and fractions:
        return "regression", f"{answer} holds numbers with fractions"
    if len(different) <= min(MOST_CLASSES, max(2, len(values) // 2)) and not fractions:
        return "classification", f"{answer} has {len(different)} different values"
    seen = f"{answer!r} has {len(different)} different values in {len(values)} rows"
    if all(n is not None for n in numbers):
        raise _unsure(path, f"{seen}, all whole numbers", "classification (classes)", "regression (a score)")
    if fractions:
        raise _unsure(path, f"{seen}, some of them numbers", "classification", "qa (text)")
    if len(different) > len(values) // 2:
        return "qa", f"{answer} is a text of its own in most rows"
    raise _unsure(path, seen, "classification (classes)", "qa (text to be generated)")


def _unsure(path: Path, seen: str, *ways: str) -> NewTaskError:
    return NewTaskError(f"{path}: {seen}: which kind of task is it? Say --kind: {', or '.join(ways)}")


def word_column(row: Row, answer: str) -> str | None:
    """The field with the words that the tags belong to, None where there is none of their length."""
    tags = row.get(answer)
    if not isinstance(tags, list):
        return None
    lists = [
        name for name, value in row.items() if name != answer and isinstance(value, list) and len(value) == len(tags)
    ]
    return next((name for name in (*WORD_NAMES, *lists) if name in lists), None)


def name_of(value: Any) -> str:
    """A class name as text; a whole number written with a point (a column that had gaps) is that number."""
    if isinstance(value, bool):
        return str(value).lower()
    text = str(value).strip()
    return text.removesuffix(".0") if re.fullmatch(r"-?\d+\.0", text) else text


def labels_of(names: set[str]) -> list[str]:
    """Class names in the order of their numbers where they are numbers."""
    if len(names) < 2:
        raise NewTaskError(f"one label only, {sorted(names)}: a classification needs two or more")
    return sorted(names, key=lambda name: (number(name) is None, number(name) or 0.0, name))


def alike(names: Sequence[str]) -> list[list[str]]:
    """Class names that are one name but for capitals, blanks, `_` and `-`."""
    groups: dict[str, list[str]] = {}
    for name in names:
        groups.setdefault(re.sub(r"[\s_-]+", " ", name).casefold(), []).append(name)
    return [group for group in groups.values() if len(group) > 1]


def ids_of(table: SourceTable) -> tuple[list[Any], str]:
    """(id of every row, what to say): the file's own where it has unique ones, else the row numbers."""
    column = next((name for name in ID_NAMES if name in table.rows[0]), None)
    if column is None:
        return list(range(len(table.rows))), ""
    own = [row[column] for row in table.rows]
    twice = [value for value, count in Counter(map(str, own)).items() if count > 1]
    if twice or any(value in (None, "") for value in own):
        return list(
            range(len(own))
        ), f"{table.path.name}: {column} is not unique ({(twice or ['null'])[0]}): rows are numbered"
    return own, f"{table.path.name}: ids from {column}"


def text_of(value: Any, where: str) -> str:
    """A cell of a text column.

    Raises:
        NewTaskError: null, NaN, or something that is no text (a list's Python form is nothing to read).
    """
    if isinstance(value, str):
        return value
    if value is None or (isinstance(value, float) and not math.isfinite(value)):
        raise NewTaskError(f"{where} is {value!r}: a text is wanted; fill it or leave the row out")
    if isinstance(value, list | Mapping | bytes):
        raise NewTaskError(f"{where} is {str(value)[:40]!r}: a text is wanted, not a {type(value).__name__}")
    return str(value)


def in_iob2(rows: Sequence[Row], words: str, answer: str, path: Path) -> tuple[list[list[str]], str]:
    """Tags of every sentence in IOB2, and the scheme that they were in (empty where it was IOB2)."""
    for place, row in enumerate(rows, start=1):
        tags, tokens = row[answer], row[words]
        if not isinstance(tags, list) or not isinstance(tokens, list) or len(tags) != len(tokens):
            raise NewTaskError(f"{path}: row {place}: {words!r} and {answer!r} want lists of one length")
        if not all(isinstance(tag, str) for tag in tags) or not all(isinstance(word, str) for word in tokens):
            raise NewTaskError(
                f"{path}: row {place}: words and tags want to be texts (B-PER, not a number): {str(tags)[:60]}"
            )
    try:
        return iob2([row[answer] for row in rows])
    except NotATag as error:
        raise NewTaskError(f"{path}: row {error.sentence + 1}: {error}") from None
