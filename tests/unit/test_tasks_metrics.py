"""Metrics against oracles written from the official scripts' rules, by hand and on random cases.

Three codes are held equal: the pure functions (bootstraps), the ``evaluate.Metric`` subclasses (records) and the
oracles below.
"""

from __future__ import annotations

import re
import string
from collections import Counter
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats
from sklearn import metrics as sk

from tasks import scoring
from tasks.columns import columns_of, read_number
from tasks.entities import bio, from_text, lenient_spans, match_in_order, spans, tags_of_text, to_text
from tasks.evaluate_metrics import METRICS, compute
from tasks.metrics import METRICS as KIND_METRICS
from tasks.metrics import Prediction, score
from tests.tasks_rig import protocol_of, task_of

binary = st.lists(st.tuples(st.integers(0, 1), st.integers(0, 1)), min_size=1, max_size=40)
three = st.lists(st.tuples(st.integers(0, 2), st.integers(0, 2)), min_size=1, max_size=40)
SETTINGS = settings(max_examples=25, deadline=None)


def columns(pairs: list[tuple[Any, Any]]) -> dict[str, list[Any]]:
    return {"predictions": [p for p, _ in pairs], "references": [r for _, r in pairs]}


@SETTINGS
@given(three)
def test_class_metrics_equal_glue_and_super_glue(pairs: list[tuple[int, int]]) -> None:
    both = columns(pairs)
    got, gold = both["predictions"], both["references"]
    oracles = {
        "accuracy": sum(p == r for p, r in pairs) / len(pairs),
        "f1_macro": sk.fbeta_score(gold, got, beta=1, labels=range(3), average="macro", zero_division=0),
        "matthews": sk.matthews_corrcoef(gold, got),
    }
    for name, expected in oracles.items():
        more = {"classes": 3} if name == "f1_macro" else {}
        assert getattr(scoring, name)(got, gold, **more) == pytest.approx(expected, abs=1e-9), name
        assert compute(name, **both, **more)[name] == pytest.approx(expected, abs=1e-9), name


@SETTINGS
@given(binary)
def test_binary_f1_equals_glue(pairs: list[tuple[int, int]]) -> None:
    both = columns(pairs)
    expected = sk.f1_score(both["references"], both["predictions"], zero_division=0)
    assert scoring.f1(**both) == pytest.approx(expected) == pytest.approx(compute("f1", **both)["f1"])


@SETTINGS
@given(st.lists(st.tuples(st.integers(0, 12), st.integers(0, 12)), min_size=1, max_size=30))
def test_correlations_equal_scipy_and_are_zero_where_undefined(pairs: list[tuple[int, int]]) -> None:
    both = columns([(p / 2, r / 3) for p, r in pairs])
    constant = len(set(both["predictions"])) < 2 or len(set(both["references"])) < 2
    for name, oracle in (("pearson", stats.pearsonr), ("spearman", stats.spearmanr)):
        expected = 0.0 if constant else oracle(both["predictions"], both["references"])[0]
        assert getattr(scoring, name)(**both) == pytest.approx(expected, abs=1e-7), name
        assert compute(name, **both)[name] == pytest.approx(expected, abs=1e-7), name


def multirc_oracle(rows: list[tuple[int, int, str]]) -> tuple[float, float]:
    """SuperGLUE's evaluate_multirc: exact match and mean macro-F1 by question."""
    questions: dict[str, list[tuple[int, int]]] = {}
    for prediction, label, question in rows:
        questions.setdefault(question, []).append((prediction, label))
    exact = [int(all(p == r for p, r in found)) for found in questions.values()]
    f1s = [
        sk.f1_score([r for _, r in found], [p for p, _ in found], average="macro", zero_division=0)
        for found in questions.values()
    ]
    return sum(exact) / len(exact), sum(f1s) / len(f1s)


@SETTINGS
@given(
    st.lists(
        st.tuples(st.integers(0, 1), st.integers(0, 1), st.sampled_from(["q1", "q2", "q3"])), min_size=1, max_size=30
    )
)
def test_multirc_equals_super_glue(rows: list[tuple[int, int, str]]) -> None:
    both = columns([(p, r) for p, r, _ in rows]) | {"groups": [g for *_, g in rows]}
    exact, f1_m = multirc_oracle(rows)
    assert compute("em", **both)["em"] == pytest.approx(exact)
    assert compute("f1_m", **both)["f1_m"] == pytest.approx(f1_m)


