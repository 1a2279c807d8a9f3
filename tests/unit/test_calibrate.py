"""The simulation that says how often verdicts are wrong: its lines, its own arithmetic, and a small grid of it."""

from __future__ import annotations

import re

import numpy as np
import pytest
from scipy import stats

from scripts import calibrate


def test_lines_are_those_that_are_promised(capsys: pytest.CaptureFixture[str]) -> None:
    assert calibrate.main(["trials=20", "seeds=3", "n=56", "sd=5", "metric=accuracy"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert re.fullmatch(r"false_different seeds=3 n=56 sd=5 metric=accuracy rate=0\.\d{3} se=0\.\d{3}", lines[0])
    assert lines[1].startswith("coverage seeds=3") and lines[2].startswith("power seeds=3")
    assert re.match(r"family methods=9 seeds=3 n=300 sd=5 any_false_bold=0\.\d{3} ", lines[3])
    assert lines[-1] == "cells=1 failed=0"
    assert calibrate.main(["sedes=3"]) == 2


def test_bounds_are_clopper_and_pearsons() -> None:
    for count, trials in ((0, 50), (3, 50), (49, 50), (50, 50)):
        assert calibrate.lower_bound(count, trials) == pytest.approx(
            stats.beta.ppf(0.01, count, trials - count + 1) if count else 0.0, abs=1e-6
        )
        assert calibrate.upper_bound(count, trials) == pytest.approx(
            stats.beta.ppf(0.99, count + 1, trials - count) if count < trials else 1.0, abs=1e-6
        )


@pytest.mark.parametrize(("share", "sd"), [(0.8, 0.05), (0.8, 0.1), (0.75, 0.0)])
def test_methods_have_the_share_and_the_spread_that_is_said(share: float, sd: float) -> None:
    random = np.random.default_rng(0)
    case = calibrate.Case(400, 1500, 100 * sd, "accuracy", 1)
    (cell,) = calibrate.runs([calibrate.SimulatedMethod(share, sd)], case, random)
    assert cell.scores.mean() == pytest.approx(share, abs=0.03)
    own = cell.scores.var(ddof=1) - share * (1 - share) / 1500
    assert np.sqrt(max(own, 0.0)) == pytest.approx(sd, abs=0.012)


@pytest.mark.parametrize("metric", ["accuracy", "f1_macro", "f1_entities"])
def test_the_true_score_is_what_many_examples_give(metric: str) -> None:
    random = np.random.default_rng(1)
    method = calibrate.SimulatedMethod(0.8, 0.05)
    (cell,) = calibrate.runs([method], calibrate.Case(60, 4000, 5, metric, 1), random)
    assert calibrate.true_score(metric, method) == pytest.approx(cell.scores.mean(), abs=0.025)


def test_a_check_that_fails_says_so(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(calibrate, "LIMIT", -1.0)
    assert calibrate.pair_lines(calibrate.Case(3, 56, 5, "accuracy", 5))[0][1]


@pytest.mark.slow
def test_the_small_grid_holds(capsys: pytest.CaptureFixture[str]) -> None:
    assert calibrate.main(["small"]) == 0
    assert capsys.readouterr().out.splitlines()[-1] == "cells=24 failed=0"
