"""What is no answer to one question is neither a trial, nor a row, nor a rival of what is: cells, columns, bold."""

from __future__ import annotations

import csv
import io
import json
import math
from pathlib import Path
from typing import Any

import pytest

from results.records import Run, read_runs
from results.selection import trials
from results.tables.build import build, fill
from results.tables.contests import by_column
from results.tables.evidence import OTHER_METRIC, OTHER_ROWS, OTHER_SPLIT, evidence
from results.tables.layout import free, parse
from results.tables.model import Cell, Table
from results.tables.render import render
from results.tables.state import Options
from tests.unit.results_fixtures import answers, write_run

KIND = {"task": {"labels": ["no", "yes"], "kind": "classification"}}
COLUMN = "task=demo/movie_reviews"


def scored(root: Path, method: str, seed: int, accuracy: float, n: int = 200, **more: Any) -> str:
    """A run whose recorded score is what its predictions give."""
    lines = answers(accuracy, n, seed=seed, flip=sum(map(ord, method)))
    right = sum(row["prediction"] == row["reference"] for row in lines) / n
    config = {**KIND, **more.pop("config", {})}
    return write_run(root, method, seed=seed, test=right, n=n, predictions=lines, config=config, **more)


def table_of(root: Path, rows: str = "method", where: Any = None, **options: Any) -> Table:
    reading = read_runs(root)
    return build(free(reading.runs, rows, "task", where or {}), reading, Options(**options))


def cell(table: Table, label: str, column: str = COLUMN) -> Cell:
    return next(row for row in table.rows if row.label == label).cells[column]


NOT_TUNED: dict[str, tuple[dict[str, Any], dict[str, Any]]] = {
    "runner.test_rows (100, none)": ({}, {"runner": {"test_rows": 100}}),
    "runner.validation_rows (50, none)": ({}, {"runner": {"validation_rows": 50}}),
    "runner.train_rows (50, none)": ({}, {"runner": {"train_rows": 50}}),
    "runner.precision (bf16, fp32)": ({"runner": {"precision": "fp32"}}, {"runner": {"precision": "bf16"}}),
    "backbone.quantization (nf4, none)": ({}, {"backbone": {"quantization": "nf4"}}),
    "protocol.k_shot (16, none)": ({}, {"protocol": {"k_shot": 16}}),
    "method.version (1, 2)": ({"method": {"version": 1}}, {"method": {"version": 2}}),
    "task.version (1, 2)": ({"task": {"version": 1}}, {"task": {"version": 2}}),
}


@pytest.mark.parametrize("said", NOT_TUNED)
def test_what_is_not_tuned_makes_no_trials(tmp_path: Path, said: str) -> None:
    for config, accuracy in zip(NOT_TUNED[said], (0.6, 0.9), strict=True):
        for seed in (1, 2):
            scored(tmp_path, "pt", seed, accuracy, validation=accuracy, config=config)
    found = cell(table_of(tmp_path), "pt")
    assert found.text == "ambiguous" and found.value is None
    assert any(said in note for note in found.footnotes), found.footnotes


@pytest.mark.parametrize("config", [{"method": {"prompt_length": 60}}, {"runner": {"max_steps": 80, "batch_size": 8}}])
def test_what_is_tuned_makes_trials(tmp_path: Path, config: dict[str, Any]) -> None:
    scored(tmp_path, "pt", 1, 0.6, validation=0.6)
    scored(tmp_path, "pt", 1, 0.9, validation=0.9, config=config)
    assert "pt 2" in " ".join(table_of(tmp_path).caption) and cell(table_of(tmp_path), "pt").value is not None


def test_two_methods_of_ones_own_under_one_name_are_no_trials(tmp_path: Path) -> None:
    for name, code in (("a", "1"), ("b", "2")):
        behind = {"data": "x", "contents": {"source": {f"{name}.py": code}}}
        own = {"method": {"path": f"/mine/{name}.py"}}
        scored(tmp_path, "own", 1, 0.6, config=own, identity=behind, run_id=f"own{name}")
    found = cell(table_of(tmp_path), "own")
    assert found.text == "ambiguous" and any("code of the method" in note for note in found.footnotes)
    apart = table_of(tmp_path, "method,method.path")
    assert [row.label for row in apart.rows] == ["own, /mine/a.py", "own, /mine/b.py"]
    assert all(row.cells[COLUMN].value is not None for row in apart.rows)


