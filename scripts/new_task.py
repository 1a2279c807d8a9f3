"""From a CSV or JSONL file to a task's YAML, its rows in the local layout and a small fixture (used by new.py)."""

from __future__ import annotations

import csv
import io
import json
import random
import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

Row = dict[str, Any]
LABEL_NAMES = ("label", "labels", "target", "class", "answers", "answer")
MOST_CLASSES = 20
METRICS = {"classification": ["accuracy", "f1_macro"], "regression": ["pearson", "spearman"], "qa": ["f1", "em"]}
ANSWER_COLUMN = {"classification": "label", "regression": "label", "qa": "answers"}


class NewTaskError(ValueError):
    """A file that cannot become a task; the message says where and what is wanted."""


@dataclass
class Made:
    """What a new task consists of.

    Attributes:
        texts: (kind of folder: config | data | fixture, path in it) -> text.
        notes: what was seen in the file, to be said to the user.
    """

    texts: dict[tuple[str, str], str] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)


def task_files(name: str, files: Mapping[str, Path], *, label: str | None, kind: str | None, fixture_rows: int) -> Made:
    """Everything that a new task needs.

    Args:
        name: Its name; the task becomes `user/<name>`.
        files: Split -> .csv or .jsonl file; `train` at least.
        label: The column with the answer; None = found by its name, else the last column.
        kind: `classification`, `regression` or `qa`; None = seen from the answers.
        fixture_rows: Rows copied for smoke runs.

    Raises:
        NewTaskError: The file cannot be read, a row has no answer, or columns differ between rows.
    """
    raw = {split: read(path) for split, path in files.items()}
    answer = _answer_column(list(raw["train"][0]), label, files["train"])
    values = [row[answer] for rows in raw.values() for row in rows]
    kind = kind or _kind(answer, values)
    splits = {split: _rows(rows, answer, kind, files[split]) for split, rows in raw.items()}
    labels = _labels(splits["train"]) if kind == "classification" else []
    for split, rows in splits.items():
        strange = sorted({row["label"] for row in rows} - set(labels)) if labels else []
        if strange:
            raise NewTaskError(f"{files[split]}: labels {strange} are not among the training file's {labels}")
    carved = _carve(splits)
    texts = [column for column in splits["train"][0] if column not in ("idx", ANSWER_COLUMN[kind])]
    made = Made()
    made.texts["config", f"user/{name}.yaml"] = _yaml(name, kind, texts, labels, splits)
    for split, rows in splits.items():
        made.texts["data", f"user/{name}/{split}.jsonl"] = _lines(rows)
    if fixture_rows:
        made.texts["fixture", f"user/{name}.jsonl"] = _lines(_fixture(splits["train"], kind, fixture_rows))
    seen = f"labels {labels}" if labels else f"answers in {answer!r}"
    made.notes.append(f"read {len(values)} rows: {kind}, text from {', '.join(texts)}, {seen}")
    if carved:
        sizes = ", ".join(f"{split} {len(rows)}" for split, rows in splits.items())
        made.notes.append(f"{' and '.join(carved)}: a tenth of the rows each, by a fixed permutation ({sizes})")
    return made


