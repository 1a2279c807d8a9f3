"""Statistics: coverage and p-values by simulation, exact tests against scipy, verdicts."""

from __future__ import annotations

import itertools
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from results.bootstrap import bootstrap_metric, hierarchical_bootstrap
from results.metric_sums import sums_of
from results.statistics import (
    deviation,
    equivalence,
    holm,
    mcnemar,
    minimal_detectable_difference,
    one_per_task,
    sign_flip,
    t_interval,
)
from tasks import scoring

FLOATS = st.floats(-50, 50, allow_nan=False).map(lambda x: round(x, 3))


def right(values: np.ndarray):
    """Accuracy sums of 0/1 answers whose gold is 1."""
    return sums_of("accuracy", [str(int(v)) for v in values], ["1"] * len(values))


def test_t_interval_is_scipys() -> None:
    values = [81.2, 82.9, 80.4, 83.3]
    low, high = t_interval(values) or (0.0, 0.0)
    expected = stats.t.interval(0.95, 3, np.mean(values), stats.sem(values))
    assert (low, high) == pytest.approx(expected)
    assert t_interval([81.2]) is None and deviation([81.2]) is None


@pytest.mark.parametrize("seeds", [3, 5])
def test_t_interval_covers(seeds: int) -> None:
    random = np.random.default_rng(1)
    covered = 0
    for _ in range(1000):
        low, high = t_interval(random.normal(80.0, 2.0, seeds).tolist()) or (0.0, 0.0)
        covered += low <= 80.0 <= high
    assert 0.93 <= covered / 1000 <= 0.97


def test_bootstrap_interval_is_the_analytic_one_for_accuracy() -> None:
    random = np.random.default_rng(0)
    a, b = random.random(2000) < 0.85, random.random(2000) < 0.80
    found = hierarchical_bootstrap([right(a)], [right(b)], resamples=2000)
    gaps = a.astype(float) - b.astype(float)
    half = 1.96 * gaps.std(ddof=1) / np.sqrt(2000)
    assert found.value == pytest.approx(gaps.mean())
    assert (found.high - found.low) / 2 == pytest.approx(half, rel=0.1)


def test_bootstrap_covers_and_its_p_is_uniform_under_the_null() -> None:
    random = np.random.default_rng(2)
    covered, p_values = 0, []
    for trial in range(200):
        a, b = random.random(150) < 0.7, random.random(150) < 0.7
        found = hierarchical_bootstrap([right(a)], [right(b)], resamples=300, seed=trial)
        covered += found.low <= 0.0 <= found.high
        p_values.append(found.p)
    assert 0.90 <= covered / 200 <= 0.99
    assert stats.kstest(p_values, "uniform").pvalue > 0.001
    assert np.mean(np.array(p_values) <= 0.1) <= 0.17


def test_clusters_widen_the_interval() -> None:
    random = np.random.default_rng(3)
    passages = np.repeat(np.arange(50), 8)
    a = np.repeat(random.random(50) < 0.8, 8)
    b = np.repeat(random.random(50) < 0.7, 8)
    alone = hierarchical_bootstrap([right(a)], [right(b)])
    clustered = hierarchical_bootstrap([right(a)], [right(b)], groups=passages.tolist())
    assert clustered.high - clustered.low > 2.0 * (alone.high - alone.low)


def test_seeds_that_differ_widen_the_interval() -> None:
    random = np.random.default_rng(4)
    same = [right(random.random(400) < 0.8) for _ in range(5)]
    apart = [right(random.random(400) < rate) for rate in (0.6, 0.7, 0.8, 0.9, 1.0)]
    base = [right(random.random(400) < 0.8) for _ in range(5)]
    narrow, wide = hierarchical_bootstrap(same, base), hierarchical_bootstrap(apart, base)
    assert wide.high - wide.low > 1.5 * (narrow.high - narrow.low)


def test_both_bootstraps_agree_on_a_metric_that_is_no_mean() -> None:
    random = np.random.default_rng(5)
    gold = (random.random(200) < 0.4).astype(int)
    noisy = [np.where(random.random(200) < rate, gold, 1 - gold) for rate in (0.9, 0.75)]

    def f1(answers, references) -> float:
        answers, references = np.array(answers), np.array(references)
        return 2 * (answers & references).sum() / max(1, answers.sum() + references.sum())

    slow = bootstrap_metric([noisy[0]], [noisy[1]], gold, f1, resamples=600)
    words = [[str(x) for x in run] for run in noisy]
    sums = [sums_of("f1", run, [str(g) for g in gold], ["0", "1"]) for run in words]
    fast = hierarchical_bootstrap([sums[0]], [sums[1]], resamples=600)
    assert fast.value == pytest.approx(slow.value)
    assert (fast.low, fast.high) == pytest.approx((slow.low, slow.high), abs=0.02)