def normal(text: str) -> str:
    """The SQuAD 1.1, MRQA and ReCoRD scripts' normalisation, step by step."""
    text = "".join(c for c in text.lower() if c not in set(string.punctuation))
    return " ".join(re.sub(r"\b(a|an|the)\b", " ", text).split())


def squad_f1(prediction: str, truth: str) -> float:
    got, gold = normal(prediction).split(), normal(truth).split()
    same = sum((Counter(got) & Counter(gold)).values())
    if same == 0:
        return 0.0
    precision, recall = same / len(got), same / len(gold)
    return 2 * precision * recall / (precision + recall)


answers = st.lists(
    st.sampled_from(["the", "a", "Cat", "cat.", "cats", "U.S.", "an", "ox", "--", "7,000"]), max_size=5
).map(" ".join)


@SETTINGS
@given(st.lists(st.tuples(answers, st.lists(answers, min_size=1, max_size=3)), min_size=1, max_size=8))
def test_answers_equal_squad_mrqa_and_record(rows: list[tuple[str, list[str]]]) -> None:
    exact = sum(max(float(normal(p) == normal(t)) for t in truths) for p, truths in rows) / len(rows)
    f1 = sum(max(squad_f1(p, t) for t in truths) for p, truths in rows) / len(rows)
    assert scoring.qa([p for p, _ in rows], [t for _, t in rows]) == pytest.approx({"em": exact, "f1": f1})
    assert compute("answers", **columns(rows)) == pytest.approx({"em": exact, "f1": f1})


def test_answers_by_hand() -> None:
    assert scoring.answer_scores("The cat!", ["a cat"]) == (1.0, 1.0)
    assert scoring.answer_scores("big cat", ["cat", "dog"]) == (0.0, pytest.approx(2 / 3))
    assert scoring.answer_scores("", ["cat"]) == (0.0, 0.0)


def conlleval(gold: list[list[str]], got: list[list[str]]) -> tuple[int, int, int]:
    """(right, predicted, gold) chunks, token by token in the manner of conlleval, with IOB2 read strictly."""

    def chunks(tags: list[str]) -> set[tuple[int, int, str]]:
        found, start = set(), -1
        for i, tag in enumerate([*tags, "O"]):
            if start >= 0 and not (tag[0] == "I" and tag[2:] == tags[start][2:]):
                found.add((start, i, tags[start][2:]))
                start = -1
            if tag[0] == "B":
                start = i
        return found

    pairs = [(chunks(g), chunks(p)) for g, p in zip(gold, got, strict=True)]
    return sum(len(g & p) for g, p in pairs), sum(len(p) for _, p in pairs), sum(len(g) for g, _ in pairs)


sentence = st.integers(1, 9).flatmap(
    lambda n: st.tuples(*[st.lists(st.sampled_from(["O", "B-X", "I-X", "B-Y", "I-Y"]), min_size=n, max_size=n)] * 2)
)


@SETTINGS
@given(st.lists(sentence, min_size=1, max_size=6))
def test_entities_equal_conlleval_and_strict_seqeval(rows: list[tuple[list[str], list[str]]]) -> None:
    both = columns(rows)
    right, predicted, gold = conlleval(both["references"], both["predictions"])
    expected = {
        "precision": right / predicted if predicted else 0.0,
        "recall": right / gold if gold else 0.0,
        "f1": 2 * right / (predicted + gold) if predicted + gold else 0.0,
    }
    assert scoring.entities(**both) == pytest.approx(expected)
    assert compute("entities", **both) == pytest.approx(expected)


def test_entities_are_strict() -> None:
    """The default mode of seqeval would give 1.0 here."""
    assert compute("entities", predictions=[["I-PER"]], references=[["B-PER"]])["f1"] == 0.0


words = st.lists(st.sampled_from(["Oslo", "Ben", "went", "to", "the", "Bank"]), min_size=1, max_size=10)


@SETTINGS
@given(words, st.data())
def test_entities_written_as_text_come_back(sentence: list[str], data: st.DataObject) -> None:
    tags = data.draw(
        st.lists(st.sampled_from(["O", "O", "B-X", "B-Y"]), min_size=len(sentence), max_size=len(sentence))
    )
    written = to_text(sentence, tags)
    assert from_text(written) == [(k, " ".join(sentence[s:e])) for k, s, e in spans(tags)]
    back = tags_of_text(sentence, written)
    assert Counter(k for k, *_ in spans(back)) == Counter(k for k, *_ in spans(tags)) and len(back) == len(sentence)
    located = match_in_order(sentence, from_text(written))
    assert located is not None and spans(bio(len(sentence), located)) == located