def test_runs_that_report_different_metrics_are_no_trials(tmp_path: Path) -> None:
    scored(tmp_path, "pt", 1, 0.6)
    scored(tmp_path, "pt", 1, 0.9, metric="f1", config={"method": {"prompt_length": 60}})
    found = cell(table_of(tmp_path), "pt")
    assert found.text == "ambiguous" and any("accuracy, f1" in note for note in found.footnotes)


def test_a_filter_for_several_protocols_parts_rows_as_no_filter_does(tmp_path: Path) -> None:
    write_run(tmp_path, "pt", test=0.8)
    write_run(tmp_path, "pt", test=0.9, validation=0.9, config={"protocol": {"name": "lester"}})
    table = table_of(tmp_path, where={"protocol": ["carved", "lester"]})
    assert [row.label for row in table.rows] == ["pt [protocol=carved]", "pt [protocol=lester]"]


def test_a_row_of_several_methods_does_not_mix_protocols(tmp_path: Path) -> None:
    write_run(tmp_path, "pt", test=0.8)
    write_run(tmp_path, "dept", test=0.9, validation=0.9, config={"protocol": {"name": "lester"}})
    spec = {
        "columns": {"a": {"task": "demo/movie_reviews"}},
        "rows": [{"label": "x", "where": {"method": ["pt", "dept"]}}],
    }
    table = build(parse("p", "t", spec), read_runs(tmp_path))
    assert [row.label for row in table.rows] == ["x [protocol=carved]", "x [protocol=lester]"]


def test_a_cell_has_what_its_row_and_its_column_ask_for(tmp_path: Path) -> None:
    write_run(tmp_path, "pt", "glue/rte", test=0.6)
    write_run(tmp_path, "pt", "glue/mrpc", test=0.9)
    table = table_of(tmp_path, "method,task")
    assert cell(table, "pt, glue/rte", "task=glue/rte").value == pytest.approx(60.0)
    other = cell(table, "pt, glue/rte", "task=glue/mrpc")
    assert other.value is None and not other.run_ids


def test_metrics_of_one_column_are_told_and_not_held_against_each_other(tmp_path: Path) -> None:
    for seed in (1, 2, 3):
        scored(tmp_path, "pt", seed, 0.9)
        scored(tmp_path, "lora", seed, 0.8)
        rows = answers(0.95, 200, seed=seed)
        hits = sum(row["prediction"] == row["reference"] == "1" for row in rows)
        named = sum((row["prediction"] == "1") + (row["reference"] == "1") for row in rows)
        write_run(
            tmp_path, "dept", seed=seed, test=2 * hits / named, n=200, metric="f1", predictions=rows, config=KIND
        )  # fmt: skip
    table = table_of(tmp_path)
    assert not any(row.cells[COLUMN].best for row in table.rows)  # the highest is of another metric
    assert any(OTHER_METRIC in note for note in cell(table, "dept").footnotes)
    assert any("metric (accuracy, f1)" in text for text in table.caption)
    reading = read_runs(tmp_path)
    ((contests, _),) = by_column(free(reading.runs, "method", "task", {}), reading).values()
    assert [(c.one, c.other) for c in contests] == [("lora", "pt")]
    assert not any(row.cells[COLUMN].best for row in table_of(tmp_path, significance=False).rows)


def test_equal_ids_of_another_split_are_other_rows(tmp_path: Path) -> None:
    for seed in (1, 2, 3):
        scored(tmp_path, "pt", seed, 0.9)
        run = scored(tmp_path, "dept", seed, 0.6, primary_split="validation")
        folder = tmp_path / run
        (folder / "predictions.test.jsonl").rename(folder / "predictions.validation.jsonl")
        read = read_runs(tmp_path).runs
        made = next(r for r in read if r.id == run).record
        made["metrics"]["validation"] = made["metrics"]["test"]
        (folder / "record.json").write_text(json.dumps(made))
    table = table_of(tmp_path)
    assert any(OTHER_SPLIT in note for row in table.rows for note in row.cells[COLUMN].footnotes)
    assert any("reported split (test, validation)" in text for text in table.caption)


