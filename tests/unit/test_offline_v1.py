"""The bench's own benchmark: what its grid holds, that its tables take it, how a method of yours is set against it."""

from __future__ import annotations

from collections import Counter
from functools import partial
from pathlib import Path

import pytest

from conf.plan import Point, make_plan
from results import archive
from results.records import Reading, Run, matches
from results.tables.build import build
from results.tables.layout import load, tables_of
from scripts import compare
from tests.unit.results_fixtures import answers, write_run

TRAINED = ["accept", "adept", "apt", "bitfit", "dept", "full", "lora", "prefix", "pt"]


def as_run(point: Point) -> Run:
    """The run that a point of a plan would be."""
    config = point.resolved
    names = {key: config[key]["name"] for key in ("method", "task", "backbone", "protocol")}
    return Run({**names, "run_id": point.run_id, "config": config, "seed": config["seed"]}, Path("."))


@pytest.mark.parametrize(("kind", "runs"), [("cpu", 10), ("full", 20)])
def test_every_method_has_as_many_trials_and_seeds(kind: str, runs: int) -> None:
    plan = make_plan(["experiment=offline_v1", f"budget={kind}"])
    assert plan.problems == []
    counts = Counter((p.config.task.name, p.config.method["name"]) for p in plan.points)
    tasks = {task for task, _ in counts}
    assert tasks >= {"demo/movie_reviews", "ner/sec_filings"} and len(tasks) == (2 if kind == "cpu" else 5)
    for task in tasks:
        assert [counts[task, method] for method in TRAINED] == [runs] * len(TRAINED), task
        assert counts[task, "majority"] == 1
    assert counts["ner/sec_filings", "head_only"] == 5


@pytest.mark.parametrize("kind", ["cpu", "lengths"])
def test_the_committed_runs_are_those_that_would_be_made_today(kind: str) -> None:
    """Their ids, named anew by the configurations and the code of this tree: nobody trains them again by surprise."""
    committed = {run.id for run in archive.archived("offline_v1").runs}
    points = make_plan(["experiment=offline_v1", f"budget={kind}"]).points
    moved = [" ".join(point.overrides) for point in points if point.run_id not in committed]
    assert points and not moved, moved[:5]


def test_every_run_of_the_cpu_subset_stands_in_one_row_of_its_table() -> None:
    plan = make_plan(["experiment=offline_v1", "budget=cpu"])
    layouts = [load("offline_v1", name) for name in compare.TASKS]
    for point in plan.points:
        run = as_run(point)
        rows = [r.label for la in layouts if matches(run, la.where) for r in la.rows if matches(run, r.where)]
        assert len(rows) == 1, (run.record, rows)


def test_every_run_of_the_lengths_stands_in_one_cell_of_its_table_and_in_no_other_table() -> None:
    plan = make_plan(["experiment=offline_v1", "budget=lengths"])
    assert plan.problems == [] and len(plan.points) == 60
    seen: Counter[str] = Counter()
    for point in plan.points:
        run = as_run(point)
        cells = {
            (la.name, r.label, c.key)
            for la in map(partial(load, "offline_v1"), tables_of("offline_v1"))
            for r in la.rows
            for c in la.columns
            if matches(run, {**la.where, **r.taking(c)})
        }
        ((table, _, column),) = cells
        assert table == "lengths"
        seen[column] += 1
    assert seen == {"short": 30, "long": 30}


def test_every_run_of_the_related_methods_stands_in_one_row_of_its_table_and_in_no_other_table() -> None:
    plan = make_plan(["experiment=offline_v1", "budget=methods"])
    assert plan.problems == []
    seen: Counter[tuple[str, str]] = Counter()
    for point in plan.points:
        run = as_run(point)
        rows = [
            (layout.name, row.label)
            for layout in map(partial(load, "offline_v1"), tables_of("offline_v1"))
            for row in layout.rows
            if matches(run, {**layout.where, **row.where})
        ]
        assert len(rows) == 1 and rows[0][0].endswith("-methods"), (run.record, rows)
        seen[rows[0]] += 1
    assert set(seen.values()) == {3} and len(seen) == 18