def _carve(splits: dict[str, list[Row]]) -> list[str]:
    """Take what is not given from the training rows; returns the names of the new splits.

    Without test rows a protocol reports on given validation rows, so those alone are enough.
    """
    missing = [] if "validation" in splits else ["validation", *(["test"] if "test" not in splits else [])]
    rows = list(splits["train"])
    random.Random(0).shuffle(rows)
    size = max(1, len(rows) // 10)
    if missing and len(rows) < 2 * len(missing) + 1:
        raise NewTaskError(f"{len(rows)} rows are too few to carve {' and '.join(missing)} rows from; give them")
    for split in missing:
        splits[split], rows = rows[:size], rows[size:]
    splits["train"] = sorted(rows, key=lambda row: row["idx"]) if missing else splits["train"]
    return missing


def read(path: Path) -> list[Row]:
    """Rows of a .csv (with a header line) or .jsonl file, all with the same columns."""
    if not path.is_file():
        raise NewTaskError(f"{path}: there is no such file")
    try:
        text = path.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError as error:
        raise NewTaskError(f"{path}: not UTF-8 ({error.reason} at byte {error.start}); save it as UTF-8") from None
    if path.suffix == ".csv":
        rows: list[Row] = list(csv.DictReader(io.StringIO(text, newline="")))
    elif path.suffix == ".jsonl":
        rows = _json_rows(text, path)
    else:
        raise NewTaskError(f"{path}: {path.suffix or 'no suffix'}; a .csv with a header line or a .jsonl is wanted")
    if not rows:
        raise NewTaskError(f"{path}: no rows")
    for number, row in enumerate(rows, start=1):
        if set(row) != set(rows[0]) or None in row.values():
            raise NewTaskError(f"{path}: row {number} has other columns than row 1 ({', '.join(map(str, rows[0]))})")
    return [{_field(column): value for column, value in row.items()} for row in rows]


def _json_rows(text: str, path: Path) -> list[Row]:
    rows = []
    for number, line in enumerate(text.splitlines(), start=1):
        try:
            row = json.loads(line) if line.strip() else None
        except json.JSONDecodeError as error:
            raise NewTaskError(f"{path}:{number}: not JSON ({error.msg}); one object a line is wanted") from None
        if row is not None and not isinstance(row, dict):
            raise NewTaskError(f"{path}:{number}: {type(row).__name__}; one object a line is wanted")
        rows += [row] if row is not None else []
    return rows


def _field(column: str | None) -> str:
    """A column's name as a field of a format string."""
    return re.sub(r"\W+", "_", str(column).strip()).strip("_").lower() or "column"


def _answer_column(columns: Sequence[str], label: str | None, path: Path) -> str:
    if label is not None:
        if _field(label) not in columns:
            raise NewTaskError(f"{path}: no column {label!r}; there are {', '.join(columns)}")
        return _field(label)
    if len(columns) < 2:
        raise NewTaskError(f"{path}: one column ({columns[0]}); a text and an answer are wanted")
    return next((name for name in LABEL_NAMES if name in columns), columns[-1])


def _kind(answer: str, values: Sequence[Any]) -> str:
    """Lists or many different words are answers; numbers with many values are scores; few values are classes."""
    if answer == "answers" or any(isinstance(value, list) for value in values):
        return "qa"
    different = {str(value) for value in values}
    if len(different) <= min(MOST_CLASSES, max(2, len(values) // 2)) and not any(_broken(v) for v in values):
        return "classification"
    return "regression" if all(_number(value) is not None for value in values) else "qa"


def _broken(value: Any) -> bool:
    """Whether a value is a number with a fraction: a score, not a class."""
    number = _number(value)
    return number is not None and not number.is_integer()


def _number(value: Any) -> float | None:
    try:
        return float(value)
    except (TypeError, ValueError):
        return None


def _rows(rows: Sequence[Row], answer: str, kind: str, path: Path) -> list[Row]:
    """Rows with text columns as strings, the answer under the name that tasks of this kind use, and an `idx`."""
    made = []
    for number, row in enumerate(rows):
        value = row[answer]
        if value in (None, "", []):
            raise NewTaskError(f"{path}: row {number + 1} has no answer in {answer!r}")
        if kind == "regression" and _number(value) is None:
            raise NewTaskError(f"{path}: row {number + 1}: {value!r} in {answer!r} is not a number")
        # classes by name: an integer would be read as an id
        forms: dict[str, Any] = {"regression": _number(value), "classification": _name(value)}
        forms["qa"] = [str(v) for v in value] if isinstance(value, list) else [str(value)]
        text = {
            column: str(other) for column, other in row.items() if column not in (answer, "idx", "label", "answers")
        }
        made.append({"idx": number, **text, ANSWER_COLUMN[kind]: forms[kind]})
    if len(made[0]) == 2:
        raise NewTaskError(f"{path}: no text column beside the answer {answer!r}")
    return made


def _name(value: Any) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value).strip()


def _labels(rows: Sequence[Row]) -> list[str]:
    """Class names, in order of their numbers where they are numbers."""
    names = {row["label"] for row in rows}
    if len(names) < 2:
        raise NewTaskError(f"one label only, {sorted(names)}: a classification needs two or more")
    return sorted(names, key=lambda name: (_number(name) is None, _number(name) or 0.0, name))


def _yaml(name: str, kind: str, texts: list[str], labels: list[str], splits: Mapping[str, list[Row]]) -> str:
    """The task's YAML, in the form of the others in conf/task."""
    shown = [("{" + texts[0] + "}")] if len(texts) == 1 else [f"{column}: {{{column}}}" for column in texts]
    form = {"classification": "label", "regression": "number", "qa": "answers"}[kind]
    config: dict[str, Any] = {
        "name": f"user/{name}",
        "kind": kind,
        "version": 1,
        "about": f"made by scripts/new.py from {len(splits['train'])} training rows",
        "columns": {**dict.fromkeys(texts, "text"), ANSWER_COLUMN[kind]: form},
    }
    if kind == "classification":
        words = [label.lower().replace("_", " ") for label in labels]
        words = words if len(set(words)) == len(words) else labels
        config |= {"labels": labels, "label_words": {"default": words}}
    config["templates"] = {"default": " ".join(f"{column}: {{{column}}}" for column in texts)}
    if kind != "qa":  # an encoder reads one text or a pair
        config["segments"] = {"default": [shown[0], " ".join(shown[1:])] if len(shown) > 1 else shown}
    metrics = METRICS[kind]
    config |= {
        "decoder_cue": "answer:" if kind == "qa" else "label:",
        "split_rule": "official",
        "metrics": metrics,
        "select_metric": {"default": metrics[0]},
        "report_metric": {"default": metrics[0]},
        "families": ["t5", "llama"] if kind == "qa" else ["t5", "llama", "encoder"],
        "rows": {split: len(rows) for split, rows in splits.items()},
    }
    return f"# {config['about']}\n" + yaml.safe_dump(config, sort_keys=False, allow_unicode=True, width=110)


def _fixture(rows: Sequence[Row], kind: str, count: int) -> list[Row]:
    """A few training rows, classes in turn, half of them for training and a quarter for each other split."""
    chosen = list(rows)
    if kind == "classification":
        place: Counter[str] = Counter()
        ranked: list[tuple[int, int, Row]] = []
        for row in rows:
            ranked.append((place[row["label"]], len(ranked), row))
            place[row["label"]] += 1
        chosen = [row for _, _, row in sorted(ranked, key=lambda item: item[:2])]
    chosen = chosen[:count]
    half, quarter = len(chosen) // 2, len(chosen) // 4
    names = ["train"] * (len(chosen) - 2 * quarter) + ["validation"] * quarter + ["test"] * quarter
    return [{"_split": split, **row} for split, row in zip(names, chosen, strict=True)] if half else []


def _lines(rows: Sequence[Row]) -> str:
    return "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows)