def test_a_lucky_score_on_few_rows_silences_no_one_and_is_not_bold(tmp_path: Path) -> None:
    for seed in (1, 2, 3):
        scored(tmp_path, "pt", seed, 0.6)
        scored(tmp_path, "dept", seed, 0.9)
        scored(tmp_path, "lora", seed, 1.0, n=10, config={"runner": {"test_rows": 10}})
    table = table_of(tmp_path)
    assert not any(row.cells[COLUMN].best for row in table.rows)
    assert any(OTHER_ROWS in note for note in cell(table, "lora").footnotes)
    assert not cell(table, "pt").footnotes and any("runner.test_rows (10, none)" in text for text in table.caption)
    reading = read_runs(tmp_path)
    ((contests, _),) = by_column(free(reading.runs, "method", "task", {}), reading).values()
    assert [(c.one, c.other, c.significant) for c in contests] == [("dept", "pt", True)]


def test_precisions_of_two_rows_are_told(tmp_path: Path) -> None:
    scored(tmp_path, "pt", 1, 0.9, config={"runner": {"precision": "fp32"}})
    scored(tmp_path, "dept", 1, 0.9, config={"runner": {"precision": "bf16"}})
    assert any("runner.precision (bf16, fp32)" in text for text in table_of(tmp_path).caption)
    alike = table_of(tmp_path, "method,runner.precision")  # the rows themselves say it
    assert not any("Not the same" in text for text in alike.caption)


def test_of_equal_cells_all_are_the_highest(tmp_path: Path) -> None:
    write_run(tmp_path, "a", test=0.8)
    write_run(tmp_path, "b", test=0.8)
    write_run(tmp_path, "c", test=0.7)
    table = table_of(tmp_path, significance=False)
    assert [row.cells[COLUMN].best for row in table.rows] == [True, True, False]


@pytest.mark.parametrize("name", ["a", "z"])
def test_a_tie_with_an_untested_cell_does_not_depend_on_their_order(tmp_path: Path, name: str) -> None:
    lines = answers(0.9, 200, seed=1)
    right = sum(row["prediction"] == row["reference"] for row in lines) / 200
    for seed in (1, 2, 3):
        write_run(tmp_path, "m", seed=seed, test=right, n=200, predictions=lines, config=KIND)
    write_run(tmp_path, name, seed=1, test=right, n=200, predictions=lines, config=KIND)
    table = table_of(tmp_path)
    assert cell(table, "m").best and not cell(table, name).best


def test_what_a_run_takes_is_no_score_and_has_no_median(tmp_path: Path) -> None:
    scored(tmp_path, "pt", 1, 0.6, untrained=0.5)
    scored(tmp_path, "pt", 1, 0.9, config={"method": {"prompt_length": 60}})
    where = {"method": "pt"}
    spec = {
        "columns": {"acc": {"metric": "accuracy"}, "rate": {"kind": "rate"}},
        "rows": [{"label": label, "where": where, "value": label} for label in ("score", "untrained", "median")],
    }
    table = build(parse("p", "t", spec), read_runs(tmp_path))
    assert [row.cells["rate"].value for row in table.rows] == [8.5, None, None]
    assert [row.cells["rate"].text for row in table.rows[1:]] == ["–", "–"]
    lines = [line for line in csv.DictReader(io.StringIO(render(table, "csv"))) if line["ours"] == "8.5"]
    assert [line["metric"] for line in lines] == ["train_examples_per_second"]
    median = table.rows[2].cells["acc"]
    assert median.value is not None and "(2)" not in render(table, "markdown").split("\n\n")[0].splitlines()[4]
    assert "the median of 2 trials" in median.footnotes


