"""Verdicts on two printed numbers: the floor of six items, rounding and truncation, unknown runs, origins, families."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest

from results.audit.attainable import NONE, Setting, attainable, compatible, power
from results.audit.cells import PrintedCell, ScoredSet
from results.audit.descriptive import attainable_lines, columns_of
from results.audit.judge import compare, compare_averages
from results.audit.pairs import (
    PrintedDifference,
    Verdict,
    difference,
    exact_mcnemar_floor,
    family,
    most_items,
    smallest_paired,
    two_sided,
    verdict,
)
from results.audit.standard_errors import accuracy
from tests.unit.results_fixtures import mcnemar

CB, RTE = ScoredSet("cb", "classification", 28, whole=56), ScoredSet("rte", "classification", 139, whole=277)


def cell(value: float, test: ScoredSet | None = CB, **changes: object) -> PrintedCell:
    """An accuracy of a single run as a paper prints it."""
    made = PrintedCell("T1", "t5-base", "A", "CB", "accuracy", value, 1, 1, split="test", origin="own run", test=test)
    return replace(made, **changes)  # type: ignore[arg-type]


def test_five_and_six_items() -> None:
    assert exact_mcnemar_floor(5) == 0.0625 and exact_mcnemar_floor(6) == 0.03125
    assert exact_mcnemar_floor(0) == exact_mcnemar_floor(1) == 1.0
    for items in range(1, 12):
        right = [True] * items + [False] * 20
        assert mcnemar(right, [False] * (items + 20)) == pytest.approx(exact_mcnemar_floor(items))
    n = 204
    for items, letter in ((5, "N"), (6, "U")):
        d = PrintedDifference(items / n, 0.0)
        assert most_items(d, n) == items
        assert verdict(d, 0.05, n=n, single=True).letter == letter
    smallest = {28: 21.4, 52: 11.5, 139: 4.3, 204: 2.9, 319: 1.9}
    assert {n: round(100 * smallest_paired(n), 1) for n in smallest} == smallest
    assert smallest_paired(4) == 1.0


def test_n_is_never_said_of_runs_that_a_paired_test_separates() -> None:
    """Random pairs of runs, printed rounded or truncated: whoever held the predictions would agree with every N."""
    rng, counts = np.random.default_rng(0), {"N": 0, "R": 0, "U": 0}
    for _ in range(3000):
        n = int(rng.choice([9, 28, 52, 139, 319]))
        p, extra = rng.uniform(0.4, 1.0), rng.uniform(0.0, 0.3)
        a = rng.random(n) < p
        b = np.where(rng.random(n) < extra, rng.random(n) < rng.uniform(0, 1), a)
        cut = rng.random() < 0.5
        printed = [math.floor(1000 * x.mean() + 1e-9) / 10 if cut else round(100 * x.mean(), 1) for x in (a, b)]
        test = ScoredSet("x", "classification", n)
        judged = compare(cell(printed[0], test), cell(printed[1], test))
        assert judged.verdict is not None
        counts[judged.verdict.letter] += 1
        if judged.verdict.letter == "N":
            assert mcnemar(list(a), list(b)) > 0.05
        assert judged.verdict.p_best <= mcnemar(list(a), list(b)) + 1e-12
    assert min(counts.values()) > 50


@pytest.mark.parametrize(("n", "share"), [(28, 0.9), (139, 0.8), (1635, 0.8)])
@pytest.mark.parametrize("agreement", [0.0, 0.7])
def test_r_errs_at_most_at_its_level(n: int, share: float, agreement: float) -> None:
    """Two equal runs: R is said of about 5% of pairs without shared errors, and of fewer where errors are shared."""
    rng, draws = np.random.default_rng(11), 20_000
    shared = rng.binomial(n, agreement, draws)
    both = rng.binomial(shared, share)
    a, b = (both + rng.binomial(n - shared, share) for _ in range(2))
    shares = [np.clip(x / n, 1 / n, 1 - 1 / n) for x in (a, b)]
    error = np.hypot(*(np.sqrt(p * (1 - p) / n) for p in shares))
    rate = float((np.abs(a - b) / n > 1.96 * error).mean())
    bound = 0.05 if n > 100 or agreement else 0.075  # 28 examples without shared errors: a normal test is lax
    assert rate - 2.576 * math.sqrt(bound * (1 - bound) / draws) <= bound


def test_zero_and_one() -> None:
    perfect = compare(cell(100.0), cell(82.1))  # five items of 28
    assert perfect.verdict is not None and perfect.error is not None
    assert perfect.verdict.p_unpaired < 0.05 and perfect.verdict.letter == "N"
    same = compare(cell(100.0), cell(100.0))
    assert same.verdict is not None and same.verdict.letter == "N" and same.error is not None
    assert same.error.high > 0.0
    ends = compare(cell(100.0), cell(0.0))
    assert ends.verdict is not None and ends.verdict.letter == "R"
    assert two_sided(0.0, 0.0) == 1.0 and two_sided(0.1, 0.0) == 0.0


def test_the_worked_examples() -> None:
    """ACCEPT less DePT of the specification, as single runs."""
    mrpc, boolq = ScoredSet("mrpc", "classification", 204), ScoredSet("boolq", "classification", 1635)
    expected = [
        (CB, 96.4, 92.9, 1, "N"), (mrpc, 93.1, 90.7, 5, "N"), (RTE, 86.3, 79.1, 10, "U"), (boolq, 82.3, 79.3, 50, "R"),
    ]  # fmt: skip
    for test, a, b, items, letter in expected:
        judged = compare(cell(a, test), cell(b, test)).verdict
        assert judged is not None and (judged.items, judged.letter) == (items, letter)
    rte = compare(cell(86.3, RTE), cell(79.1, RTE))
    assert rte.error is not None and rte.d.value / rte.error.high == pytest.approx(1.6, abs=0.05)
    alone = accuracy(0.823, 1635), accuracy(0.793, 1635)
    assert 0.03 / math.hypot(*alone) == pytest.approx(2.2, abs=0.05)


def test_unknown_runs_hang_on_their_being_single() -> None:
    known, unknown = cell(96.4), cell(92.9, runs=None)
    judged = compare(known, unknown).verdict
    assert judged is not None and judged.letter == "N" and judged.assumes_single
    assert "if these are single runs" in judged.words
    several = compare(known, cell(92.9, runs=3)).verdict
    assert several is not None and several.items is None and several.letter == "U" and several.p_best == 0.0


def test_no_floor_without_whole_items_or_a_printed_value() -> None:
    f1 = replace(CB, classes={"no": 14, "yes": 14})
    judged = compare(cell(90.0, f1, metric="f1"), cell(88.0, f1, metric="f1")).verdict
    assert judged is not None and judged.items is None
    derived = compare(cell(96.4), cell(92.9, derived=True))
    assert derived.verdict is not None and derived.verdict.items is None
    assert derived.d.width == pytest.approx(0.0015)


def test_rounding_and_truncation_widen_by_half_a_unit_each() -> None:
    d = difference(0.905, 0.902, 0.0005, 0.0005)
    assert (d.least, d.most) == (pytest.approx(0.002), pytest.approx(0.004))
    # truncated 90.59 - 90.20 prints as 0.3 and is 0.39: inside
    assert d.most >= 0.9059 - 0.9020
    near = verdict(PrintedDifference(0.0300, 0.001), 0.0151, n=1635, single=True)
    assert near.letter == "R" and near.rounding_decides and "rounding could undo it" in near.words


def test_different_origin_metric_split_or_set() -> None:
    quoted = compare(cell(96.4), cell(60.0, origin="quoted"))
    assert quoted.verdict is not None and any("origin" in note for note in quoted.notes)
    assert compare(cell(96.4), cell(90.0, metric="f1")).verdict is None
    assert "not the same test set" in compare(cell(96.4), cell(90.0, RTE)).why_not
    assert "not the same test set" in compare(cell(96.4), cell(90.0, split="validation")).why_not
    assert compare(cell(96.4, None, why_not="its split is not known"), cell(90.0)).why_not == "its split is not known"


def test_best_of_and_chosen_on_the_reported_split_are_said() -> None:
    notes = compare(cell(96.4, best_of=5, selection="reported"), cell(92.9)).notes
    assert any("best of 5" in note for note in notes) and any("reported split" in note for note in notes)
    assert any("no spread is printed" in note for note in notes)
    known = compare(cell(96.4, best_of=5, spread=2.0, runs=1), cell(92.9)).notes
    assert any("optimistic by about 2.3 points" in note for note in known)


def test_a_printed_spread_is_part_of_the_error_and_the_lax_reading_is_not_taken() -> None:
    big = ScoredSet("q", "classification", 40_000)
    bare = compare(cell(76.0, big, runs=3), cell(74.5, big, runs=3))
    spread = compare(cell(76.0, big, runs=3, spread=1.0), cell(74.5, big, runs=3, spread=1.0))
    assert bare.verdict is not None and bare.verdict.letter == "R" and bare.degrees == math.inf
    assert spread.verdict is not None and spread.verdict.letter == "U" and spread.degrees < 10
    sd = compare(
        cell(76.0, big, runs=3, spread=1.0, spread_kind="sd", divisor="n-1"),
        cell(74.5, big, runs=3, spread=1.0, spread_kind="sd", divisor="n-1"),
    )
    assert sd.verdict is not None and sd.verdict.p_unpaired < spread.verdict.p_unpaired


def test_correlations_on_fishers_scale() -> None:
    stsb = ScoredSet("stsb", "regression", 750)
    judged = compare(cell(91.0, stsb, metric="pearson"), cell(80.0, stsb, metric="pearson"))
    assert judged.verdict is not None and judged.verdict.letter == "R" and "approximate" in judged.notes
    expected = (math.atanh(0.91) - math.atanh(0.80)) / math.sqrt(2 / 747)
    assert judged.verdict.p_unpaired == pytest.approx(two_sided(expected, 1.0))
    assert compare(cell(100.0, stsb, metric="pearson"), cell(80.0, stsb, metric="pearson")).verdict is None


def test_averages_are_tested_alone() -> None:
    parts = [[cell(value + x, test, task=test.name) for test in (CB, RTE)] for value, x in ((90.0, 0.0), (90.0, -20.0))]
    means = [cell(90.0, None, metric="mean"), cell(70.0, None, metric="mean")]
    judged = compare_averages(*means, *parts)
    assert judged.error is not None and judged.verdict is not None and judged.verdict.letter == "R"
    expected = [math.hypot(accuracy(p, 28), accuracy(p, 139)) / 2 for p in (0.9, 0.7)]
    assert judged.error.high == pytest.approx(math.hypot(*expected))
    assert compare_averages(*means, parts[0], parts[1][:1]).why_not
    assert compare_averages(*means, *[[replace(p, metric="f1_macro") for p in side] for side in parts]).verdict is None


def test_a_family_counts_both_ends_and_both_directions() -> None:
    cells = [
        (0.10, Verdict("R", 0.0001, 0.0001, 40)),
        (0.02, Verdict("U", 0.3, 0.001, 12)),
        (0.01, Verdict("N", 0.6, 0.125, 4)),
        (-0.02, Verdict("U", 0.4, 0.002, 11)),
    ]
    found = family(cells)
    assert (found.least, found.most, found.against_least, found.against_most) == (1, 2, 0, 1)
    assert found.words == "between 1 and 2 of 4; in the other direction between 0 and 1"
    lax = [(0.14, Verdict("N", 0.001, 0.125, 4))]
    assert family(lax).least == 0  # what no pairing separates is not counted by its unpaired p
    assert "single runs" in family([(0.1, Verdict("U", 0.3, 0.001, 12, assumes_single=True))]).words


@pytest.mark.parametrize("rounding", ["nearest", "truncated"])
@pytest.mark.parametrize(("n", "runs"), [(28, 1), (28, 3), (139, 1), (52, 10)])
def test_every_value_that_can_be_printed_is_attainable(n: int, runs: int, rounding: str) -> None:
    total = n * runs
    setting = Setting("half dev", runs, rounding, total)
    for k in range(total + 1):
        exact = 100 * k / total
        printed = math.floor(10 * exact + 1e-9) / 10 if rounding == "truncated" else round(exact, 1)
        assert attainable(printed, 1, setting), (k, printed)
    values = {math.floor(1000 * k / total + 1e-9) / 10 for k in range(total + 1)}
    if rounding == "truncated":
        unseen = [x / 10 for x in range(1001) if x / 10 not in values]
        assert not any(attainable(value, 1, setting) for value in unseen)
        assert power(1, setting) == pytest.approx(len(unseen) / 1001)


def test_a_planted_value_fits_nothing_and_is_never_called_more_than_that() -> None:
    tiny = {"half dev": 4, "whole dev": 8}
    found = compatible(80.1, 1, tiny, runs=(1, 2, 3))
    assert found.fits == () and found.words == NONE == "compatible set: none under the declared sets"
    planted = cell(80.1, ScoredSet("x", "classification", 3), runs=1)
    assert any(NONE in line for line in attainable_lines([planted]))
    assert not any(NONE in line for line in attainable_lines([cell(92.9)]))


def test_power_vanishes_on_large_sets() -> None:
    assert power(1, Setting("x", 1, "nearest", 28)) > 0.9
    assert power(1, Setting("x", 1, "nearest", 2000)) == 0.0
    assert attainable_lines([cell(92.9, ScoredSet("x", "classification", 1500))]) == []


def test_columns_name_the_smallest_differences() -> None:
    found = columns_of([cell(96.4, method="own"), cell(92.9), cell(89.3)], own="own")[0]
    assert found.paired == pytest.approx(6 / 28) and found.differences == (3.5, 7.1)
    assert found.unpaired == pytest.approx(1.96 * math.sqrt(2) * accuracy(0.929, 28), rel=1e-4)
    at_the_end = columns_of([cell(100.0), cell(100.0)])[0]
    assert at_the_end.unpaired > 0.0
