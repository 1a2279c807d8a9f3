"""Tables: pairs of every column, crossed keys, one note for unfinished runs, bare LaTeX, the reproducibility page."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from results.notebook import compare
from results.records import read_runs
from results.tables.__main__ import main
from results.tables.appendix import appendix, stored_parameters
from results.tables.build import build, fill
from results.tables.checked import LayoutError
from results.tables.contests import by_column, pairs_text
from results.tables.latex import latex
from results.tables.layout import free
from results.tables.state import Options
from tests.unit.results_fixtures import answers, write_run

TASKS = ("glue/rte", "glue/mrpc")


def scored(root: Path, method: str, task: str, seed: int, accuracy: float, **more: object) -> str:
    rows = answers(accuracy, seed=seed)
    right = sum(row["prediction"] == row["reference"] for row in rows) / len(rows)
    config = {"task": {"name": task, "labels": ["no", "yes"], "kind": "classification", "metrics": ["accuracy"]}}
    return write_run(root, method, task, seed, test=right, n=200, predictions=rows, config=config, **more)  # type: ignore[arg-type]


@pytest.fixture
def ledger(tmp_path: Path) -> Path:
    root = tmp_path / "runs"
    for task in TASKS:
        for seed in (1, 2, 3):
            scored(root, "pt", task, seed, 0.6)
            scored(root, "dept", task, seed, 0.95 if task == "glue/mrpc" else 0.62)
    return root


def test_pairs_of_a_free_table_for_every_column(ledger: Path, capsys: pytest.CaptureFixture[str]) -> None:
    reading = read_runs(ledger)
    found = by_column(free(reading.runs, "method", "task", {}), reading)
    assert set(found) == set(TASKS)
    [mrpc], [rte] = found["glue/mrpc"][0], found["glue/rte"][0]
    assert mrpc.significant and mrpc.value > 25 and not rte.significant
    assert main(["rows=method", "cols=task", "--pairs", f"ledger.root={ledger}"]) == 0
    out = capsys.readouterr().out
    assert out.count("Holm over the one pair") == 2 and "method by task, glue/rte." in out
    one = pairs_text(free(reading.runs, "method", "task", {"task": "glue/rte"}), reading)
    assert "method by task, task=glue/rte." in one and one.count("Holm") == 1


def test_runs_on_synthetic_rows_stand_in_pairs_as_in_tables(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for seed in (1, 2, 3):
        for method, accuracy in (("pt", 0.6), ("dept", 0.95)):
            scored(tmp_path, method, "glue/rte", seed, accuracy, backbone="tiny_llama")
    words = ["rows=method", "cols=task", "--pairs", f"ledger.root={tmp_path}"]
    assert main(words) == 0 and "Holm" not in capsys.readouterr().out
    assert main([*words, "fixtures=true"]) == 0
    said = capsys.readouterr().out
    assert "Holm over the one pair" in said and "fixtures=true: runs on synthetic rows or random weights" in said
    table = compare("pt", "dept", root=tmp_path, fixtures=True)
    assert table["difference"].notna().all() and len(table) == 1
    assert compare("pt", "dept", root=tmp_path).empty


def test_two_keys_crossed_in_rows_and_columns(ledger: Path) -> None:
    runs = read_runs(ledger).runs
    layout = free(runs, "method,seed", "task", {})
    labels = [row.label for row in layout.rows]
    assert labels == ["dept, 1", "dept, 2", "dept, 3", "pt, 1", "pt, 2", "pt, 3"]
    assert layout.rows[0].where == {"method": "dept", "seed": 1}
    table = build(layout, read_runs(ledger), Options())
    assert all(row.cells["task=glue/rte"].n == 1 for row in table.rows)
    across = free(runs, "method", "task,seed", {})
    assert [c.label for c in across.columns[1:-1]][:2] == ["glue/mrpc, 1", "glue/mrpc, 2"]
    with pytest.raises(LayoutError, match="colour: no run has it"):
        free(runs, "method,colour", "task", {})


def test_combinations_that_no_run_has_are_no_rows(ledger: Path) -> None:
    scored(ledger, "lora", "glue/rte", 9, 0.7)
    labels = [row.label for row in free(read_runs(ledger).runs, "method,seed", "task", {}).rows]
    assert "lora, 9" in labels and "lora, 1" not in labels and "pt, 9" not in labels


def test_unfinished_runs_share_one_note(tmp_path: Path) -> None:
    root, ids = tmp_path / "runs", []
    for task in TASKS:
        scored(root, "pt", task, 1, 0.7)
        for seed in (2, 3):
            ids.append(write_run(root, "pt", task, seed, test=None, validation=None, status="running"))
    failed = write_run(root, "dept", "glue/rte", 1, test=None, validation=None, status="failed", reason="no memory")
    table = build(free(read_runs(root).runs, "method", "task", {}), read_runs(root), Options(significance=False))
    notes = [note for note in table.footnotes() if "interrupted" in note]
    assert notes == [f"4 runs interrupted: the same command goes on from the checkpoint ({notes[0].split('(')[1]}"]
    assert all(run_id in notes[0] for run_id in ids)
    [cells] = [row.cells for row in table.rows if row.label == "pt"]
    assert all(notes[0] in cells[f"task={task}"].footnotes for task in TASKS)
    assert [note for note in table.footnotes() if failed in note] == [f"run {failed} failed: no memory"]


def test_latex_is_a_bare_table_unless_asked(ledger: Path, tmp_path: Path) -> None:
    reading = read_runs(ledger)
    table = build(free(reading.runs, "method", "task", {}), reading, Options())
    bare, whole = latex(table), latex(table, standalone=True)
    assert "\\documentclass" not in bare and "\\begin{document}" not in bare and "\\begin{table}" in bare
    assert whole.count(bare) == 1 and whole.startswith("\\documentclass") and "\\usepackage{booktabs,graphicx}" in whole
    out = tmp_path / "t.tex"
    assert main([f"ledger.root={ledger}", "format=latex", f"out={out}"]) == 0 and out.read_text() == bare
    assert main([f"ledger.root={ledger}", "format=latex", "standalone=true", f"out={out}"]) == 0
    assert out.read_text() == whole


def test_the_reproducibility_page(ledger: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for folder in ledger.iterdir():
        (folder / "manifest.json").write_text(json.dumps({"shapes": {"prompt": [20, 576], "scale": []}}))
    reading = read_runs(ledger)
    assert {stored_parameters(run) for run in reading.runs} >= {20 * 576 + 1}
    assert main([f"ledger.root={ledger}", "format=appendix"]) == 0
    text = capsys.readouterr().out
    head = next(line for line in text.splitlines() if line.startswith("| row |"))
    names = [name.strip() for name in head.strip("|").split("|")]
    cells = [
        c.strip() for c in next(line for line in text.splitlines() if line.startswith("| dept |")).strip("|").split("|")
    ]
    of = dict(zip(names, cells, strict=True))
    assert of["seeds"] == "1, 2, 3" and of["tasks"] == "glue/mrpc, glue/rte" and of["runs tried"] == "6"
    assert of["trained"] == "18,300" and of["stored"] == "11,521" and of["learning rates"] == "prompt 0.01"
    assert of["hours, shown"] == f"{6 * 75 / 3600:.2f}"
    assert "- transformers 5.23 (" in text and "## Versions and hardware" in text and "protocol carved" in text
    assert "checkpoint by accuracy on validation" in text


def test_a_page_without_runs_says_so(tmp_path: Path) -> None:
    reading = read_runs(tmp_path / "none")
    state, table = fill(free([], "method", "task", {}), reading, Options())
    assert "No run stands in this table." in appendix(state, table)


def test_hours_that_were_not_timed_are_marked(tmp_path: Path) -> None:
    root = tmp_path / "runs"
    scored(root, "pt", "glue/rte", 1, 0.7)
    scored(root, "pt", "glue/rte", 2, 0.7, wall_seconds=None)
    reading = read_runs(root)
    text = appendix(*fill(free(reading.runs, "method", "task", {}), reading, Options(significance=False)))
    assert re.search(r"\| 0\.02\+ \| 0\.02\+ \|", text)


def test_a_map_of_sources_and_targets_is_one_table(tmp_path: Path) -> None:
    root = tmp_path / "runs"
    for source, target, accuracy in (("glue/qqp", "glue/mrpc", 0.7), ("glue/mrpc", "glue/qqp", 0.6)):
        for seed in (1, 2):
            run_id = scored(root, "pt", target, seed, accuracy)
            path = root / run_id / "record.json"
            record = json.loads(path.read_text())
            record |= {"task": f"{target} (from {source})", "transfer": {"from": source, "to": target, "run": "x"}}
            path.write_text(json.dumps(record))
    reading = read_runs(root)
    table = build(free(reading.runs, "transfer.from", "transfer.to", {}), reading, Options(significance=False))
    assert [row.label for row in table.rows] == ["glue/mrpc", "glue/qqp"]
    cells = {
        (row.label, key): cell.n for row in table.rows for key, cell in row.cells.items() if cell.value is not None
    }
    assert cells[("glue/qqp", "transfer.to=glue/mrpc")] == 2 and cells[("glue/mrpc", "transfer.to=glue/qqp")] == 2


def test_a_folder_given_where_a_filter_stands_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """`ledger=DIR` was a filter that no run matches: an empty table, and exit code 0."""
    assert main(["rows=method", "cols=task", f"ledger={tmp_path}"]) != 0
    assert "ledger.root=DIR" in capsys.readouterr().err
