"""Figures: which runs they show, what is drawn, and what they refuse."""

from __future__ import annotations

import itertools
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from results.plots import command, curves, gates, palette, pareto, runs, sensitivity, tuning
from tests.ledgers import make_ledger


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("ledger")
    make_ledger(
        root,
        runs=44,
        seed=3,
        methods=("pt", "dept", "apt"),
        tasks=("demo/movie_reviews",),
        learning_rates=(0.3, 0.03),
        lengths=(20, 60),
        failures=0.1,
        fixtures=0.1,
        broken=1,
    )
    return root


@pytest.fixture(scope="module")
def panel(root: Path) -> runs.Panel:
    found = runs.panels(runs.read(root, {})[0])
    return next(panel for panel in found if not panel.runs[0].is_fixture)


def test_fixture_and_failed_runs_stay_out_of_a_real_panel(root: Path, panel: runs.Panel) -> None:
    every, broken = runs.read(root, {})
    assert len(broken) == 1
    assert any(run.is_fixture for run in every) and any(not run.done for run in every)
    assert all(run.done and not run.is_fixture for run in panel.runs)


def test_best_is_the_grid_point_with_the_highest_validation_mean(panel: runs.Panel) -> None:
    best = panel.best("dept")
    assert best is not None
    points = panel.by_method()["dept"]
    most = max(len(point.runs) for point in points)  # a point with fewer seeds than its rivals never wins
    means = [point.mean("validation") for point in points if len(point.runs) == most]
    assert best.mean("validation") == max(mean for mean in means if mean is not None)
    assert {run.record["seed"] for run in best.runs} <= {1, 2, 3, 4, 5, 6}


def test_points_hold_runs_that_differ_by_seed_alone(panel: runs.Panel) -> None:
    for points in panel.by_method().values():
        for point in points:
            assert runs.differing(list(point.runs)) == []
    assert len({json.dumps(p.runs[0].config, sort_keys=True) for p in panel.by_method()["pt"]}) == 4


def test_several_zero_shot_runs_are_told_apart_by_what_differs(panel: runs.Panel) -> None:
    zero = next(run for run in panel.runs if run.method == "none")
    config = {**zero.config, "protocol": {**zero.config["protocol"], "label_words": "words"}}
    digits = {**zero.config, "protocol": {**zero.config["protocol"], "label_words": "digits"}}
    made = [runs.Seen({**zero.record, "config": one}, zero.folder) for one in (config, digits)]
    lines = runs.Panel(panel.task, panel.backbone, panel.protocol, made).baselines()
    assert sorted(lines) == ["zero-shot (digits)", "zero-shot (words)"]


def test_rules_are_scores_of_the_split_that_the_axis_has(panel: runs.Panel) -> None:
    """The untrained prompt's line on the validation axis was the reported split's score."""
    pt = next(run for run in panel.runs if run.method == "pt")
    metric, reported = pt.primary_metric, pt.primary_split
    assert reported != "validation"
    untrained = {"validation": {metric: 0.25}, reported: {metric: 0.75}}

    def rules(before: dict[str, Any], split: str | None) -> dict[str, float]:
        made = runs.Seen({**pt.record, "untrained_metrics": before}, pt.folder)
        return runs.Panel(panel.task, panel.backbone, panel.protocol, [made]).rules(split)

    assert rules(untrained, "validation") == {"untrained prompt": 0.25}
    assert rules(untrained, None) == {"untrained prompt": 0.75}
    assert rules({reported: {metric: 0.75}}, "validation") == {}  # none of another split stands in
    for run in panel.runs:
        if run.method == "majority":
            bare = runs.Seen({**run.record, "metrics": {reported: run.record["metrics"][reported]}}, run.folder)
            assert runs.Panel(panel.task, panel.backbone, panel.protocol, [bare]).rules("validation") == {}


@pytest.mark.parametrize(
    ("filters", "expected"),
    [
        ({"paper": ["demo"]}, {"demo"}),
        ({"experiment": ["dem"]}, set()),
        ({"method": ["pt", "apt"]}, {"demo"}),
        ({"method.prompt_length": ["20"]}, {"demo"}),
        ({"task": ["glue/rte"]}, set()),
    ],
)
def test_filters(root: Path, filters: dict[str, list[str]], expected: set[str]) -> None:
    found = runs.read(root, filters)[0]
    assert {run.record["experiment"] for run in found} == expected
    if "method" in filters:
        assert {run.method for run in found} == {"pt", "apt"}
    if "method.prompt_length" in filters:
        assert {run.options["method.prompt_length"] for run in found} == {20}


def test_a_paper_takes_all_experiments_under_it(panel: runs.Panel) -> None:
    run = panel.runs[0]
    seen = runs.Seen({**run.record, "experiment": "dept/table1"}, run.folder)
    assert runs.passes(seen, {"paper": ["dept"]})
    assert runs.passes(seen, {"paper": ["dept/table1"]})
    assert not runs.passes(seen, {"paper": ["dept/table"]})


