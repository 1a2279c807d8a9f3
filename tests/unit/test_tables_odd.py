"""Ledgers as users have them: data that changed, runs without a key, step 0 beside the end, controls beside methods."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from results.records import matches, read_runs
from results.tables.build import build
from results.tables.contests import by_column, pairs_text
from results.tables.evidence import NO_PREDICTIONS, ONE_UNTRAINED, OTHER_DATA
from results.tables.layout import free
from results.tables.model import Table
from tests.unit.results_fixtures import answers, write_run

N = 200
ROWS = {"validation": 200, "test": N}


def data(content: str) -> dict[str, Any]:
    return {"source": "package", "sha256": content, "revision": f"rows {content}", "rows": ROWS}


def trained(root: Path, method: str, seed: int, accuracy: float, **more: Any) -> str:
    """A run whose recorded score is what its predictions give."""
    lines = answers(accuracy, N, seed=seed, flip=sum(map(ord, method)))
    score = sum(row["prediction"] == row["reference"] for row in lines) / N
    run = write_run(root, method, seed=seed, test=score, n=N, predictions=lines, **more)
    path = root / run / "record.json"
    record = json.loads(path.read_text())
    record["config"]["task"] |= {"labels": ["no", "yes"], "kind": "classification"}
    path.write_text(json.dumps(record))
    return run


def at_step_0(root: Path, run: str, lines: list[dict[str, Any]]) -> None:
    (root / run / "predictions.untrained.test.jsonl").write_text("".join(json.dumps(row) + "\n" for row in lines))
    path = root / run / "record.json"
    record = json.loads(path.read_text())
    score = sum(row["prediction"] == row["reference"] for row in lines) / N
    path.write_text(json.dumps(record | {"untrained_metrics": {"test": {"accuracy": score}}}))


def table_of(root: Path, rows: str = "method", cols: str = "task") -> Table:
    reading = read_runs(root)
    return build(free(reading.runs, rows, cols, {}), reading)


def notes(table: Table, label: str) -> list[str]:
    row = next(row for row in table.rows if row.label == label)
    return [note for cell in row.cells.values() for note in cell.footnotes]


def test_what_training_brought_is_tested_where_step_0_kept_its_predictions(tmp_path: Path) -> None:
    for seed in (1, 2, 3):
        at_step_0(tmp_path, trained(tmp_path, "pt", seed, 0.95), answers(0.5, N, seed=7))  # nothing drawn: all alike
    reading = read_runs(tmp_path)
    layout = free(reading.runs, "method", "task", {})
    ((contests, lacking),) = by_column(layout, reading).values()
    assert [(c.one, c.other, c.significant) for c in contests] == [("untrained pt", "pt", True)] and not lacking
    assert contests[0].value < -30 and "Holm over the one pair," in pairs_text(layout, reading)


def test_step_0_is_not_tested_from_one_seed_without_predictions_or_against_its_record(tmp_path: Path) -> None:
    at_step_0(tmp_path, trained(tmp_path, "pt", 1, 0.9), answers(0.5, N, seed=7))
    trained(tmp_path, "dept", 1, 0.9, untrained=0.5)
    table = table_of(tmp_path)
    assert any(ONE_UNTRAINED in note for note in notes(table, "untrained pt"))
    assert any(NO_PREDICTIONS in note for note in notes(table, "untrained dept"))


def test_prompts_that_were_drawn_do_not_tell_how_seeds_spread(tmp_path: Path) -> None:
    from results.tables.build import fill
    from results.tables.evidence import evidence

    for seed in (1, 2, 3):
        at_step_0(tmp_path, trained(tmp_path, "pt", seed, 0.9), answers(0.5, N, seed=seed))
    reading = read_runs(tmp_path)
    state, _ = fill(free(reading.runs, "method", "task", {}), reading)
    samples = {f.row.value: evidence(state, f).sample for f in state.filled.values()}
    assert samples["untrained"].trained and not samples["untrained"].informs  # type: ignore[union-attr]
    assert samples["score"].trained and samples["score"].informs  # type: ignore[union-attr]


def test_a_score_of_zero_at_step_0_has_its_row(tmp_path: Path) -> None:
    trained(tmp_path, "pt", 1, 0.9, untrained=0.0)
    assert [row.label for row in table_of(tmp_path).rows] == ["untrained pt", "pt"]


def test_runs_on_two_contents_of_the_data_are_no_trials_of_each_other(tmp_path: Path) -> None:
    for seed in (1, 2):
        trained(tmp_path, "pt", seed, 0.9, data=data("a"))
        trained(tmp_path, "pt", seed, 0.6, data=data("b"), config={"runner": {"log_every": 3, "max_steps": 41}})
    cell = table_of(tmp_path).rows[0].cells["task=demo/movie_reviews"]
    assert cell.text == "ambiguous" and cell.value is None
    assert any("2 contents of the data (rows a, rows b)" in note for note in cell.footnotes)
    reading = read_runs(tmp_path)
    narrowed = build(free(reading.runs, "method", "task", {"data.revision": "rows b"}), reading)
    assert narrowed.rows[0].cells["task=demo/movie_reviews"].value is not None


def test_methods_on_two_contents_of_the_data_are_not_tested_against_each_other(tmp_path: Path) -> None:
    for seed in (1, 2, 3):
        trained(tmp_path, "pt", seed, 0.9, data=data("a"))
        trained(tmp_path, "dept", seed, 0.5, data=data("b"))
    reading = read_runs(tmp_path)
    ((contests, lacking),) = by_column(free(reading.runs, "method", "task", {}), reading).values()
    assert not contests and OTHER_DATA in lacking.values()


def test_runs_without_a_key_are_counted_not_lost(tmp_path: Path) -> None:
    trained(tmp_path, "pt", 1, 0.9)
    write_run(tmp_path, "lora", config={"method": {"rank": 4}})
    reading = read_runs(tmp_path)
    caption = build(free(reading.runs, "method,method.rank", "task", {}), reading).caption
    assert "1 finished run has no method.rank and stands in no cell." in caption
    assert not any("stands in no cell" in text for text in table_of(tmp_path).caption)
    one = trained(tmp_path, "dept", 1, 0.9)
    record = json.loads((tmp_path / one / "record.json").read_text())
    transfer = {"from": "a", "to": "b", "run": "x"}
    (tmp_path / one / "record.json").write_text(json.dumps(record | {"transfer": transfer}))
    reading = read_runs(tmp_path)
    said = build(free(reading.runs, "transfer.from", "transfer.to", {}), reading).caption
    assert "2 finished runs have no transfer.from and no transfer.to and stand in no cell." in said


def test_controls_are_rows_of_their_own_and_the_command_of_a_missing_one_runs_it(tmp_path: Path) -> None:
    name = "pt, shuffled labels (control)"
    for seed in (1, 2):
        trained(tmp_path, "pt", seed, 0.9)
        trained(tmp_path, name, seed, 0.5, untrained=0.5)
    trained(tmp_path, "pt", 1, 0.8, task="demo/other")
    table = table_of(tmp_path)
    rows = {row.label: row for row in table.rows}
    assert list(rows) == ["pt", name]
    assert rows["pt"].cells["task=demo/movie_reviews"].n == 2
    command = rows[name].cells["task=demo/other"].command
    assert command == "python run.py method=pt task=demo/other control=shuffled_labels"


def test_a_star_is_anything_that_is_set(tmp_path: Path) -> None:
    write_run(tmp_path, "dept", config={"method": {"init_from": "abc"}})
    write_run(tmp_path, "dept", seed=2)
    found = [
        (matches(r, {"method.init_from": "*"}), matches(r, {"method.init_from": None}))
        for r in read_runs(tmp_path).runs
    ]
    assert sorted(found) == [(False, True), (True, False)]
