"""Statistics: intervals, exact tests, corrections and power against scipy; metrics as sums against the tasks' own."""

from __future__ import annotations

import itertools
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from results.statistics import (
    detectable,
    deviation,
    expected_best,
    fewest_discordant,
    holm,
    least_share,
    minimal_detectable_difference,
    proportion_error,
    student_p,
    t_quantile,
)
from tasks import scoring
from tasks.metrics import sums_of
from tests.unit.results_fixtures import mcnemar


def test_a_deviation_needs_two_values() -> None:
    assert deviation([81.2]) is None and deviation([81.2, 83.2]) == pytest.approx(2**0.5)


@given(st.lists(st.floats(0, 1), min_size=1, max_size=12))
def test_holm_is_monotone_and_between_raw_and_bonferroni(p_values: list[float]) -> None:
    adjusted = holm(p_values)
    for p, q in zip(p_values, adjusted, strict=True):
        assert p - 1e-12 <= q <= min(1.0, len(p_values) * p) + 1e-12
    by_p = [q for _, q in sorted(zip(p_values, adjusted, strict=True))]
    assert all(x <= y + 1e-12 for x, y in itertools.pairwise(by_p))


def test_holm_known_example() -> None:
    assert holm([0.02, 0.01]) == pytest.approx([0.02, 0.02]) and holm([0.03, 0.04]) == pytest.approx([0.06, 0.06])
    assert holm([0.01, 0.04, 0.03, 0.005]) == pytest.approx([0.03, 0.06, 0.06, 0.02])


def test_minimal_detectable_difference_of_rte() -> None:
    assert minimal_detectable_difference(139, 0.8) == pytest.approx(0.094, abs=0.001)
    assert minimal_detectable_difference(139, 0.8, power=0.8) > 0.13


def test_power_is_that_of_the_noncentral_t() -> None:
    for degrees in (2.0, 4.0, 30.0):
        found = detectable(1.5, degrees)
        critical = stats.t.ppf(0.975, degrees)
        assert 1.0 - stats.nct.cdf(critical, degrees, found / 1.5) == pytest.approx(0.8, abs=1e-3)
    assert detectable(1.0, 2.0, level=1 - 0.05 / 66) > 8 * detectable(1.0, 2.0)


@pytest.mark.parametrize("count", [1, 2, 4, 10, 30])
def test_expected_best_is_that_of_normal_draws(count: int) -> None:
    drawn = np.random.default_rng(0).normal(size=(40_000, count)).max(axis=1)
    assert expected_best(count) == pytest.approx(drawn.mean(), abs=0.015)


def test_six_examples_in_one_direction_are_the_fewest() -> None:
    count = fewest_discordant()
    assert count == 6
    assert mcnemar([True] * count, [False] * count) < 0.05 < mcnemar([True] * (count - 1), [False] * (count - 1))


def test_student_p_is_scipys_and_agrees_with_its_quantile() -> None:
    assert student_p(-2.0, 0.8, 3.5) == pytest.approx(2 * stats.t.sf(2.5, 3.5))
    assert student_p(t_quantile(0.975, 7.0) * 0.3, 0.3, 7.0) == pytest.approx(0.05)
    assert student_p(0.0, 0.0, 3.0) == 1.0 and student_p(0.1, 0.0, 3.0) == 0.0


def value(metric: str, *arguments: Any, **options: Any) -> float:
    """A metric over all examples, by its sums."""
    sums = sums_of(metric, *arguments, **options)
    assert sums is not None
    return float(sums.value(sums.terms.sum(0)))


@settings(max_examples=40, deadline=None)
@given(st.lists(st.tuples(st.integers(-1, 2), st.integers(0, 2)), min_size=2, max_size=40))
def test_class_metrics_are_those_of_the_tasks(pairs: list[tuple[int, int]]) -> None:
    got, gold = zip(*pairs, strict=True)
    words = [[str(x) for x in side] for side in (got, gold)]
    names = ["0", "1", "2"]
    assert value("accuracy", *words) == pytest.approx(scoring.accuracy(got, gold))
    assert value("f1", *words, names) == pytest.approx(scoring.f1(got, gold))
    assert value("f1_macro", *words, names) == pytest.approx(scoring.f1_macro(got, gold, 3))
    assert value("matthews", *words, names) == pytest.approx(scoring.matthews(got, gold), abs=1e-9)
    groups = [str(i // 3) for i in range(len(got))]
    assert value("em", *words, groups=groups) == pytest.approx(scoring.group_exact_match(got, gold, groups))
    mean = value("mean", *words, names, mean_of=["accuracy", "f1"])
    assert mean == pytest.approx((scoring.accuracy(got, gold) + scoring.f1(got, gold)) / 2)


def test_other_metrics_are_those_of_the_tasks() -> None:
    random = np.random.default_rng(8)
    x, y = random.normal(3, 1, 50), random.normal(3, 1, 50)
    assert value("pearson", list(x), list(y), kind="regression") == pytest.approx(scoring.pearson(x, y))
    answers = ["the cat", "a dog sat", ""]
    golds = [["cat"], ["dog", "a dog"], ["bird"]]
    for name, score in scoring.qa(answers, golds).items():
        assert value(name, answers, golds, kind="qa") == pytest.approx(score)
    tags = [["B-PER", "O"], ["B-LOC", "O"]], [["B-PER", "O"], ["B-LOC", "I-LOC"]]
    for name, score in scoring.entities(*tags).items():
        assert value(name, *tags, kind="tagging") == pytest.approx(score)


def test_invalid_answers_count_as_the_protocol_says() -> None:
    gold, got = ["1", "0", "1"], ["1", "maybe", "1"]
    assert value("f1", got, gold, ["0", "1"]) == 1.0
    assert value("f1", got, gold, ["0", "1"], invalid_output="opposite") == pytest.approx(0.8)
    answers = [1.0, "none", 3.0]
    assert value("pearson", answers, [1.0, 2.5, 3.0], kind="regression") > value(
        "pearson", answers, [1.0, 2.5, 3.0], kind="regression", invalid_output="opposite"
    )


def test_a_metric_without_sums_is_none() -> None:
    assert sums_of("spearman", [1.0, 2.0], [1.0, 2.0], kind="regression") is None
    assert sums_of("f1", ["a"], ["z"], ["a", "b"]) is None


@pytest.mark.parametrize("n", [1, 28, 56, 300, 1635])
def test_what_equal_answers_leave_standing_is_the_exact_bound(n: int) -> None:
    """scipy's Clopper-Pearson interval of n of n; two-sided at 90% its lower end is the one-sided bound at 95%."""
    exact = stats.binomtest(n, n).proportion_ci(0.90, method="exact")
    assert least_share(n) == pytest.approx(exact.low, abs=1e-9)
    assert n < 28 or least_share(n) == pytest.approx(1 - 3 / n, abs=0.1 / n + 0.01)  # the rule of three


def test_a_proportion_at_its_edge_has_no_standard_error() -> None:
    assert proportion_error(0.0, 28) is None and proportion_error(1.0, 28) is None
    assert proportion_error(0.8, 300) == pytest.approx(np.sqrt(0.8 * 0.2 / 300))
