"""From a file of rows to a task's YAML, its rows in the local layout and a small fixture (used by new.py)."""

from __future__ import annotations

import ast
import json
import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from scripts.new_rows import (
    ANSWER_COLUMN,
    ID_NAMES,
    KINDS,
    NewTaskError,
    Row,
    SourceTable,
    alike,
    answer_column,
    guess,
    ids_of,
    in_iob2,
    labels_of,
    missing,
    name_of,
    number,
    table_of,
    text_of,
    word_column,
)
from scripts.new_texts import fixture, lines, task_yaml
from tasks.kinds import KINDS as TASK_KINDS
from tasks.reading import answer_texts, form_of

ALIKE = "{names} are classes of their own: where they are one class, write it in one way"
SQUAD = ("context", "question", "answers")  # rows with these are of SQuAD's form: its other columns are no text


@dataclass
class Made:
    """What a new task consists of.

    Attributes:
        texts: (kind of folder: config | data | fixture, path in it) -> text.
        notes: what was seen in the files and made of it, to be said before anything is written.
    """

    texts: dict[tuple[str, str], str] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)


def task_files(name: str, files: Mapping[str, Path], *, label: str | None, kind: str | None, fixture_rows: int) -> Made:
    """Everything that a new task needs.

    Args:
        name: Its name; the task becomes `user/<name>`.
        files: Split -> file in any form of tasks/reading.py; `train` at least.
        label: The column with the answer; None = found by its name, else the last column.
        kind: One of `KINDS`; None = seen from the answers.
        fixture_rows: Rows copied for smoke runs.

    Raises:
        NewTaskError, DataError: A file cannot be read, rows do not fit each other, or the kind is not clear.
    """
    tables = {split: table_of(path) for split, path in files.items()}
    train, made = tables["train"], Made()
    answer = answer_column(train, label)
    _same_columns(tables, answer)
    _unpack(tables, answer)
    why = "as asked for"
    if kind is None:
        kind, why = guess(answer, train.rows, train.path)
    others = ", ".join(k for k in KINDS if k != kind)
    made.notes.append(f"seen in {train.path.name}: {len(train.rows)} rows, a {kind} task ({why}; else --kind {others})")
    _leave_out_unlabelled(tables, answer, kind, made)
    splits = {split: _rows(table, answer, kind, made) for split, table in tables.items()}
    labels = _labels(kind, splits, files)
    carved = _carve(splits)
    said = [*(ALIKE.format(names=", ".join(map(repr, group))) for group in alike(labels)), *_repeats(splits)]
    first = splits["train"][0]
    texts = [column for column in first if column not in ("idx", "tokens", ANSWER_COLUMN[kind])]
    made.texts["config", f"user/{name}.yaml"] = task_yaml(name, kind, texts, labels, splits)
    for split, rows in splits.items():
        made.texts["data", f"user/{name}/{split}.jsonl"] = lines(rows)
    if fixture_rows:
        made.texts["fixture", f"user/{name}.jsonl"] = lines(fixture(splits["train"], kind, fixture_rows))
    seen = (
        f"{'types' if TASK_KINDS[kind].tags else 'labels'} {labels}"
        if labels
        else f"answers in {train.named[answer]!r}"
    )
    made.notes.append(f"text from {', '.join(texts) or 'the words'}; {seen}")
    if carved:
        sizes = ", ".join(f"{split} {len(rows)}" for split, rows in splits.items())
        made.notes.append(f"{' and '.join(carved)}: a tenth of the rows each, by a fixed permutation ({sizes})")
    made.notes += said
    return made


def _same_columns(tables: Mapping[str, SourceTable], answer: str) -> None:
    """Files of one task have the training file's columns; one without the answer has no gold."""
    wanted = set(tables["train"].rows[0])
    for table in tables.values():
        seen = set(table.rows[0])
        if wanted - seen == {answer} and not seen - wanted:
            for row in table.rows:
                row[answer] = None
        elif seen != wanted:
            raise NewTaskError(
                f"{table.path}: other columns than {tables['train'].path.name} (different: "
                f"{', '.join(sorted(seen ^ wanted))})"
            )


