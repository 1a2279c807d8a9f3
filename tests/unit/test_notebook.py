"""`results` in a notebook: the tables' verdicts, and the notebook of the docs as it runs."""

from __future__ import annotations

import json
from pathlib import Path

import matplotlib
import pytest

import results
from results.records import read_runs
from results.tables.contests import every_pair
from results.tables.layout import free
from tests.unit.results_fixtures import answers, write_run

NOTEBOOK = Path(__file__).resolve().parents[2] / "docs" / "notebook.ipynb"


def test_the_notebook_of_the_docs_runs() -> None:
    matplotlib.use("agg")
    cells = [cell for cell in json.loads(NOTEBOOK.read_text(encoding="utf-8"))["cells"] if cell["cell_type"] == "code"]
    names: dict[str, object] = {}
    for cell in cells:
        exec("".join(cell["source"]), names)
    assert len(cells) == 5 and len(names["comparison"]) == 2 and names["axes"].lines  # type: ignore[arg-type,attr-defined]


def ledger(root: Path) -> Path:
    for seed in (1, 2, 3):
        for flip, (method, share) in enumerate((("pt", 0.6), ("dept", 0.75), ("lora", 0.5))):
            rows = answers(share, 200, seed, flip)
            right = sum(row["prediction"] == row["reference"] for row in rows) / 200
            write_run(root, method, seed=seed, n=200, test=right, predictions=rows)
    return root


def test_a_comparison_is_the_tables_own(tmp_path: Path) -> None:
    root = ledger(tmp_path)
    reading = read_runs(root)
    contests, _ = every_pair(free(reading.runs, "method", "task", {}), reading)
    (told,) = [c for c in contests if {c.one, c.other} == {"pt", "dept"}]
    (row,) = results.compare("dept", "pt", root=root).to_dict("records")
    sign = 1 if told.one == "dept" else -1
    assert row["p"] == told.p and row["difference"] == pytest.approx(sign * told.value)
    assert row["low"] < row["difference"] < row["high"] and row["difference"] > 0
    assert results.compare("pt", "nothing", root=root).empty


def test_predictions_of_a_run_and_of_none(tmp_path: Path) -> None:
    root = ledger(tmp_path)
    run = read_runs(root).runs[0]
    assert len(results.predictions(run.id, root=root)) == 200
    with pytest.raises(ValueError, match="0 runs begin so"):
        results.predictions("zzz", root=root)
    with pytest.raises(AttributeError, match="there are compare, frame, predictions"):
        results.nothing  # noqa: B018
