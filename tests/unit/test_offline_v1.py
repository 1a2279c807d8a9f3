"""The bench's own benchmark: what its grid holds, that its tables take it, how a method of yours is set against it."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import pytest

from conf.plan import make_plan
from results import archive
from results.records import Run, matches
from results.tables.layout import load, tables_of
from scripts import compare
from tests.unit.results_fixtures import answers, write_run

TRAINED = ["accept", "adept", "apt", "bitfit", "dept", "full", "lora", "prefix", "pt"]


@pytest.mark.parametrize(("kind", "runs"), [("cpu", 6), ("full", 12)])
def test_every_method_has_as_many_trials_and_seeds(kind: str, runs: int) -> None:
    plan = make_plan(["experiment=offline_v1", f"budget={kind}"])
    assert plan.problems == []
    counts = Counter((p.config.task.name, p.config.method["name"]) for p in plan.points)
    tasks = {task for task, _ in counts}
    assert tasks >= {"demo/movie_reviews", "ner/sec_filings"} and len(tasks) == (2 if kind == "cpu" else 5)
    for task in tasks:
        assert [counts[task, method] for method in TRAINED] == [runs] * len(TRAINED), task
        assert counts[task, "majority"] == 1
    assert counts["ner/sec_filings", "head_only"] == 3


def test_every_run_of_the_cpu_subset_stands_in_one_row_of_its_table() -> None:
    plan = make_plan(["experiment=offline_v1", "budget=cpu"])
    layouts = [load("offline_v1", name) for name in tables_of("offline_v1")]
    for point in plan.points:
        config = point.resolved
        names = {key: config[key]["name"] for key in ("method", "task", "backbone", "protocol")}
        run = Run({**names, "run_id": point.run_id, "config": config, "seed": config["seed"]}, Path("."))
        rows = [r.label for la in layouts if matches(run, la.where) for r in la.rows if matches(run, r.where)]
        assert len(rows) == 1, (names, rows)


def test_a_method_of_yours_gets_what_the_others_had() -> None:
    for task in compare.TASKS:
        plan = make_plan(["experiment=offline_v1", f"budget={task}", *compare.chosen_by("residual_pt")])
        assert plan.problems == [] and len(plan.points) == 6
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