def _unpack(tables: Mapping[str, SourceTable], answer: str) -> None:
    """Answers that a CSV cell holds as the text of a list or mapping (`{"text": [...]}`) are that list or mapping."""
    for table in (t for t in tables.values() if form_of(t.path) in (".csv", ".tsv")):
        for place, row in enumerate(table.rows, start=1):
            cell = row[answer]
            if not (isinstance(cell, str) and cell[:1] in "[{" and cell[-1:] in "]}" and len(cell) > 1):
                continue
            for read in (json.loads, ast.literal_eval):
                try:
                    row[answer] = read(cell)
                    break
                except (ValueError, SyntaxError, MemoryError, RecursionError, TypeError):
                    continue
            else:
                if cell.startswith(("{'text'", '{"text"')):
                    raise NewTaskError(
                        f"{table.path}: row {place}: {cell[:40]!r} in {answer!r} is the text of a mapping that cannot "
                        "be read; write the rows as JSON lines"
                    )


def _leave_out_unlabelled(tables: dict[str, SourceTable], answer: str, kind: str, made: Made) -> None:
    """A file without any gold is left out and named; a row without an answer among others that have one is refused."""
    trained = {name_of(row[answer]) for row in tables["train"].rows if not isinstance(row[answer], list | dict)}
    for split, table in list(tables.items()):
        values = [row[answer] for row in table.rows]
        bare = [place for place, value in enumerate(values, start=1) if missing(value)]
        hidden = {name_of(v) for v in values} == {"-1"} and "-1" not in trained if not bare else False
        if split != "train" and (len(bare) == len(values) or hidden):
            made.notes.append(
                f"{table.path.name}: no row has an answer in {answer!r}: {split} is left out, never scored"
            )
            del tables[split]
        elif bare and TASK_KINDS[kind].tags:
            kept = [row for row in table.rows if row[answer]]
            words = [place for place in bare if any(isinstance(v, list) and v for v in table.rows[place - 1].values())]
            if words:
                raise NewTaskError(f"{table.path}: row {words[0]} has words but no tags in {answer!r}")
            made.notes.append(f"{table.path.name}: {len(bare)} sentences without words left out")
            table.rows[:] = kept
        elif bare and isinstance(values[bare[0] - 1], list | dict):
            table.rows[:] = [row for row in table.rows if not missing(row[answer])]
            made.notes.append(f"{table.path.name}: {len(bare)} questions without an answer left out")
        elif bare:
            raise NewTaskError(f"{table.path}: row {bare[0]} has no answer in {answer!r} ({values[bare[0] - 1]!r})")
        if split in tables and not table.rows:
            raise NewTaskError(f"{table.path}: no row has an answer in {answer!r}")


def _rows(table: SourceTable, answer: str, kind: str, made: Made) -> list[Row]:
    """Rows with text columns as strings, the answer under the name that tasks of this kind use, and an `idx`."""
    ids, said = ids_of(table)
    made.notes += [note for note in (*table.notes, said) if note]
    if TASK_KINDS[kind].tags:
        return _tagged(table, answer, ids, made)
    columns = [column for column in table.rows[0] if column not in (answer, *ID_NAMES)]
    if TASK_KINDS[kind].several and set(SQUAD) <= set(table.rows[0]):
        dropped = [column for column in columns if column not in SQUAD]
        columns = ["question", "context"]
        made.notes += [f"{table.path.name}: SQuAD's form; left out: {', '.join(dropped)}"] if dropped else []
    taken = [column for column in columns if column in ("label", "answers")]
    if taken:
        raise NewTaskError(
            f"{table.path}: column {taken[0]!r} would stand where the answer {table.named[answer]!r} is kept; "
            "rename it or leave it out"
        )
    if not columns:
        raise NewTaskError(f"{table.path}: no text column beside the answer {table.named[answer]!r}")
    rows = []
    for place, (own, row) in enumerate(zip(ids, table.rows, strict=True), start=1):
        where = f"{table.path}: row {place}"
        text = {column: text_of(row[column], f"{where}: {table.named[column]!r}") for column in columns}
        rows.append({"idx": own, **text, ANSWER_COLUMN[kind]: _answer(row[answer], kind, where, answer)})
    return rows


