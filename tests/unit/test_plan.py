"""The planner: grids become named points, bad points are all said, nothing heavy is loaded."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from conf.compose import parse
from conf.grid import as_text, expand, space_of, swept, trials
from conf.plan import Plan, is_sweep, make_plan
from conf.resolve import ConfigError
from results.ledger import Ledger
from results.tables.layout import load
from runners.survey import Clock, PointState, hours_text, show, summary, survey

ROOT = Path(__file__).resolve().parents[2]
TINY = ["backbone=tiny_llama", "task=demo/movie_reviews", "data=fixture", "runner=smoke"]


def planned(*overrides: str) -> Plan:
    plan = make_plan([*TINY, *overrides])
    assert plan.problems == []
    return plan


def chosen(plan: Plan, *keys: str) -> list[tuple[str, ...]]:
    return [tuple(point.chosen.get(key, "") for key in keys) for point in plan.points]


@settings(max_examples=15, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(
    rates=st.lists(st.floats(1e-5, 10).map(lambda x: float(f"{x:.2g}")), min_size=1, max_size=4, unique=True),
    seeds=st.integers(1, 4),
)
def test_comma_lists_and_ranges_multiply_out_in_the_order_of_a_nested_loop(rates: list[float], seeds: int) -> None:
    parsed, problems = parse([f"method.lr.prompt={','.join(map(str, rates))}", f"seed=range(0,{seeds})"])
    assert problems == []
    found = [(float(p["method.lr.prompt"]), int(p["seed"])) for p in swept(parsed)]
    assert found == [(rate, seed) for rate in rates for seed in range(seeds)]


def test_globs_run_over_the_options_of_a_group() -> None:
    parsed, _ = parse(["task=glob(superglue/w*)"])
    assert [p["task"] for p in swept(parsed)] == ["superglue/wic", "superglue/wsc", "superglue/wsc_fixed"]


def test_intervals_and_globs_without_a_match_are_said() -> None:
    parsed, _ = parse(["seed=interval(0,1)", "task=glob(nothing*)"])
    with pytest.raises(ConfigError) as caught:
        swept(parsed)
    assert len(caught.value.problems) == 2


def test_paired_and_conditional_grids() -> None:
    plan = planned("+sweep=prompt_length", "method=pt,dept,none")
    dept = [c[1:] for c in chosen(plan, "method", "method.prompt_length", "method.rank") if c[0] == "dept"]
    assert dept == [("20", "60"), ("40", "45"), ("60", "30"), ("80", "15")]
    assert len([c for c in chosen(plan, "method") if c[0] == "pt"]) == 5
    assert len([c for c in chosen(plan, "method") if c[0] == "none"]) == 1


def test_a_grid_that_does_nothing_says_so() -> None:
    plan = planned("+sweep=prompt_length", "method=lora,pt")
    assert len(plan.points) == 6 and plan.notes == [
        "method=lora has no prompt or prefix length to vary: it stays one point"
    ]
    assert "one point" in " ".join(planned("+sweep=prompt_length", "method=lora").notes)
    assert "nothing left to vary" in " ".join(planned("+sweep=lr", "method=ia3").notes)
    assert "trains nothing" in " ".join(planned("+sweep=fair_8", "method=none,pt").notes)
    assert "nothing varies" in " ".join(planned("method=pt").notes)
    assert planned("method=pt", "seed=1,2").notes == []


@pytest.mark.parametrize("key", ["+sweep=prompt_length", "+sweep=lr_x_length"])
def test_lengths_are_asked_of_the_method(key: str) -> None:
    """No method is named in a grid: one of your own with a prompt length is varied as the others are."""
    plan = planned(key, "method=prefix,p_tuning,mpt,accept")
    lengths = {
        name: sorted({int(p.config.method[option]) for p in plan.points if p.config.method["name"] == name})
        for name, option in [
            ("prefix", "prefix_length"),
            *((n, "prompt_length") for n in ("p_tuning", "mpt", "accept")),
        ]
    }
    all_of_them = key == "+sweep=prompt_length"
    assert lengths["prefix"] == ([8, 16, 32, 64, 128] if all_of_them else [8, 32, 128])
    assert lengths["p_tuning"] == lengths["mpt"] == ([20, 40, 60, 80, 100] if all_of_them else [20, 60, 100])
    assert lengths["accept"] == ([20, 40, 60, 80] if all_of_them else [20, 40, 80])


def test_a_method_that_needs_a_source_is_refused_without_one() -> None:
    assert "init_from" in make_plan([*TINY, "method=spot"]).problems[0]
    (problem,) = make_plan([*TINY, "method=spot", "method.init_from=0123"]).problems  # its content names the run
    assert "0 runs begin so" in problem


def test_what_the_command_line_chooses_wins_over_a_grid() -> None:
    plan = planned("+sweep=prompt_length", "method=dept", "method.prompt_length=40")
    assert chosen(plan, "method.prompt_length", "method.rank") == [("40", "45")]
    plan = planned("+sweep=prompt_length", "method=dept", "method.rank=7")
    assert [c[0] for c in chosen(plan, "method.prompt_length", "method.rank")] == ["20", "40", "60", "80"]
    assert {c[1] for c in chosen(plan, "method.prompt_length", "method.rank")} == {"7"}


def test_grids_on_the_command_line() -> None:
    plan = planned("method=dept", "+sweep.pairs={method.prompt_length:[3,4],method.rank:[2,1]}")
    assert chosen(plan, "method.prompt_length", "method.rank") == [("3", "2"), ("4", "1")]


def test_a_grid_that_is_not_well_formed() -> None:
    with pytest.raises(ConfigError, match="one length"):
        expand({"pairs": {"seed": [1, 2], "method.rank": [1]}}, {}, [])
    with pytest.raises(ConfigError, match="grdi"):
        expand({"grdi": {}}, {}, [])


def test_equal_tuning_gives_every_method_the_same_number_of_trials() -> None:
    plan = planned("+sweep=fair_8", "method=pt,dept,adept,majority")
    counts = {m: sum(c == (m,) for c in chosen(plan, "method")) for m in ("pt", "dept", "adept", "majority")}
    assert counts == {"pt": 8, "dept": 8, "adept": 8, "majority": 1}
    again = planned("+sweep=fair_8", "method=pt,dept,adept,majority")
    assert [p.run_id for p in again.points] == [p.run_id for p in plan.points]
    other = planned("+sweep=fair_8", "method=dept", "budget.seed=1")
    assert {p.run_id for p in other.points} != {p.run_id for p in plan.points if p.config.method["name"] == "dept"}


@pytest.mark.parametrize("count", [1, 3, 8, 20])
def test_trials_lie_in_the_methods_own_space(count: int) -> None:
    from conf.compose import compose_raw

    base = {"method": "pt", "backbone": "tiny_llama"}
    space = space_of(compose_raw([f"{k}={v}" for k, v in base.items()]))["method.lr.prompt"]
    found = [float(p["method.lr.prompt"]) for p in trials(count, base, [])]
    assert len(found) == len(set(found)) == count
    assert all(min(space) <= value <= max(space) for value in found)
    assert found[0] == 0.01, "the method's default is the first trial"
    if count >= len(space):
        assert set(space) <= set(found), "all listed values come before any other"


def test_a_method_without_a_space_cannot_be_tuned_equally() -> None:
    with pytest.raises(ConfigError, match="no space"):
        trials(4, {"method": "pt", "backbone": "tiny_llama", "method.lr.prompt": "1"}, ["method.lr.prompt"])


def test_every_bad_point_is_said_at_once() -> None:
    plan = make_plan([*TINY, "method=pt,dpt", "method.lr.promt=0.1", "seed=1,x"])
    text = "\n".join(plan.problems)
    assert "dpt" in text and "promt" in text and "seed='x'" in text
    assert "Did you mean dept" in text


def test_points_that_differ_in_nothing_that_counts_are_one_run() -> None:
    plan = planned("method=pt", "runner.log_every=1,2", "seed=1,2")
    assert len(plan.points) == 2 and plan.repeated == 2


def test_points_with_one_backbone_stand_together() -> None:
    plan = make_plan(["method=pt", *TINY[1:], "seed=1,2", "backbone=tiny_llama,tiny_t5"])
    assert [point.config.backbone.name for point in plan.points] == ["tiny_llama"] * 2 + ["tiny_t5"] * 2


def test_what_is_a_sweep_without_m() -> None:
    assert is_sweep(["+sweep=lr"]) and is_sweep(["budget.trials=3"]) and is_sweep(["experiment=dept/table1"])
    assert not is_sweep(["experiment=demo"]) and not is_sweep(["method=dept"])


@pytest.mark.parametrize("value", [True, None, 3, 0.0005, "glue/cola", "a b, c", [1, 2], {"a": 1}])
def test_values_of_a_yaml_come_back_from_the_command_line(value: object) -> None:
    (override,), problems = parse([f"key={as_text(value)}"])
    assert problems == [] and override.value() == value


def test_states_hours_and_commands(tmp_path: Path) -> None:
    plan = planned("method=pt", "seed=1,2,3,4", f"ledger.root={tmp_path}")
    done, failed, killed, _ = plan.points
    base = {"backbone": "tiny_llama", "task": "demo/movie_reviews", "method": "pt", "steps": 4, "config": done.resolved}
    ledger = Ledger(tmp_path)
    scores = {"metrics": {"test": {"accuracy": 0.75}}, "primary_metric": "accuracy", "primary_split": "test"}
    ledger.run(done.run_id).write_record({**base, **scores, "run_id": done.run_id, "status": "done", "wall_seconds": 8})
    ledger.run(failed.run_id).write_record({**base, "run_id": failed.run_id, "status": "failed", "reason": "it broke"})
    ledger.run(killed.run_id).write_record({**base, "run_id": killed.run_id, "status": "running"})
    states = survey(plan)
    assert [state.status for state in states] == ["done", "failed", "interrupted", "missing"]
    assert states[0].score == 0.75
    assert states[3].measured and states[3].hours == pytest.approx(8 / 3600)
    text = show(plan, states)
    assert all(point.run_id in text for point in plan.points) and "75.0" in text
    lines = "\n".join(summary(plan, states))
    assert "4 points: 1 done, 1 failed, 1 interrupted, 1 missing" in lines
    assert "it broke" in lines and "retry_failed=true" in lines and "run.py -m" in lines


def test_packed_runs_do_not_count_as_measured() -> None:
    record = {"status": "done", "steps": 10, "wall_seconds": 5.0, "backbone": "tiny_llama", "method": "pt", "task": "t"}
    (point,) = planned("method=pt").points
    assert Clock([record]).seconds(point) == (0.5 * 4, True)
    assert Clock([{**record, "packed": {"size": 2}}]).seconds(point)[1] is False


TABLES = sorted(
    str(p.relative_to(ROOT / "conf/experiment").with_suffix("")) for p in ROOT.glob("conf/experiment/*/*.yaml")
)


@pytest.mark.parametrize(
    "table", [t if t == "dept/table1" else pytest.param(t, marks=pytest.mark.slow) for t in TABLES]
)
def test_tables_compose_and_keep_to_the_released_settings(table: str) -> None:
    plan = make_plan([f"experiment={table}", "data=fixture"])
    if table == "dept/released":  # scores the authors' files, which are not at hand: it asks for them
        assert plan.problems and all("released.root=" in problem for problem in plan.problems)
        return
    assert plan.problems == [] and plan.points
    assert all(point.config.fidelity == "author" for point in plan.points)
    assert all(point.resolved["experiment"] == table for point in plan.points)
    if table == "dept/table1":
        cola = next(p for p in plan.points if (p.chosen["method"], p.chosen["task"]) == ("dept", "glue/cola"))
        assert (cola.config.method["prompt_length"], cola.config.method["rank"]) == (80, 15)
        assert cola.config.runner.max_steps == 40000
        assert len(plan.points) == 26


@pytest.mark.parametrize(
    ("experiment", "table"), [("dept/table1", "1"), ("accept/table_a1", "A1"), ("adept/table3", "3")]
)
def test_what_a_papers_sweep_runs_has_a_column_in_its_table(experiment: str, table: str) -> None:
    plan = make_plan([f"experiment={experiment}", "data=fixture"])
    columns = {column.where.get("task") for column in load(experiment.split("/")[0], table).columns}
    assert plan.problems == [] and {point.config.task.name for point in plan.points} <= columns


def test_a_plan_is_shown_where_no_data_can_be_reached(monkeypatch: pytest.MonkeyPatch) -> None:
    """Grid, hours and commands, `id unknown` beside the data; a run of the same grid is refused."""
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    grid = ["backbone=tiny_t5", "task=glue/rte,demo/movie_reviews", "method=pt,dept", "runner=smoke", "data=auto"]
    plan = make_plan([*grid, "plan=true"])
    assert plan.problems == [] and len(plan.points) == 4
    away = [point for point in plan.points if point.unreachable]
    assert [point.config.task.name for point in away] == ["glue/rte", "glue/rte"]
    assert len({point.run_id for point in plan.points}) == 4
    states = survey(plan)
    text = show(plan, states)
    assert text.count("id unknown") == 2 and "2 missing, 2 not reachable from here" in text
    assert "data not reachable from here: glue/rte" in text and "fill it:" in text and "about" in text
    assert all(state.hours and state.hours > 0 for state in states)
    refused = make_plan(grid)
    assert len(refused.points) == 2 and any("cannot be reached" in problem for problem in refused.problems)


def test_planning_loads_neither_torch_nor_transformers() -> None:
    code = (
        "import sys; from runners.sweep import main; "
        f"main({[*TINY, 'method=pt,dept', '+sweep=lr', 'plan=true', 'hydra/launcher=packed']!r}); "
        "sys.exit(bool({'torch', 'transformers', 'datasets'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert "16 points" in done.stdout or "points:" in done.stdout


def test_hours_that_are_not_known_are_no_zero(tmp_path: Path) -> None:
    """What is scored as it is takes no steps: `about 0 minutes, from measured steps` was said of it."""
    plan = planned("method=none", f"ledger.root={tmp_path}")
    states = survey(plan)
    assert states[0].hours is None and not states[0].measured
    text = show(plan, states)
    assert "hours not known" in text and "?" in text and "0 minutes" not in text
    mixed = planned("method=none,pt", f"ledger.root={tmp_path}")
    assert "1 of 2 points not counted" in hours_text(survey(mixed))


def test_measured_steps_are_scaled_to_the_batch() -> None:
    record = {"status": "done", "steps": 10, "wall_seconds": 5.0, "backbone": "tiny_llama", "method": "pt", "task": "t"}
    (point,) = planned("method=pt", "runner.batch_size=8").points
    assert Clock([{**record, "config": {"runner": {"batch_size": 2}}}]).seconds(point) == (0.5 * 4 * 4, True)
    assert Clock([{**record, "config": {"runner": {"batch_size": 8}}}]).seconds(point) == (0.5 * 4, True)


def test_a_long_guess_on_a_cpu_says_what_it_is_on_a_gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    state = PointState("missing", 7500.0, False)
    monkeypatch.setattr("runners.survey.device", lambda: "CPU")
    assert "about 7,500 hours" in hours_text([state]) and "on a GPU of 30 TFLOP/s: about 100 hours" in hours_text(
        [state]
    )
    assert "TFLOP" not in hours_text([PointState("missing", 7500.0, True)])  # measured here: no guess to convert
    monkeypatch.setattr("runners.survey.device", lambda: "GPU")
    assert "TFLOP" not in hours_text([state])
