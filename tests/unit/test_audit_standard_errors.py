"""Every standard error of the audit against simulation (fixed seeds, bounds from the Monte-Carlo error)."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from results.audit import standard_errors
from results.audit.pairs import two_sided
from results.audit.standard_errors import Range, Training
from results.statistics import expected_best

DRAWS = 20_000
# the standard deviation of N draws is known to 1 part in sqrt(2 N); four of these, 2%
MONTE_CARLO = 4.0 / math.sqrt(2 * DRAWS)


def generator(seed: int) -> np.random.Generator:
    return np.random.default_rng(seed)


@pytest.mark.parametrize("p", [0.0, 0.02, 0.5, 0.85, 1.0])
@pytest.mark.parametrize("n", [28, 1635])
def test_accuracy(p: float, n: int) -> None:
    seen = generator(1).binomial(n, p, DRAWS).std() / n
    assert seen == pytest.approx(standard_errors.accuracy(p, n), rel=MONTE_CARLO, abs=1e-12)


def test_accuracy_at_the_ends_is_never_certain() -> None:
    assert standard_errors.accuracy(1.0, 28) == standard_errors.accuracy(0.0, 28) == 0.0
    one_off = standard_errors.accuracy(27 / 28, 28)
    assert standard_errors.accuracy_floored(1.0, 28) == pytest.approx(one_off)
    assert standard_errors.accuracy_floored(0.0, 28) == pytest.approx(one_off)
    assert standard_errors.accuracy_floored(0.5, 28) == standard_errors.accuracy(0.5, 28)
    assert standard_errors.accuracy_floored(1.0, 1) == 0.5
    for wrong in ((-0.1, 10), (1.1, 10), (0.5, 0)):
        with pytest.raises(ValueError):
            standard_errors.accuracy(*wrong)


def test_a_mean_of_runs_lies_between_the_error_and_it_over_root_r() -> None:
    """R runs that share their hard examples: the mean of their accuracies moves with the test set."""
    rng, n, runs = generator(2), 300, 5
    easy = rng.beta(8, 2, size=(4000, n, 1))
    mean = (rng.random((4000, n, runs)) < easy).mean(axis=(1, 2))
    single = standard_errors.accuracy(0.8, n)
    slack = 4.0 / math.sqrt(2 * 4000)
    assert single / math.sqrt(runs) * (1 - slack) <= mean.std() <= single * (1 + slack)


def _tables(shares: list[float], n: int, seed: int) -> np.ndarray:
    """DRAWS tables of (gold and answered, gold only, answered only, neither)."""
    return generator(seed).multinomial(n, shares, DRAWS)


@pytest.mark.parametrize("shares", [[0.33, 0.1, 0.09, 0.48], [0.5, 0.05, 0.2, 0.25], [0.1, 0.02, 0.03, 0.85]])
def test_f1_of_one_class(shares: list[float]) -> None:
    n = 2424
    tp, fn, fp, _ = _tables(shares, n, 3).T
    total = n * (2 * shares[0] + shares[1] + shares[2])
    f = 2 * n * shares[0] / total
    seen = (2 * tp / (2 * tp + fn + fp)).std()
    assert seen == pytest.approx(math.sqrt(f * (1 - f) * (2 - f) / total), rel=MONTE_CARLO + 0.01)
    held = standard_errors.f1_of_class(f, round(n * (shares[0] + shares[1])), n)
    assert held.low * (1 - MONTE_CARLO) <= seen <= held.high * (1 + MONTE_CARLO)


@settings(max_examples=300, deadline=None, derandomize=True)
@given(st.integers(0, 60), st.integers(0, 60), st.integers(0, 60), st.integers(0, 60))
def test_f1_totals_hold_every_table(tp: int, fn: int, fp: int, tn: int) -> None:
    n, positives, total = tp + fn + fp + tn, tp + fn, 2 * tp + fn + fp
    if not positives or not total:
        return
    f = 2 * tp / total
    least, greatest = standard_errors.f1_totals(f, positives, n)
    assert least - 1e-9 <= total <= greatest + 1e-9
    if f < 1:
        held = standard_errors.f1_of_class(f, positives, n)
        assert held.low <= math.sqrt(f * (1 - f) * (2 - f) / total) + 1e-12
        assert math.sqrt(f * (1 - f) * (2 - f) / total) <= held.high + 1e-12


def test_f1_at_the_ends() -> None:
    assert standard_errors.f1_of_class(0.0, 40, 100) == Range(0.0, 0.0)
    assert standard_errors.f1_of_class(1.0, 40, 100) == Range(0.0, 0.0)
    for positives in (0, 101):
        with pytest.raises(ValueError, match="positives"):
            standard_errors.f1_of_class(0.5, positives, 100)


@pytest.mark.parametrize("shares", [[0.62, 0.07, 0.1, 0.21], [0.3, 0.2, 0.2, 0.3], [0.85, 0.05, 0.04, 0.06]])
def test_matthews(shares: list[float]) -> None:
    n = 2000
    tp, fn, fp, tn = (column.astype(float) for column in _tables(shares, n, 4).T)
    seen = ((tp * tn - fp * fn) / np.sqrt((tp + fn) * (tp + fp) * (tn + fp) * (tn + fn))).std()
    a, b, c, d = shares
    f = (a * d - c * b) / math.sqrt((a + b) * (a + c) * (d + c) * (d + b))
    assert seen == pytest.approx(standard_errors.matthews(f, n, (a + b, c + d), (a + c, b + d)), rel=MONTE_CARLO + 0.02)


def test_matthews_of_cola() -> None:
    """The worked example: half of CoLA's dev set, f = .6, margins of the answers taken as gold's: 3.8 points."""
    assert 100 * standard_errors.matthews(0.6, 522, (160, 362)) == pytest.approx(3.8, abs=0.05)
    assert standard_errors.matthews(1.0, 522, (160, 362)) == pytest.approx(0.0, abs=1e-9)
    with pytest.raises(ValueError, match="margin"):
        standard_errors.matthews(0.6, 522, (0, 522))


@pytest.mark.parametrize("r", [0.0, 0.5, 0.9])
def test_correlations(r: float) -> None:
    from scipy.stats import rankdata

    rng, n, draws = generator(5), 200, 4000
    x = rng.standard_normal((draws, n))
    y = r * x + math.sqrt(1 - r * r) * rng.standard_normal((draws, n))
    slack = 4.0 / math.sqrt(2 * draws)

    def of(a: np.ndarray, b: np.ndarray) -> np.ndarray:
        a, b = a - a.mean(axis=1, keepdims=True), b - b.mean(axis=1, keepdims=True)
        return (a * b).sum(axis=1) / np.sqrt((a * a).sum(axis=1) * (b * b).sum(axis=1))

    pearson = of(x, y)
    assert np.arctanh(pearson).std() == pytest.approx(standard_errors.fisher_error(n), rel=slack)
    assert pearson.std() == pytest.approx(standard_errors.correlation(r, n), rel=slack + 0.01)
    if r < 0.9:  # 1.03 is Fieller's, made for moderate correlations
        ranked = np.arctanh(of(rankdata(x, axis=1), rankdata(y, axis=1)))
        assert ranked.std() == pytest.approx(standard_errors.fisher_error(n, rank=True), rel=slack + 0.02)
    with pytest.raises(ValueError):
        standard_errors.fisher_z(1.0)


def test_token_f1_is_between_its_bounds_and_both_are_reached() -> None:
    rng, n, exact, mean = generator(6), 674, 0.5, 0.7
    rest = (mean - exact) / (1 - exact)
    hit = rng.random((DRAWS // 4, n)) < exact
    slack = 4.0 / math.sqrt(2 * DRAWS / 4)
    held = standard_errors.token_f1(mean, n, exact)
    least = np.where(hit, 1.0, rest).mean(axis=1).std()
    assert least == pytest.approx(held.low, rel=slack)
    middle = np.where(hit, 1.0, rng.beta(2, 3, hit.shape)).mean(axis=1).std()
    assert held.low * (1 - slack) <= middle <= held.high * (1 + slack)
    most = (rng.random((DRAWS // 4, n)) < mean).mean(axis=1).std()
    assert most == pytest.approx(held.high, rel=slack)
    assert standard_errors.token_f1(mean, n).low == 0.0 and standard_errors.token_f1(mean, n).high == held.high
    assert standard_errors.token_f1(1.0, n, 1.0) == Range(0.0, 0.0)
    with pytest.raises(ValueError, match="exact match"):
        standard_errors.token_f1(0.5, n, 0.6)


def test_a_printed_spread_and_satterthwaite() -> None:
    """Two equal methods, three seeds each, a test set each sees alike: the test errs at about its level."""
    rng, n, runs, sd, draws = generator(8), 300, 3, 0.03, 20_000
    test = standard_errors.accuracy(0.8, n)
    noise = rng.normal(0, test, (2, draws))
    scores = 0.8 + noise[..., None] + rng.normal(0, sd, (2, draws, runs))
    d = scores.mean(axis=2)[0] - scores.mean(axis=2)[1]
    spread = scores.std(axis=2, ddof=1)
    assert d.std() == pytest.approx(math.sqrt(2 * (test**2 + sd**2 / runs)), rel=4 / math.sqrt(2 * draws))
    rejected = 0
    for i in range(4000):
        own = [Training(float(spread[k, i]), runs, "sd", "n-1").variances()[0] for k in (0, 1)]
        parts = [(test**2, n - 1.0)] * 2 + [(variance, runs - 1.0) for variance in own]
        total = math.sqrt(sum(variance for variance, _ in parts))
        rejected += two_sided(float(d[i]), total, standard_errors.satterthwaite(parts)) < 0.05
    lower = rejected / 4000 - 2.576 * math.sqrt(0.05 * 0.95 / 4000)
    assert lower <= 0.05 and rejected / 4000 >= 0.02


def test_readings_of_a_spread() -> None:
    sd = Training(0.02, 4, "sd", "n-1").variances()
    assert sd == (pytest.approx(0.0001), pytest.approx(0.0001))
    assert Training(0.02, 4, "sd").variances()[0] == pytest.approx(0.0001 * 4 / 3)
    assert Training(0.02, 4, "se").variances() == (0.0004, 0.0004)
    low, high = Training(0.02, 4).variances()
    assert (low, high) == (pytest.approx(0.0001 * 4 / 3), pytest.approx(0.0004))
    with pytest.raises(ValueError, match="at least 2"):
        Training(0.02, 1).variances()
    assert standard_errors.satterthwaite([(1.0, math.inf)]) == math.inf
    assert standard_errors.satterthwaite([(1.0, 2.0), (0.0, 5.0)]) == pytest.approx(2.0)
    assert standard_errors.satterthwaite([(1.0, 2.0), (1.0, 2.0)]) == pytest.approx(4.0)


def test_average_over_tasks_counts_a_shared_set_once() -> None:
    rng = generator(9)
    cells = [("rte", 0.7, 139), ("mrpc", 0.9, 204), ("rte", 0.7, 139), ("cb", 0.85, 28)]
    drawn = {name: rng.binomial(n, p, DRAWS) / n for name, p, n in cells}
    seen = np.mean([drawn[name] for name, _, _ in cells], axis=0).std()
    held = standard_errors.average([(name, standard_errors.accuracy(p, n)) for name, p, n in cells])
    assert seen == pytest.approx(held, rel=MONTE_CARLO)
    assert standard_errors.average([("a", 0.1), ("b", 0.1)]) == pytest.approx(0.1 / math.sqrt(2))
    with pytest.raises(ValueError):
        standard_errors.average([])


@pytest.mark.parametrize(("runs", "factor"), [(1, 0.0), (3, 0.85), (5, 1.16), (10, 1.54)])
def test_optimism_of_the_best_run(runs: int, factor: float) -> None:
    assert expected_best(runs) == pytest.approx(factor, abs=0.01)
    seen = generator(10).standard_normal((DRAWS, runs)).max(axis=1).mean()
    assert expected_best(runs) == pytest.approx(seen, abs=4 / math.sqrt(DRAWS))
