"""The command that fills a missing cell of a table: one line that can be pasted."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from results.controls import THEIRS, overrides
from results.records import Reading, matches
from results.tables.layout import ColumnSpec, Layout, RowSpec

RUN = "<run id>"  # of a run that has to be made first


def command_for(layout: Layout, row: RowSpec, column: ColumnSpec, reading: Reading) -> str:
    """What makes the runs of a cell; empty where no single command does."""
    where = {**layout.where, **row.taking(column)}
    if str(where.get("method")).endswith(THEIRS):  # nobody's run makes other people's predictions
        return ""
    if "transfer.to" in where:
        return _scoring(layout, where, reading)
    return _training(_base(layout, row, column, where), where)


def _base(layout: Layout, row: RowSpec, column: ColumnSpec, where: Mapping[str, Any]) -> str:
    """The beginning: of the experiment that makes the row's method, else of the row or the table."""
    experiment = layout.experiments.get(str(where.get("method"))) if column.experiments else None
    return row.command or (f"python run.py experiment={experiment}" if experiment else layout.command)


def _training(base: str, where: Mapping[str, Any]) -> str:
    if " -m " in base:  # a sweep fills the whole table, and runs nothing that is there
        return base
    chosen = dict(where)
    if isinstance(where.get("method"), str):  # a control's name is no choice of the command line
        chosen |= overrides(where["method"])
    words = {key: _word(value) for key, value in chosen.items()}
    words = {key: word for key, word in words.items() if word and key != "experiment"}
    if base:
        said = {word.split("=")[0] for word in base.split()}
        return " ".join([base, *(f"{key}={word}" for key, word in words.items() if key not in said)])
    if "task" in where and "method" in where:
        return "python run.py " + " ".join(f"{key}={word}" for key, word in words.items())
    return ""


def _scoring(layout: Layout, where: Mapping[str, Any], reading: Reading) -> str:
    """A run that was trained on the source is scored on the target; where there is none, it is trained first."""
    source, target = where.get("transfer.from"), where["transfer.to"]
    rest = {key: value for key, value in where.items() if not key.startswith("transfer.")} | {"task": source}
    ids = [run.id for run in reading.runs if run.done and source and matches(run, rest)]
    if ids:
        return f"python scripts/evaluate.py run={','.join(ids)} task={target}"
    experiment = layout.experiments.get(str(where.get("method")))
    base = f"python run.py experiment={experiment}" if experiment else "python run.py"
    return f"{_training(base, rest)} && python scripts/evaluate.py run='{RUN}' task={target}"


def _word(value: Any) -> str:
    """A value as Hydra takes it, of several allowed ones the first; empty where nothing is to be said."""
    value = value[0] if isinstance(value, list | tuple) else value
    if value is None or (isinstance(value, str) and value.startswith("!")):
        return ""
    if value == "*":
        return f"'{RUN}'"
    return str(value).lower() if isinstance(value, bool) else str(value)