def test_learning_rate_is_the_prompts_or_that_of_the_only_group(panel: runs.Panel) -> None:
    def rate(**groups: Any) -> float | None:
        record = {**panel.runs[0].record, "config": {"method": {"lr": groups}}}
        return runs.Seen(record, panel.runs[0].folder).learning_rate()

    assert rate(prompt=0.3, offset=0.001) == 0.3
    assert rate(weights=0.0005) == 0.0005
    assert rate(gate=0.01, head=0.02, prefix=0.03) == 0.03
    assert rate(head=0.02) == 0.02
    assert rate() is None


def test_mean_curve_takes_only_steps_that_every_seed_has() -> None:
    mean = curves.mean_curve([[(0, 1.0), (10, 3.0)], [(0, 3.0)], []])
    assert mean == [(0, 2.0)]


def test_smooth_keeps_a_constant_and_does_not_start_at_zero() -> None:
    assert [value for _, value in curves.smooth([(i, 2.0) for i in range(5)])] == pytest.approx([2.0] * 5)
    assert curves.smooth([]) == []


places = st.lists(st.tuples(st.floats(0, 10), st.floats(0, 100)), max_size=15)


@given(places, st.booleans())
def test_front_holds_exactly_what_no_other_place_beats(found: list[tuple[float, float]], more: bool) -> None:
    sign = -1 if more else 1

    def beaten(place: tuple[float, float]) -> bool:
        x, y = place
        return any(
            sign * a <= sign * x and b >= y and (sign * a < sign * x or b > y) for a, b in found if (a, b) != place
        )

    assert set(pareto.front(found, more_is_better=more)) == {place for place in found if not beaten(place)}


def test_sensitivity_dots_are_every_seed_in_points(panel: runs.Panel) -> None:
    members = [run for run in panel.trained if run.method == "pt"]
    dots = sensitivity.by_value(members, runs.Seen.prompt_length)
    assert list(dots) == [20.0, 60.0]
    assert sum(map(len, dots.values())) == len(members)
    assert all(20 < score <= 100 for scores in dots.values() for score in scores)


def test_gates_are_averaged_over_the_seeds_of_one_grid_point(panel: runs.Panel) -> None:
    chosen = gates.chosen(panel, runs.Seen.gates)
    tokens, layers, ids = gates.mean_gates(chosen)
    assert ids == [run.id for run in chosen] and layers is not None
    expected = np.mean([run.gates()["layers"] for run in chosen], axis=0)  # type: ignore[index]
    np.testing.assert_allclose(tokens, expected)
    assert layers.shape == (tokens.shape[0],)


@pytest.mark.parametrize("kind", sorted(command.KINDS))
def test_every_kind_writes_a_png_and_a_pdf(
    kind: str, root: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert command.main([kind, "paper=demo", f"out={tmp_path}", f"ledger.root={root}"]) == 0
    png, pdf = tmp_path / f"{kind}.png", tmp_path / f"{kind}.pdf"
    assert png.read_bytes()[:4] == b"\x89PNG" and pdf.read_bytes()[:4] == b"%PDF"
    printed = capsys.readouterr()
    assert printed.out.split() == [str(png), str(pdf)]
    assert "broken000000" in printed.err


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["curve"], "Did you mean curves"),
        (["curves", "rte"], "key=value"),
        (["pareto", "points=some"], "best and all"),
        (["curves", "task=glue/qqp"], "make demo"),
    ],
)
def test_mistakes_are_refused_with_a_way_on(
    arguments: list[str], said: str, root: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    extra = [f"ledger.root={root}", f"out={tmp_path}"]
    assert command.main([*arguments, *extra]) == 2
    assert said in capsys.readouterr().err


def test_colours_and_markers_of_known_methods_differ() -> None:
    assert len(set(palette.COLOURS.values())) == len(palette.COLOURS)
    assert len(set(palette.MARKERS.values())) == len(palette.MARKERS)
    assert palette.colour("something_new") == palette.colour("something_new")


def test_the_figures_import_neither_torch_nor_transformers() -> None:
    code = (
        "import sys, results.plots.command, results.plots.curves, results.plots.gates, results.plots.pareto, "
        "results.plots.sensitivity; print([m for m in ('torch', 'transformers', 'datasets') if m in sys.modules])"
    )
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert ran.stdout.strip() == "[]"


@pytest.mark.parametrize("count", [1, 2, 5])
def test_the_expected_best_of_trials_is_that_of_draws_with_replacement(count: int) -> None:
    scores = [0.4, 0.9, 0.7, 0.7]
    draws = list(itertools.product(scores, repeat=count))
    mean = sum(max(draw) for draw in draws) / len(draws)
    assert tuning.expected_best(scores, count) == pytest.approx(mean)


@pytest.mark.parametrize("kind", [curves, pareto, sensitivity])
def test_no_tick_shows_the_source_of_a_formula(
    panel: runs.Panel, kind: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Mathematics is off in texts (a dollar in a name is one): a logarithmic axis as it comes prints its source."""
    from matplotlib.text import Text

    from results.plots import style

    seen: list[str] = []

    def look(figure: Any, *_: Any) -> list[Path]:
        figure.canvas.draw()
        seen.extend(text.get_text() for text in figure.findobj(Text))
        return []

    monkeypatch.setattr(style, "save", look)
    kind.draw(panel, tmp_path, "figure")
    assert len(seen) > 10 and not [text for text in seen if "math" in text or "$" in text]