def _answer(value: Any, kind: str, where: str, column: str) -> Any:
    """An answer in the form of its kind."""
    if TASK_KINDS[kind].numbers:
        if (found := number(value)) is None:
            raise NewTaskError(f"{where}: {str(value)[:60]!r} in {column!r} is not a number")
        return found
    if TASK_KINDS[kind].closed:
        if isinstance(value, list | Mapping):
            raise NewTaskError(f"{where}: {str(value)[:60]!r} in {column!r}: one class a row is wanted")
        return name_of(value)  # classes by name: an integer would be read as an id
    texts = answer_texts(value)
    texts = texts if isinstance(texts, list) else [texts]
    if any(isinstance(text, list | Mapping) for text in texts):
        raise NewTaskError(f"{where}: {str(value)[:60]!r} in {column!r}: a text or a list of texts is wanted")
    return [str(text) for text in texts]


def _tagged(table: SourceTable, answer: str, ids: Sequence[Any], made: Made) -> list[Row]:
    """Sentences as words and IOB2 tags; those without words are left out and counted."""
    words = next((name for row in table.rows if (name := word_column(row, answer))), None)
    if words is None:
        raise NewTaskError(
            f"{table.path}: no column of words beside the tags in {table.named[answer]!r} (lists of one length)"
        )
    kept = [(own, row) for own, row in zip(ids, table.rows, strict=False) if row[words]]
    if len(kept) < len(table.rows):
        made.notes.append(f"{table.path.name}: {len(table.rows) - len(kept)} sentences without words left out")
    tags, scheme = in_iob2([row for _, row in kept], words, answer, table.path)
    if scheme:
        made.notes.append(f"{table.path.name}: tags brought from {scheme} to IOB2")
    if not any(tag != "O" for sentence in tags for tag in sentence):
        raise NewTaskError(f"{table.path}: {len(tags)} sentences without a single entity: every tag is O")
    return [
        {"idx": own, "tokens": row[words], "ner_tags": sentence}
        for (own, row), sentence in zip(kept, tags, strict=True)
    ]


def _labels(kind: str, splits: Mapping[str, list[Row]], files: Mapping[str, Path]) -> list[str]:
    """Classes or entity types of the training rows; the other files may have no others."""
    closed = TASK_KINDS[kind].closed
    if not closed and not TASK_KINDS[kind].tags:
        return []
    found = {
        split: {row["label"] for row in rows}
        if closed
        else {tag[2:] for row in rows for tag in row["ner_tags"] if tag != "O"}
        for split, rows in splits.items()
    }
    labels = labels_of(found["train"]) if closed else sorted(found["train"])
    for split, seen in found.items():
        if strange := sorted(seen - set(labels)):
            raise NewTaskError(f"{files[split]}: labels {strange} are not among the training file's {labels}")
    return labels


def _read(row: Row) -> str:
    """What a model reads of a row."""
    return json.dumps([value for name, value in row.items() if name not in ("idx", *ANSWER_COLUMN.values())])


def _carve(splits: dict[str, list[Row]]) -> list[str]:
    """Take what is not given from the training rows; returns the names of the new splits.

    Without test rows a protocol reports on given validation rows, so those alone are enough. Rows that read the same
    stay together: no carved row was trained on under another id.
    """
    missing_splits = [] if "validation" in splits else ["validation", *(["test"] if "test" not in splits else [])]
    rows = list(splits["train"])
    places = list(range(len(rows)))
    random.Random(0).shuffle(places)
    size = max(1, len(rows) // 10)
    if missing_splits and len(rows) < 2 * len(missing_splits) + 1:
        raise NewTaskError(f"{len(rows)} rows are too few to carve {' and '.join(missing_splits)} rows from; give them")
    same: dict[str, list[int]] = {}
    for place in places:
        same.setdefault(_read(rows[place]), []).append(place)
    waiting = list(same.values())
    if max(map(len, waiting)) > size:  # a text that is a tenth of all rows: `_repeats` says what it costs
        waiting = [[place] for place in places]
    for split in missing_splits:
        taken: list[int] = []
        while waiting and len(taken) < size:
            taken += waiting.pop(0)
        splits[split] = [rows[i] for i in taken]
    splits["train"] = [rows[i] for i in sorted(place for group in waiting for place in group)]
    return missing_splits


def _repeats(splits: Mapping[str, list[Row]]) -> list[str]:
    """What to say of rows that stand in two splits: a score on a row that was trained on is not one on a new row."""
    trained = {_read(row) for row in splits["train"]}
    twice = {split: sum(_read(row) in trained for row in rows) for split, rows in splits.items() if split != "train"}
    return [
        f"{split}: {count} of {len(splits[split])} rows have the text of a training row; a score there is not one on "
        "new texts: take them out of one of the two"
        for split, count in twice.items()
        if count
    ]
