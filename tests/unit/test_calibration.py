"""Ensembles and calibration: against loops and simulation, and the command."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest

from results.calibration import (
    NotAlike,
    answers_of,
    brier,
    confidences,
    expected_calibration_error,
    mean_probabilities,
    reliability,
    vote,
)
from results.ensembles import groups_of, main, together
from results.records import read_runs
from results.scores import Scores, write_scores
from tests.unit.results_fixtures import write_run


def scores(
    probabilities: list[list[float]], names: tuple[str, ...] = ("0", "1"), ids: list[str] | None = None
) -> Scores:
    values = np.log(np.array(probabilities))
    return Scores(ids or [str(i) for i in range(len(values))], np.broadcast_to(np.array(names), values.shape), values)


def test_votes_and_their_ties() -> None:
    assert vote([["a", "b", "c"], ["a", "c", "b"], ["b", "c", "a"]]) == ["a", "c", "c"]
    assert vote([["b"], ["a"]]) == ["b"] and vote([["a"], ["b"]]) == ["a"]
    with pytest.raises(NotAlike):
        vote([["a"], ["a", "b"]])


def test_mean_of_probabilities_by_id_and_name() -> None:
    a = scores([[0.9, 0.1], [0.4, 0.6]])
    b = scores([[0.2, 0.8], [0.3, 0.7]], names=("1", "0"), ids=["1", "0"])  # other order of rows and of candidates
    mean = mean_probabilities([a, b])
    expected = [[(0.9 + 0.7) / 2, (0.1 + 0.3) / 2], [(0.4 + 0.8) / 2, (0.6 + 0.2) / 2]]
    assert np.exp(mean.log_probs) == pytest.approx(np.array(expected))
    assert answers_of(mean) == ["0", "0"] and answers_of(a) == ["0", "1"]
    with pytest.raises(NotAlike, match="different examples"):
        mean_probabilities([a, scores([[0.5, 0.5]])])
    with pytest.raises(NotAlike, match="candidates"):
        mean_probabilities([a, scores([[0.9, 0.1], [0.4, 0.6]], names=("0", "2"))])


def test_ragged_candidates_do_not_count() -> None:
    names = np.array([["x", "y", "z"], ["x", "y", ""]])
    values = np.log(np.array([[0.2, 0.3, 0.5], [0.4, 0.6, 1.0]]))
    values[1, 2] = -np.inf
    ragged = Scores(["a", "b"], names, values)
    mean = mean_probabilities([ragged, ragged])
    assert np.exp(mean.log_probs) == pytest.approx(np.array([[0.2, 0.3, 0.5], [0.4, 0.6, 0.0]]))
    assert answers_of(mean) == ["z", "y"]
    assert brier(mean, ["z", "x"]) == pytest.approx((0.04 + 0.09 + 0.25 + 0.36 + 0.36) / 2)


def test_calibration_error_from_loops() -> None:
    rng = np.random.default_rng(0)
    confidence, right = rng.uniform(0.5, 1.0, 400), rng.random(400) < 0.7
    total = 0.0
    for place in range(15):
        held = [i for i, c in enumerate(confidence) if place / 15 < c <= (place + 1) / 15]
        if held:
            total += abs(sum(right[held]) - sum(confidence[held])) / 400
    assert expected_calibration_error(confidence, right) == pytest.approx(total)
    assert sum(b.count for b in reliability(confidence, right)) == 400
    edge = reliability(np.array([0.2, 1.0, 0.0]), np.array([True, True, False]), bins=5)
    assert [b.count for b in edge] == [2, 1]


def test_calibrated_and_overconfident() -> None:
    """A calibrated model's error is the noise of its bins; one that is 20 points too sure has 20 points."""
    rng, n = np.random.default_rng(1), 40_000
    truth = rng.uniform(0.5, 0.75, n)
    right = rng.random(n) < truth
    assert expected_calibration_error(truth, right) < 4 * 15 * math.sqrt(0.25 / n) / 2
    assert expected_calibration_error(truth + 0.2, right) == pytest.approx(0.2, abs=4 * math.sqrt(0.25 / n))
    p = np.stack([1 - truth, truth], axis=1)
    gold = ["1" if hit else "0" for hit in right]
    expected = float(np.mean(2 * truth * (1 - truth)))
    assert brier(scores(p.tolist()), gold) == pytest.approx(expected, abs=4 * 0.5 / math.sqrt(n))
    sure, hits = confidences(scores(p.tolist()), gold)
    assert sure == pytest.approx(truth) and hits.mean() == pytest.approx(right.mean())


@pytest.fixture
def ledger(tmp_path: Path) -> Path:
    """Three seeds that are each right on other two thirds of the examples: together they are right on all."""
    root, n = tmp_path / "runs", 60
    gold = [str(i % 2) for i in range(n)]
    config = {"task": {"name": "glue/rte", "labels": ["no", "yes"], "kind": "classification", "metrics": ["accuracy"]}}
    for seed in (1, 2, 3):
        answers = [g if i % 3 != seed - 1 else str(1 - int(g)) for i, g in enumerate(gold)]
        rows = [
            {"id": str(i), "prediction": a, "reference": g, "group": ""}
            for i, (a, g) in enumerate(zip(answers, gold, strict=True))
        ]
        run_id = write_run(root, "pt", "glue/rte", seed, test=2 / 3, n=n, predictions=rows, config=config)
        sure = [{g: math.log(0.9 if g == a else 0.1) for g in ("0", "1")} for a in answers]
        write_scores(root / run_id / "scores.test.npz", [str(i) for i in range(n)], sure)
    return root


def test_seeds_together(ledger: Path) -> None:
    [group] = groups_of(read_runs(ledger).runs)
    found = together(group)
    assert found.singles == [pytest.approx(2 / 3)] * 3 and found.voted == 1.0 and found.soft == 1.0
    assert found.error is not None and found.brier is not None
    assert found.error[0] == pytest.approx(0.9 - 2 / 3) and found.error[1] == pytest.approx(1 - (0.9 + 0.9 + 0.1) / 3)
    assert found.brier[1] < found.brier[0]


def test_without_scores_the_vote_stands_alone(ledger: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for path in ledger.glob("*/scores.test.npz"):
        path.unlink()
    assert main([f"ledger.root={ledger}"]) == 0
    out = capsys.readouterr().out
    assert "| accuracy | 3 | 66.7 | 66.7 | 100.0 | – | – | – | – | – |" in out and "kept no label scores" in out


def test_the_command(ledger: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    figure, out = tmp_path / "r.png", tmp_path / "e.md"
    assert main([f"ledger.root={ledger}", f"figure={figure}", f"out={out}"]) == 0
    assert (
        figure.stat().st_size > 5000
        and "| accuracy | 3 | 66.7 | 66.7 | 100.0 | 100.0 | 23.3 | 36.7 |" in out.read_text()
    )
    assert main([f"ledger.root={ledger}", "seed=1"]) == 2 and "at least two" in capsys.readouterr().err
    assert main(["x"]) == 2 and main(["--help"]) == 0


def test_seeds_on_other_rows_are_not_put_together(ledger: Path) -> None:
    runs = read_runs(ledger).runs
    path = runs[0].folder / "predictions.test.jsonl"
    path.write_text("\n".join(path.read_text().splitlines()[1:]) + "\n")
    [group] = groups_of(read_runs(ledger).runs)
    found = together(group)
    assert found.voted is None and found.soft is None and "different rows" in found.notes[0]
