"""The ledger as a pandas frame, for people who go on in a notebook."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from results.ledger import root_of
from results.records import Run, read_runs

if TYPE_CHECKING:
    import pandas

PLAIN = (
    "reason",
    "trainable_parameters",
    "backbone_parameters",
    "head_parameters",
    "steps",
    "train_examples_per_second",
    "eval_examples_per_second",
    "peak_memory_bytes",
    "wall_seconds",
)


def frame(root: str | Path | None = None) -> pandas.DataFrame:
    """One row per readable run of a ledger (default: results/runs beside run.py).

    Columns: run_id, status, method, task, backbone, protocol, seed, fidelity, data_source, primary_metric,
    primary_split, score (fraction), untrained_score, n, the measurements of the record, `packed`,
    `metrics.<split>.<name>` and `config.<dotted key>`. Folders that could not be read are in
    `frame.attrs["problems"]`.
    """
    import pandas

    reading = read_runs(root_of(root, "root"))
    table = pandas.DataFrame([_row(run) for run in reading.runs])
    table.attrs["problems"] = reading.problems
    return table


def _row(run: Run) -> dict[str, Any]:
    """The columns of one run."""
    row: dict[str, Any] = {"run_id": run.id, "status": run.status}
    row |= {name: run.get(name) for name in ("method", "task", "backbone", "protocol", "seed", "fidelity")}
    row |= {
        "data_source": run.data_source,
        "primary_metric": run.primary_metric,
        "primary_split": run.primary_split,
        "score": run.score(),
        "untrained_score": run.score(untrained=True),
        "n": run.size(),
        "packed": run.packed,
        "folder": str(run.folder),
    }
    row |= {name: run.record.get(name) for name in PLAIN}
    row["verdicts"] = run.record.get("verdicts") or []
    row |= dict(_flatten("metrics", run.record.get("metrics") or {}))
    row |= dict(_flatten("config", run.config))
    return row


def _flatten(prefix: str, tree: Mapping[str, Any]) -> Iterator[tuple[str, Any]]:
    """Dotted names and leaf values of nested mappings."""
    for key, value in tree.items():
        if isinstance(value, Mapping):
            yield from _flatten(f"{prefix}.{key}", value)
        else:
            yield f"{prefix}.{key}", value
