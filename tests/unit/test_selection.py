"""Choosing among trials: ties, seeds, fresh runs that confirm; what `confirm=N` plans."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from conf.plan import Plan, Point, make_plan
from results.records import Run, read_runs
from results.selection import Choice, choose, trials
from results.tables.build import build
from results.tables.layout import free
from runners.confirm import confirming
from tests.unit.results_fixtures import write_run


def trial(root: Path, rate: float, scores: dict[int, float], test: float = 0.8, confirm: int | None = None) -> None:
    """One configuration with its validation score by seed."""
    for seed, score in scores.items():
        config: dict[str, Any] = {"method": {"lr": {"prompt": rate}}}
        if confirm:
            config["budget"] = {"confirm": confirm}
        write_run(root, "pt", seed=seed, validation=score, test=test, config=config)


def rate(choice: Choice) -> float:
    (found,) = {run.get("method.lr.prompt") for run in choice.runs}
    return float(found)


@pytest.mark.parametrize("order", [(0.1, 0.3), (0.3, 0.1)])
def test_of_equal_trials_the_earliest_is_chosen(tmp_path: Path, order: tuple[float, float]) -> None:
    for value in order:
        trial(tmp_path, value, {1: 0.7, 2: 0.8})
    runs = read_runs(tmp_path).runs
    runs.sort(key=lambda run: order.index(run.get("method.lr.prompt")))
    assert rate(choose(runs)) == order[0]
    later = [*runs[2:], *runs[:2]]
    assert rate(choose(later)) == order[1]


def test_a_trial_with_fewer_seeds_never_wins(tmp_path: Path) -> None:
    trial(tmp_path, 0.1, {1: 0.95})
    trial(tmp_path, 0.3, {1: 0.7, 2: 0.7, 3: 0.7})
    trial(tmp_path, 0.5, {1: 0.8, 2: 0.8, 3: 0.8})
    choice = choose(read_runs(tmp_path).runs)
    assert rate(choice) == 0.5 and len(choice.runs) == 3 and len(choice.trials) == 3
    assert "1 of 3 trials has fewer seeds" in choice.notes[0]
    table = build(free(read_runs(tmp_path).runs, "method", "task", {}), read_runs(tmp_path))
    assert any("fewer seeds" in note for note in table.footnotes())


def test_a_winner_that_was_rerun_is_not_beaten_by_a_lucky_single_seed(tmp_path: Path) -> None:
    for index in range(9):
        trial(tmp_path, 0.1 + index, {1: 0.6 + index / 100})
    trial(tmp_path, 50.0, {1: 0.7, 2: 0.5, 3: 0.5})
    assert rate(choose(read_runs(tmp_path).runs)) == 50.0


def test_fresh_seeds_stand_alone_and_do_not_choose(tmp_path: Path) -> None:
    trial(tmp_path, 0.1, {1: 0.9, 2: 0.9}, test=0.90)
    trial(tmp_path, 0.3, {1: 0.8, 2: 0.8}, test=0.85)
    before = build(free(read_runs(tmp_path).runs, "method", "task", {}), read_runs(tmp_path))
    assert any("optimistic" in text for text in before.caption) is False  # no spread, so no optimism to state
    trial(tmp_path, 0.1, {3: 0.1, 4: 0.1, 5: 0.1}, test=0.70, confirm=3)
    choice = choose(read_runs(tmp_path).runs)
    assert choice.confirmed and not choice.optimistic and [run.get("seed") for run in choice.runs] == [3, 4, 5]
    table = build(free(read_runs(tmp_path).runs, "method", "task", {}), read_runs(tmp_path))
    cell = table.rows[0].cells["task=demo/movie_reviews"]
    assert cell.value == pytest.approx(70.0) and cell.n == 3
    assert any("Confirmed" in text and "pt" in text for text in table.caption)
    trial(tmp_path, 0.5, {1: 0.99, 2: 0.99})
    later = choose(read_runs(tmp_path).runs)
    assert later.confirmed and rate(later) == 0.1 and any("ahead" in note for note in later.notes)


def test_a_single_fresh_seed_does_not_stand_alone(tmp_path: Path) -> None:
    trial(tmp_path, 0.1, {1: 0.9, 2: 0.9})
    trial(tmp_path, 0.3, {1: 0.8, 2: 0.8})
    trial(tmp_path, 0.1, {3: 0.1}, confirm=1)
    choice = choose(read_runs(tmp_path).runs)
    assert not choice.confirmed and [run.get("seed") for run in choice.runs] == [1, 2]
    assert len(trials(read_runs(tmp_path).runs)[0].fresh) + len(trials(read_runs(tmp_path).runs)[1].fresh) == 1


def test_the_optimism_of_a_winner_is_stated(tmp_path: Path) -> None:
    for value in (0.1, 0.2, 0.3, 0.4):
        for seed, score in ((1, 0.75), (2, 0.80), (3, 0.85)):
            write_run(tmp_path, "pt", seed=seed, validation=score + value / 100, test=score,
                      config={"method": {"lr": {"prompt": value}}})  # fmt: skip
    table = build(free(read_runs(tmp_path).runs, "method", "task", {}), read_runs(tmp_path))
    # best of four means of three seeds that spread by 5 points: 1.03 x 5 / sqrt 3
    assert any("up to 3.0 points (pt: best of 4 trials)" in text for text in table.caption)


COMMAND = [
    "method=pt,dept", "method.lr.prompt=0.1,0.3", "seed=1,2", "task=demo/movie_reviews", "data=fixture",
    "backbone=tiny_t5",
]  # fmt: skip


def write_point(root: Path, point: Point, score: float) -> None:
    names = {key: point.resolved[key]["name"] for key in ("method", "task", "backbone", "protocol")}
    write_run(root, names["method"], names["task"], point.resolved["seed"], validation=score, run_id=point.run_id,
              config=point.resolved, backbone=names["backbone"], protocol=names["protocol"])  # fmt: skip


def planned(root: Path, *more: str) -> Plan:
    return confirming(make_plan([*COMMAND, f"ledger.root={root}", *more]))


def test_confirm_plans_the_chosen_points_with_fresh_seeds(tmp_path: Path) -> None:
    plan = planned(tmp_path)
    assert len(plan.points) == 8 and not plan.problems
    assert "not done" in planned(tmp_path, "confirm=3").problems[0]
    for point in plan.points:
        write_point(tmp_path, point, 0.9 if point.resolved["method"]["lr"]["prompt"] == 0.3 else 0.6)
    again = planned(tmp_path, "confirm=3")
    assert not again.problems and len(again.points) == 6
    assert {p.resolved["method"]["lr"]["prompt"] for p in again.points} == {0.3}
    assert sorted(p.resolved["seed"] for p in again.points) == [3, 3, 4, 4, 5, 5]
    assert not {p.run_id for p in again.points} & {p.run_id for p in plan.points}
    for point in again.points:
        assert Run({"config": point.resolved}, Path(".")).confirming
        assert any(word.startswith("budget.confirm=") for word in point.overrides)
        write_point(tmp_path, point, 0.1)
    assert [p.run_id for p in planned(tmp_path, "confirm=3").points] == [p.run_id for p in again.points]
    done = [run for run in read_runs(tmp_path).runs if run.get("method") == "pt"]
    assert choose(done).confirmed and rate(choose(done)) == 0.3


@pytest.mark.parametrize(
    ("change", "identity", "apart"),
    [
        ({"runner": {"micro_batch": "auto", "version": 1}}, {}, False),  # how sums are made; a later option as it was
        ({"method": {"capabilities": {"packs": True}, "init_across": False}, "tracking": {"name": "none"}}, {}, False),
        ({"budget": {"kind": "lengths"}, "experiment": "other", "packed": None}, {}, False),
        ({"runner": {"version": 2}}, {}, True),
        ({"method": {"init_across": True}}, {}, True),
        ({}, {"contents": {"source": {"methods/pt.py": "edited"}}, "data": "a"}, True),
        ({}, {"contents": {}, "data": "b"}, True),
    ],
)
def test_seeds_are_one_trial_exactly_if_all_that_names_a_run_is_equal(
    tmp_path: Path, change: dict[str, Any], identity: dict[str, Any], apart: bool
) -> None:
    """A trial is what an id names, less the seed: also where the records are of different versions of the bench."""
    for seed in (1, 2, 3):
        write_run(tmp_path, "pt", seed=seed, identity={"contents": {}, "data": "a"})
    for seed in (4, 5):
        write_run(tmp_path, "pt", seed=seed, config=change, identity=identity or {"contents": {}, "data": "a"})
    found = trials(read_runs(tmp_path).runs)
    assert sorted(len(one.runs) for one in found) == ([2, 3] if apart else [5])


def test_a_sweep_over_what_is_not_tuned_has_a_best_point_of_each_setting(tmp_path: Path) -> None:
    from types import SimpleNamespace

    from runners.sweep import best_points

    ids = {}
    for protocol, base in (("carved", 0.6), ("lester", 0.8)):
        for length in (20, 60):
            config = {"protocol": {"name": protocol}, "method": {"prompt_length": length}}
            score = base + length / 1000
            ids[write_run(tmp_path, "pt", validation=score, test=score, config=config)] = (protocol, length)
    config = SimpleNamespace(ledger=SimpleNamespace(root=str(tmp_path)))
    points = [SimpleNamespace(run_id=run_id, config=config) for run_id in ids]
    plan = SimpleNamespace(points=points, label=lambda point, *_: f"length {ids[point.run_id][1]}")
    lines = best_points(plan)  # type: ignore[arg-type]
    assert len(lines) == 2 and all("best of 2 trials" in line and "length 60" in line for line in lines)
    assert any("(protocol=carved)" in line and "reported 66.0" in line for line in lines)
    assert choose(read_runs(tmp_path).runs).problem.startswith("its runs differ in what is not tuned: protocol (carved")