def test_bootstrap_refuses_other_examples() -> None:
    with pytest.raises(ValueError, match="same examples"):
        hierarchical_bootstrap([right(np.ones(10))], [right(np.ones(9))])


@given(st.integers(0, 12), st.integers(0, 12))
def test_mcnemar_is_the_exact_binomial(only_a: int, only_b: int) -> None:
    a = [True] * only_a + [False] * only_b + [True] * 5
    b = [False] * only_a + [True] * only_b + [True] * 5
    n = only_a + only_b
    expected = stats.binomtest(only_a, n).pvalue if n else 1.0
    assert mcnemar(a, b) == pytest.approx(expected)


@settings(max_examples=25, deadline=None)
@given(st.lists(FLOATS, min_size=2, max_size=8))
def test_sign_flip_is_scipys_exact_permutation_test(values: list[float]) -> None:
    expected = stats.permutation_test(
        (np.array(values),), lambda x, axis: x.mean(axis=axis), permutation_type="samples", n_resamples=np.inf
    ).pvalue
    assert sign_flip(values) == pytest.approx(min(1.0, expected), abs=1e-9)


def test_sign_flip_is_valid_under_the_null() -> None:
    random = np.random.default_rng(6)
    p_values = np.array([sign_flip(random.normal(0, 1, 8).tolist()) for _ in range(500)])
    for level in (0.05, 0.1, 0.5):
        assert np.mean(p_values <= level) <= level + 0.04
    assert np.mean(p_values <= 0.5) >= 0.43


def test_rte_is_counted_once() -> None:
    differences = {"glue/rte": 2.0, "superglue/rte": 4.0, "glue/cola": 1.0}
    assert one_per_task(differences) == {"rte": 3.0, "cola": 1.0}
    assert sign_flip(differences) == sign_flip([3.0, 1.0])


@given(st.lists(st.floats(0, 1), min_size=1, max_size=12))
def test_holm_is_monotone_and_between_raw_and_bonferroni(p_values: list[float]) -> None:
    adjusted = holm(p_values)
    for p, q in zip(p_values, adjusted, strict=True):
        assert p - 1e-12 <= q <= min(1.0, len(p_values) * p) + 1e-12
    by_p = [q for _, q in sorted(zip(p_values, adjusted, strict=True))]
    assert all(x <= y + 1e-12 for x, y in itertools.pairwise(by_p))


def test_holm_known_example() -> None:
    assert holm([0.01, 0.04, 0.03, 0.005]) == pytest.approx([0.03, 0.06, 0.06, 0.02])


def test_minimal_detectable_difference_of_rte() -> None:
    assert minimal_detectable_difference(139, 0.8) == pytest.approx(0.094, abs=0.001)
    assert minimal_detectable_difference(139, 0.8, power=0.8) > 0.13


@pytest.mark.parametrize(
    ("values", "options", "name"),
    [
        ([85.0, 85.2, 84.9], {}, "reproduced"),
        ([85.0, 85.2, 84.9], {"blocked_by": ["seeds"]}, "inconclusive"),
        ([88.0, 88.2, 87.9], {}, "differs"),
        ([85.0], {}, "inconclusive"),
        ([], {}, "inconclusive"),
        ([83.0, 87.0, 85.0], {}, "inconclusive"),
        ([85.0, 85.2, 84.9], {"published_std": 4.0, "published_seeds": 3}, "inconclusive"),
        ([85.5, 85.6, 85.5], {"margin": 0.1}, "differs"),
    ],
)
def test_verdicts(values: list[float], options: dict, name: str) -> None:
    assert equivalence(values, 85.0, **options).name == name


def test_equivalence_is_wrong_at_most_at_its_level() -> None:
    """At a true difference of exactly the margin, `reproduced` comes in no more than 5% of cases."""
    random = np.random.default_rng(7)
    names = [equivalence((86.0 + random.normal(0, 0.5, 5)).tolist(), 85.0).name for _ in range(1000)]
    assert names.count("reproduced") / 1000 <= 0.07


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
    assert value("f1_macro", *words, names) == pytest.approx(scoring.f1_macro(got, gold))
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