def test_absent_and_malformed_entities_count_as_wrong() -> None:
    tags = tags_of_text(["Ben", "left"], "PER: Ben ; LOC: Paris ; gibberish")
    assert tags == ["B-PER", "O", "B-absent", "B-absent"]
    scores = score(task_of("ner/conll2003"), protocol_of("carved"), [Prediction("0", tags, ["B-PER", "O"])])
    strict = {"precision": 1 / 3, "recall": 1.0, "f1": 0.5}
    assert scores == pytest.approx(strict | {f"{name}_lenient": value for name, value in strict.items()})


def test_invalid_output_in_f1_is_a_named_switch() -> None:
    task = task_of("glue/mrpc")
    rows = [Prediction("0", "1", "1"), Prediction("1", "maybe", "0"), Prediction("2", "", "1")]
    author, corrected = protocol_of("dept", "author"), protocol_of("dept", "corrected")
    assert score(task, author, rows)["f1"] == pytest.approx(1 / 2)  # the invalid ones become 1 and 0
    assert score(task, corrected, rows)["f1"] == pytest.approx(2 / 3)
    assert score(task, author, rows)["accuracy"] == score(task, corrected, rows)["accuracy"] == pytest.approx(1 / 3)


def test_unreadable_numbers() -> None:
    assert read_number(" 3.8 ", "opposite") == 3.8
    assert [read_number(text, "wrong") for text in ("3.", ".5", "1e0", "-2.0", "+4")] == [3.0, 0.5, 1.0, -2.0, 4.0]
    assert [read_number(text, "wrong") for text in ("inf", "", "3 .", "1e", ".")] == [2.5] * 5
    assert read_number("three", "opposite") == -1.0 and read_number("nan", "wrong") == 2.5
    rows = [Prediction(str(i), p, r) for i, (p, r) in enumerate([("1.0", 1.0), ("x", 2.0), ("5.0", 4.8)])]
    assert set(score(task_of("glue/stsb"), protocol_of("dept", "author"), rows)) == {"pearson", "spearman", "mean"}


def test_keys_are_the_tasks_metrics_and_references_are_checked() -> None:
    rows = [Prediction("a", "1", "1", "g"), Prediction("b", "0", "1", "g")]
    found = score(task_of("superglue/multirc"), protocol_of("dept", "author"), rows)
    assert list(found) == task_of("superglue/multirc").metrics and found["em"] == 0.0
    assert found["mean"] == pytest.approx((found["em"] + found["f1"]) / 2)
    with pytest.raises(ValueError, match="none of the labels"):
        score(task_of("superglue/boolq"), protocol_of("dept"), [Prediction("a", "1", "yes")])
    with pytest.raises(ValueError, match="no predictions"):
        score(task_of("superglue/boolq"), protocol_of("dept"), [])


@pytest.mark.parametrize(
    ("prediction", "referent", "same"),
    [
        ("the city councilmen", "city councilmen", True),
        ("Mark", "Mark's dog", False),
        ("the men", "the old men", True),
        ("Pete", "Mark", False),
        ("", "Mark", False),
        ("the", "Mark", False),
    ],
)
def test_wsc_referents_by_t5s_rule(prediction: str, referent: str, same: bool) -> None:
    assert scoring.same_referent(prediction, referent) is same


def test_every_metric_is_local() -> None:
    import evaluate

    assert all(issubclass(m, evaluate.Metric) for m in METRICS.values()) and len(METRICS) == 11


@SETTINGS
@given(st.lists(st.tuples(st.sampled_from(["PER", "LOC", "", ":"]), st.sampled_from(["a", "b c", "x"])), max_size=4))
def test_entities_of_generated_answers_are_counted_alike_in_records_and_in_tests(found: list[tuple[str, str]]) -> None:
    """Also those that a model wrote without a type."""
    words, gold = ["a", "b", "c", "d"], ["B-PER", "O", "B-LOC", "I-LOC"]
    text = " ; ".join(f"{kind}: {phrase}" if kind != ":" else phrase for kind, phrase in found) or "none"
    tags = tags_of_text(words, text)
    named = sum(bool(kind) for kind, _ in from_text(text)) if text != "none" else 0
    for name in ("f1", "precision", "recall", "f1_lenient", "precision_lenient", "recall_lenient"):
        columns_ = columns_of("tags", [tags], [gold])
        sums = KIND_METRICS["tags"][name].sums(columns_)  # type: ignore[misc]
        assert KIND_METRICS["tags"][name].score(columns_) == pytest.approx(float(sums.value(sums.terms.sum(0)))), tags
    assert len(lenient_spans(tags)) >= named
