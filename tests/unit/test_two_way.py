"""The test between methods: against loops written from its equations, a bootstrap, McNemar's exact test and itself."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from results.two_way import Difference, Sample, Term, compare, compare_sums, sample, usual_variance
from tasks.metrics import sums_of
from tasks.sums import Sums


def right(values: np.ndarray) -> Sums:
    """Accuracy sums of 0/1 answers whose gold is 1."""
    found = sums_of("accuracy", [str(int(v)) for v in values], ["1"] * len(values))
    assert found is not None
    return found


def cell(answers: np.ndarray, trained: bool = True) -> Sample:
    """A cell of 0/1 answers (S, n)."""
    return sample([right(row) for row in np.atleast_2d(answers)], trained=trained)


def seen(a: Sample, b: Sample) -> Difference:
    found = compare(a, b)
    assert found is not None
    return found


def by_the_equations(a: np.ndarray, b: np.ndarray, prior: float | None = None) -> tuple[float, float, float]:
    """(p, low, high) of accuracy in plain loops: two examples added; informed by a prior, else the larger of two."""
    n = a.shape[1]
    gaps = [a[:, i].mean() - b[:, i].mean() for i in range(n)] + [1.0, -1.0]
    center = sum(gaps) / (n + 2)
    ex = sum((gap - center) ** 2 for gap in gaps) / n**2
    parts, s_all, i_all = [(ex, n - 1)], [], []
    for side in (a, b):
        count = len(side)
        if count < 2:
            continue
        scores = [sum(row) / n for row in side]
        mean = sum(scores) / count
        variance, degrees = sum((score - mean) ** 2 for score in scores) / (count - 1), count - 1
        if prior is not None:
            variance = max(variance, ((count - 1) * variance + 2 * prior) / (count + 1))
            degrees = count + 1
        s_all.append((variance / count, degrees))
        total = 0.0
        for row in side:
            own = [row[i] - side[:, i].mean() for i in range(n)]
            middle = sum(own) / n
            total += sum((value - middle) ** 2 for value in own) / (n - 1) / n
        i_all.append((total / (count - 1) / count, (count - 1) * (n - 1)))
    variance = max(ex + sum(v for v, _ in s_all) - sum(v for v, _ in i_all), ex)
    parts += s_all + i_all
    tests = [(variance, variance**2 / sum(v**2 / d for v, d in parts))]
    if s_all and prior is None:
        alone = sum(v for v, _ in s_all)
        tests.append((alone, alone**2 / sum(v**2 / d for v, d in s_all)))
    value = a.mean() - b.mean()
    p = max(2 * stats.t.sf(abs(value) / math.sqrt(v), d) for v, d in tests)
    half = max(stats.t.ppf(0.975, d) * math.sqrt(v) for v, d in tests)
    return p, value - half, value + half


@pytest.mark.parametrize(("ones", "others"), [(3, 3), (2, 5), (3, 1), (1, 1), (4, 2)])
def test_it_is_the_equations(ones: int, others: int) -> None:
    random = np.random.default_rng(ones * 10 + others)
    for _ in range(5):
        shares = [random.uniform(0.5, 0.9, size=(count, 1)) for count in (ones, others)]
        a, b = (random.random((len(share), 60)) < share for share in shares)
        found = seen(cell(a, trained=ones > 1), cell(b, trained=others > 1))
        assert found.value == pytest.approx(a.mean() - b.mean())
        assert (found.p, found.low, found.high) == pytest.approx(by_the_equations(a, b), rel=1e-9)


@pytest.mark.parametrize("seeds", [2, 3, 5])
def test_it_is_the_equations_where_other_rows_tell_how_seeds_spread(seeds: int) -> None:
    random = np.random.default_rng(seeds)
    for _ in range(5):
        a, b, *others = (random.random((seeds, 60)) < random.uniform(0.4, 0.9, (seeds, 1)) for _ in range(7))
        prior = float(np.mean([row.mean(axis=1).var(ddof=1) for row in others]))
        found = compare(cell(a), cell(b), [cell(row) for row in others])
        assert found is not None
        assert (found.p, found.low, found.high) == pytest.approx(by_the_equations(a, b, prior), rel=1e-9)


def test_others_inform_only_where_enough_is_known_of_them() -> None:
    random = np.random.default_rng(2)
    two = cell(random.random((3, 50)) < 0.7)
    still = cell(random.random((1, 50)) < 0.7, trained=False)
    assert usual_variance([]) is None and usual_variance([two]) is None and usual_variance([two, still]) is None
    five = cell(random.random((5, 50)) < 0.7)
    pooled = (2 * two.scores.var(ddof=1) + 4 * five.scores.var(ddof=1)) / 6
    assert usual_variance([two, still, five]) == pytest.approx(pooled)


def test_seeds_that_agree_by_luck_are_not_believed_where_others_spread() -> None:
    random = np.random.default_rng(5)
    a, b = (np.tile(random.random(200) < p, (3, 1)) for p in (0.8, 0.7))  # three times the same answers
    wild = [cell(random.random((3, 200)) < np.array([[0.5], [0.7], [0.9]])) for _ in range(3)]
    alone, informed = seen(cell(a), cell(b)), compare(cell(a), cell(b), wild)
    assert informed is not None and informed.high - informed.low > 2 * (alone.high - alone.low)


@pytest.mark.parametrize("n", [28, 52, 139, 319, 1000, 10_000])
def test_runs_without_training_need_six_examples_as_the_exact_test_does(n: int) -> None:
    for count, significant in ((5, False), (6, True)):
        a = np.ones((1, n))
        b = a.copy()
        b[0, :count] = 0
        found = seen(cell(a, trained=False), cell(b, trained=False))
        assert (found.p <= 0.05) is significant and (found.low > 0) is significant


def test_where_every_example_speaks_for_one_side_few_examples_still_prove_nothing() -> None:
    for n, significant in ((3, False), (5, False), (30, True)):
        found = seen(cell(np.ones((1, n)), trained=False), cell(np.zeros((1, n)), trained=False))
        assert (found.p <= 0.05) is significant


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 10_000), st.integers(1, 4), st.integers(1, 4), st.integers(5, 60))
def test_p_and_interval_say_the_same_and_sides_can_be_swapped(seed: int, ones: int, others: int, n: int) -> None:
    random = np.random.default_rng(seed)
    share = random.uniform(0.2, 0.95, 2)
    a, b = (
        cell(random.random((count, n)) < p, trained=count > 1) for count, p in zip((ones, others), share, strict=True)
    )
    found, turned = seen(a, b), seen(b, a)
    assert (found.p <= 0.05) == (found.low > 0 or found.high < 0)
    assert found.low <= found.value <= found.high and 0.0 <= found.p <= 1.0
    assert (turned.value, turned.low, turned.high, turned.p) == pytest.approx(
        (-found.value, -found.high, -found.low, found.p)
    )


def test_identical_cells_are_not_told_apart() -> None:
    a = cell(np.random.default_rng(0).random((3, 50)) < 0.7)
    found = seen(a, a)
    assert found.value == 0.0 and found.p == 1.0 and found.low < 0 < found.high


def test_one_trained_run_is_not_tested_and_a_run_without_training_is() -> None:
    random = np.random.default_rng(1)
    many, one = random.random((3, 80)) < 0.7, random.random((1, 80)) < 0.7
    assert compare(cell(many), cell(one)) is None and compare(cell(one), cell(many)) is None
    assert compare(cell(many), cell(one, trained=False)) is not None


def test_copies_of_every_row_within_clusters_change_nothing_and_without_them_pretend_precision() -> None:
    random = np.random.default_rng(3)
    a, b = (random.random((3, 50)) < p for p in (0.8, 0.7))
    alone = seen(cell(a), cell(b))
    passages = np.repeat(np.arange(50), 8).tolist()
    wide = [np.repeat(side, 8, axis=1) for side in (a, b)]
    clustered = seen(*(sample([right(row) for row in side], passages) for side in wide))
    assert (clustered.value, clustered.low, clustered.p) == pytest.approx((alone.value, alone.low, alone.p))
    pretended = seen(*(cell(side) for side in wide))
    assert pretended.high - pretended.low < alone.high - alone.low


def test_seeds_that_differ_widen_the_interval() -> None:
    random = np.random.default_rng(4)
    base = cell(random.random((5, 400)) < 0.8)
    same = cell(random.random((5, 400)) < 0.8)
    apart = cell(random.random((5, 400)) < np.array([[0.6], [0.7], [0.8], [0.9], [1.0]]))
    narrow, wide = seen(same, base), seen(apart, base)
    assert wide.high - wide.low > 1.5 * (narrow.high - narrow.low)


def test_other_examples_are_refused() -> None:
    with pytest.raises(ValueError, match="same examples"):
        sample([right(np.ones(10)), right(np.ones(9))])
    assert compare(cell(np.ones((2, 10))), cell(np.ones((2, 9)))) is None


@pytest.mark.parametrize("metric", ["accuracy", "f1", "f1_macro", "matthews"])
def test_pseudo_values_give_the_error_that_a_bootstrap_gives(metric: str) -> None:
    random = np.random.default_rng(5)
    gold = random.choice(["0", "1", "2"], size=400, p=[0.5, 0.4, 0.1])
    noisy = np.where(random.random(400) < 0.75, gold, random.choice(["0", "1", "2"], size=400))
    sums = sums_of(metric, noisy.tolist(), gold.tolist(), ["0", "1", "2"])
    assert sums is not None
    found = sample([sums], trained=False)
    weights = random.multinomial(400, np.full(400, 1 / 400), size=3000).astype(float)
    resampled = sums.value(weights @ sums.terms)
    assert found.values.mean() == pytest.approx(found.scores[0], abs=0.01)
    assert math.sqrt(found.values[0].var(ddof=1) / 400) == pytest.approx(resampled.std(), rel=0.08)


def test_pseudo_values_of_correlation_and_entities_too() -> None:
    random = np.random.default_rng(6)
    x = random.normal(size=300)
    y = x + random.normal(size=300)
    tags = [["B-PER"], ["B-LOC"], ["O"]]
    gold = [tags[i] for i in random.integers(3, size=300)]
    got = [g if random.random() < 0.7 else tags[random.integers(3)] for g in gold]
    for sums in (
        sums_of("pearson", list(x), list(y), kind="regression"),
        sums_of("f1", got, gold, kind="tagging"),
    ):
        assert sums is not None
        weights = random.multinomial(300, np.full(300, 1 / 300), size=3000).astype(float)
        error = sums.value(weights @ sums.terms).std()
        found = sample([sums], trained=False)
        assert math.sqrt(found.values[0].var(ddof=1) / 300) == pytest.approx(error, rel=0.1)


def test_an_average_has_the_variance_of_its_parts() -> None:
    random = np.random.default_rng(7)
    tasks = [[random.random((1, n)) < p for p in (0.8, 0.7)] for n in (100, 300)]
    terms = [Term(0.5, cell(a, trained=False), cell(b, trained=False)) for a, b in tasks]
    whole = compare_sums([[term] for term in terms])
    apart = [seen(term.a, term.b) for term in terms]
    assert whole is not None
    assert whole.value == pytest.approx(sum(found.value for found in apart) / 2)
    assert whole.error == pytest.approx(math.sqrt(sum(found.error**2 for found in apart)) / 2)
    assert 100 < whole.degrees < 400


def test_a_task_in_two_suites_is_one_variable() -> None:
    random = np.random.default_rng(8)
    a, b = (cell(random.random((3, 139)) < p) for p in (0.8, 0.7))
    once = seen(a, b)
    twice = compare_sums([[Term(0.5, a, b), Term(0.5, a, b)]])
    apart = compare_sums([[Term(0.5, a, b)], [Term(0.5, a, b)]])
    assert twice is not None and apart is not None
    assert twice.value == pytest.approx(once.value) and twice.error >= once.error - 1e-9
    assert apart.error < 0.8 * twice.error


def test_an_average_with_a_part_that_is_not_tested_is_not_tested() -> None:
    a, b = cell(np.ones((3, 20))), cell(np.ones((1, 20)))
    assert compare_sums([[Term(0.5, a, a)], [Term(0.5, a, b)]]) is None


def test_false_differences_are_as_rare_as_stated() -> None:
    """Equal methods, three seeds that spread by five points: at most one in twenty, within the simulation's error."""
    random = np.random.default_rng(9)
    wrong = 0
    for _ in range(400):
        hard = random.normal(size=(1, 120))
        sides = [hard + random.normal(0, 0.3, size=(3, 1)) + random.normal(size=(3, 120)) > -1.2 for _ in range(2)]
        wrong += seen(*(cell(side) for side in sides)).p <= 0.05
    assert wrong / 400 <= 0.05 + 2.6 * math.sqrt(0.05 * 0.95 / 400)
