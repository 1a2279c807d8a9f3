"""Guard rails speak when they should, and only then."""

from __future__ import annotations

import math
from types import SimpleNamespace

import numpy as np
import pytest

from conf.compose import compose, typed
from runners.guard_rails import of_data
from runners.verdicts import (
    ceiling,
    constant,
    invalid_answers,
    learned,
    over_budget,
    standard_error,
    told_apart,
    truncation,
)
from tasks.encode import Encoded
from tasks.metrics import Prediction, sums_of
from tasks.sums import Sums


def predictions(answers: str) -> list[Prediction]:
    return [Prediction(str(i), answer, "1") for i, answer in enumerate(answers)]


def levels(found: list[dict[str, object]]) -> dict[object, object]:
    return {entry["name"]: entry["level"] for entry in found}


def test_constant_predictions_are_told() -> None:
    assert constant(predictions("0000"))[0]["message"] == "every prediction is '0'"
    assert constant(predictions("0001")) == []
    assert constant(predictions("0")) == []


@pytest.mark.parametrize(
    ("value", "expected"),
    [(0.9, ["ok", "ok"]), (0.62, ["warning", "ok"]), (0.52, ["warning", "warning"])],
)
def test_learning_is_more_than_a_standard_error_above_both_baselines(value: float, expected: list[str]) -> None:
    found = levels(learned(value, 0.05, 0.6, 0.5, "accuracy", 100))
    assert [found["above_majority"], found["above_untrained"]] == expected


def test_a_baseline_that_is_not_known_is_not_judged() -> None:
    assert learned(0.9, 0.05, None, None, "accuracy", 100) == []


def test_invalid_answers_and_truncated_rows_say_how_many_and_from_what() -> None:
    assert [levels(invalid_answers(share))["invalid_answers"] for share in (0.0, 0.01, 0.2)] == [
        "ok",
        "note",
        "warning",
    ]
    assert invalid_answers(None) == []
    assert truncation("test", [], 100, 256)["level"] == "ok"
    assert truncation("test", [300], 100, 256)["level"] == "note"
    said = truncation("train", [300, 1500, 1873], 100, 256)
    assert said["level"] == "warning" and said["rate"] == 0.03
    assert "3 of 100 train sources (3.0 %) were cut from 1500 tokens (median) and up to 1873 to 256" in said["message"]
    assert "f1 97.0" in ceiling("test", {"f1": 0.97})["message"]


def test_a_method_over_its_budget_says_so() -> None:
    assert over_budget(None) == []
    assert levels(over_budget("80,000 trainable parameters: 4.2 % over")) == {"over_budget": "note"}


def test_standard_errors() -> None:
    rows = predictions("1100")

    def share(some: list[Prediction]) -> dict[str, float]:
        return {"f1": sum(p.prediction == "1" for p in some) / len(some)}

    assert standard_error(rows, "accuracy", share, 0.5) == pytest.approx(0.25)
    assert standard_error(rows, "f1", share, 0.5) == pytest.approx(0.25, abs=0.05)
    sums = Sums(np.array([[1.0, 1.0], [1.0, 1.0], [0.0, 1.0], [0.0, 1.0]]), lambda s: s[..., 0] / s[..., 1])

    def never(some: list[Prediction]) -> dict[str, float]:
        raise AssertionError("the sums were enough")

    assert standard_error(rows, "f1", never, 0.5, sums) == pytest.approx(0.25, abs=0.05)
    assert standard_error(rows, "f1", share, 0.4, sums) == pytest.approx(0.25, abs=0.05)  # not these sums' score
    assert standard_error(rows[:1], "accuracy", share, 1.0) is None


@pytest.mark.parametrize(("metric", "answers"), [("accuracy", "1111"), ("accuracy", "0000"), ("f1", "1111")])
def test_a_score_of_which_no_other_was_seen_has_no_standard_error(metric: str, answers: str) -> None:
    rows = predictions(answers)
    value = answers.count("1") / len(answers)
    assert standard_error(rows, metric, lambda some: {metric: value}, value) is None


@pytest.mark.parametrize(("base", "level"), [(0.99, "warning"), (0.98, "ok")])
def test_where_no_error_is_known_more_than_one_example_is_asked_for(base: float, level: str) -> None:
    (found,) = learned(1.0, None, base, None, "accuracy", 100)
    assert found["level"] == level and "cannot be estimated" in found["message"]


def test_the_standard_error_of_whole_groups_is_of_as_many_groups_as_there_are() -> None:
    """MultiRC's exact match: 40 answers to 8 questions are 8 trials."""
    groups = [str(i // 5) for i in range(40)]
    answers, golds = ["1"] * 40, ["1" if i >= 10 else "0" for i in range(40)]
    rows = [Prediction(str(i), a, g, q) for i, (a, g, q) in enumerate(zip(answers, golds, groups, strict=True))]
    sums = sums_of("em", answers, golds, ["0", "1"], groups=groups)
    assert sums is not None and float(sums.value(sums.terms.sum(0))) == 0.75
    found = standard_error(rows, "em", lambda drawn: {"em": 0.75}, 0.75, sums)
    assert found == pytest.approx(math.sqrt(0.75 * 0.25 / 8))


def test_an_option_that_stands_twice_in_its_row_is_told() -> None:
    """Of equal scores the first candidate wins: where the second one is gold, no model can be right."""
    rows = [Encoded("0", choices=[[5], [6]], label=1), Encoded("1", choices=[[5], [5], [7]], label=1)]
    [found] = told_apart("test", SimpleNamespace(encoded=rows))
    assert found["message"].startswith("1 of 2 test rows have their right option twice") and found["rate"] == 0.5
    assert told_apart("test", SimpleNamespace(encoded=rows[:1])) == []


@pytest.mark.parametrize(
    ("method", "report_split", "told"), [("pt", "validation", 1), ("pt", "test", 0), ("none", "validation", 0)]
)
def test_selection_on_the_reported_rows_is_told(method: str, report_split: str, told: int) -> None:
    config = typed(compose([f"method={method}", "task=superglue/boolq", "backbone=tiny_t5", "data=fixture"]))
    report = {"verdicts": [], "rows": {}, "select_split": "validation", "report_split": report_split}
    found = of_data(config, report | {"official_split": {"validation": "validation_matched"}}, False)
    assert [v["name"] for v in found].count("selected_on_report") == told
    assert not told or "the same rows (validation_matched)" in found[-1]["message"]