@pytest.mark.parametrize("task", compare.TASKS)
def test_their_tables_have_the_default_point_of_every_method_and_no_speed(task: str) -> None:
    layout = load("offline_v1", f"{task}-methods")
    assert {column.kind for column in layout.columns} == {"parameters", "score", "size"}
    plain = load("offline_v1", task)
    counts: Counter[str] = Counter()
    for point in make_plan(["experiment=offline_v1", "budget=cpu"]).points:
        run = as_run(point)
        counts.update(row.label for row in layout.rows if matches(run, {**layout.where, **row.where}))
    for row in plain.rows:
        assert counts[row.label] == (5 if row.methods[0] in [*TRAINED, "head_only"] else 1), row.label


def test_a_run_that_starts_from_another_is_no_trial_of_its_method() -> None:
    """SESoM's sources are PT that goes on from another task: by their settings alone they would stand in PT's row."""
    points = make_plan(["experiment=offline_v1", "budget=cpu"]).points
    runs = [as_run(point) for point in points if point.config.method["name"] == "pt"]
    layouts = [load("offline_v1", name) for name in tables_of("offline_v1")]

    def rows(run: Run) -> list[str]:
        return [r.label for la in layouts for r in la.rows if matches(run, {**la.where, **r.where})]

    assert len(runs) == 20 and all(rows(run) for run in runs)
    for run in runs:
        run.record["config"]["method"]["init_from"] = "another run"
        assert rows(run) == []


@pytest.mark.parametrize("table", ["reviews-rates", "filings-rates", "lengths"])
def test_trials_and_default_lengths_are_the_main_grids(table: str) -> None:
    layout = load("offline_v1", table)
    runs = [as_run(point) for point in make_plan(["experiment=offline_v1", "budget=cpu"]).points]
    for row in layout.rows:
        for column in layout.columns[: 1 if table == "lengths" else 2]:
            found = [run for run in runs if matches(run, {**layout.where, **row.taking(column)})]
            assert sorted(run.get("seed") for run in found) == [1, 2, 3, 4, 5], (row.label, column.key)


def test_a_sweep_is_what_fills_a_missing_cell() -> None:
    table = build(load("offline_v1", "filings"), Reading(Path("."), [], []))
    assert table.commands() == ["python run.py -m experiment=offline_v1 budget=cpu"]


def test_a_method_of_yours_gets_what_the_others_had() -> None:
    for task in compare.TASKS:
        plan = make_plan(["experiment=offline_v1", f"budget={task}", *compare.chosen_by("residual_pt")])
        assert plan.problems == [] and len(plan.points) == 10
        assert {p.config.method["name"] for p in plan.points} == {"residual_pt"}


def test_methods_are_named_or_filed(tmp_path: Path) -> None:
    assert compare.chosen_by("dept/m12_r6") == ["method=dept/m12_r6"]
    assert compare.chosen_by(str(tmp_path / "mine.py")) == ["method=own", f"method.path={tmp_path / 'mine.py'}"]
    assert compare.main([]) == 2 and compare.main(["METHOD=pt", "TASKS=nothing"]) == 2


def test_the_comparison_says_what_differs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(archive, "ROOT", tmp_path / "results")
    settings = {"runner": {"max_steps": 20, "batch_size": 16, "test_rows": 300}}
    for method, accuracy in (("pt", 0.6), ("residual_pt", 0.9)):
        for seed in (1, 2, 3):
            rows = answers(accuracy, n=300, seed=seed, flip=len(method))
            share = sum(row["prediction"] == row["reference"] for row in rows) / 300
            config = {**settings, "method": {"name": method}}
            write_run(tmp_path / "runs", method, seed=seed, test=share, n=300, predictions=rows, config=config)
    compare.show("reviews", "residual_pt", str(tmp_path / "runs"))
    out = capsys.readouterr().out
    assert "residual_pt (yours) less PT: +" in out and "(Holm): significantly different" in out
    assert "not tested: majority class" in out


def test_without_runs_to_compare_with_the_command_that_makes_them_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(archive, "ROOT", tmp_path / "results")
    compare.show("reviews", "residual_pt", str(tmp_path / "runs"))
    assert "python run.py -m experiment=offline_v1 budget=cpu" in capsys.readouterr().out.splitlines()[-1]