def test_a_speed_that_is_no_number_is_none(tmp_path: Path) -> None:
    scored(tmp_path, "pt", 1, 0.6, train_examples_per_second=math.nan)
    spec = {"columns": {"rate": {"kind": "rate"}}, "rows": [{"label": "pt", "where": {"method": "pt"}}]}
    table = build(parse("p", "t", spec), read_runs(tmp_path))
    assert table.rows[0].cells["rate"].value is None and "nan" not in render(table, "markdown")


@pytest.mark.parametrize("key", ["threads", "micro_batch"])
def test_speeds_of_different_pace_are_told(tmp_path: Path, key: str) -> None:
    for seed, value in ((1, 1), (2, 2)):
        scored(tmp_path, "pt", seed, 0.6, config={"runner": {key: value}})
    spec = {"columns": {"rate": {"kind": "rate"}}, "rows": [{"label": "pt", "where": {"method": "pt"}}]}
    assert any("1, 2; speeds" in text for text in build(parse("p", "t", spec), read_runs(tmp_path)).caption)


def test_other_peoples_answers_of_two_sources_are_no_seeds_of_one_method(tmp_path: Path) -> None:
    def theirs(source: str, seed: int | None, name: str) -> None:
        scored(tmp_path, "X (theirs)", seed or 1, 0.8, adopted={"source": source}, run_id=name)

    theirs("harness", 1, "one")
    theirs("authors", 2, "two")
    assert len(trials(read_runs(tmp_path).runs)) == 2
    found = cell(table_of(tmp_path), "X (theirs)")
    assert found.text == "ambiguous" and any("source of the predictions" in note for note in found.footnotes)


def test_runs_without_a_seed_are_all_kept(tmp_path: Path) -> None:
    for name in ("one", "two"):
        scored(tmp_path, "X (theirs)", 1, 0.8, adopted={"source": "s"}, run_id=name)
    runs = [Run({**run.record, "seed": None}, run.folder) for run in read_runs(tmp_path).runs]
    (trial,) = trials(runs)
    assert len(trial.runs) == 2


def test_scorings_of_runs_that_were_trained_on_two_contents_are_no_seeds(tmp_path: Path) -> None:
    for seed, content in ((1, "a"), (2, "b")):
        identity = {"data": content, "contents": {}}
        transfer = {"from": "s", "to": "t", "run": str(seed), "identity": identity}
        scored(tmp_path, "pt", seed, 0.8, task="t (from s)", transfer=transfer)
    assert len(trials(read_runs(tmp_path).runs)) == 2


@pytest.mark.parametrize("method", ["none", "majority"])
def test_what_draws_nothing_is_one_run_however_often_it_was_made(tmp_path: Path, method: str) -> None:
    lines = answers(0.6, 200, seed=1)
    right = sum(row["prediction"] == row["reference"] for row in lines) / 200
    for seed in (1, 2, 3):
        write_run(tmp_path, method, seed=seed, test=right, n=200, predictions=lines, config=KIND)
    reading = read_runs(tmp_path)
    state, _ = fill(free(reading.runs, "method", "task", {}), reading)
    (filled,) = state.filled.values()
    sample = evidence(state, filled).sample
    assert sample is not None and len(sample.scores) == 1 and not sample.trained


def test_a_share_of_questions_has_the_error_and_the_step_of_questions(tmp_path: Path) -> None:
    lines = answers(0.9, 200, seed=1)  # four answers a question
    right: dict[str, bool] = {}
    for row in lines:
        right[row["group"]] = right.get(row["group"], True) and row["prediction"] == row["reference"]
    share = sum(right.values()) / len(right)
    task = {"task": {**KIND["task"], "group": "{paragraph}|{question}"}}
    write_run(tmp_path, "pt", test=share, n=200, metric="em", predictions=lines, config=task)
    spec = {"spread": "se", "columns": {"a": {"metric": "em"}}, "rows": [{"label": "pt", "where": {"method": "pt"}}]}
    table = build(parse("p", "t", spec), read_runs(tmp_path))
    made = table.rows[0].cells["a"]
    assert made.units == 50 and made.test_size == 200
    assert made.spread == pytest.approx(100 * math.sqrt(share * (1 - share) / 50))
    assert any("12.0 points on demo/movie_reviews (n = 50)" in text for text in table.caption)
