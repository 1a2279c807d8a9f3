"""ATTEMPT's and Residual Prompt Tuning's own texts, selection and epochs, held against loops written from their files.

AkariAsai/ATTEMPT: attempt/data/tasks.py, run_seq2seq.py, metrics/metrics.py, third_party/trainers/trainer.py and
configs/, at 613f700. arazd/ResidualPrompts: t5_dataset.py, prompt_tuner2.py, bash_prompt_tune.sh, at 2b90371. All read.
"""

from __future__ import annotations

import json
import string
from typing import Any

import numpy as np
import pytest
import regex
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.utils.data import DataLoader

from conf.compose import compose, typed
from conf.resolve import ConfigError
from conf.schema import Config
from runners.verdicts import epochs
from tasks.config import metric_of
from tasks.metrics import Prediction, score
from tasks.rows import canonical_row
from tasks.scoring import answer_scores
from tasks.sources import load_fixture
from tasks.splits import RECIPES, WHOLE, parts_of, trained_rows
from tasks.templates import Template
from tests.tasks_rig import TASKS, protocol_of, shared_data, task_of


def chosen(*overrides: str) -> Config:
    return typed(compose(["fidelity=author", "runner=paper", "data=fixture", "backbone=t5_base", *overrides]))


def rendered(protocol: str, task: str, row: dict[str, Any]) -> Any:
    config = chosen("method=pt", f"protocol={protocol}", f"task={task}")
    made = canonical_row(config.task, row, "here")
    assert made is not None
    return Template(config.task, config.protocol, "t5")({"_id": "0", **made})


# ATTEMPT. run_seq2seq.py passes add_prefix=True wherever no adapter is trained; tasks.py, seq2seq_format: the class's
# name, then the parts joined by spaces. Below: the name and the parts of each class.

ATTEMPT_TEXTS = [
    ("glue/mrpc", "mrpc", ["sentence1:", "A.", "sentence2:", "B."], {"sentence1": "A.", "sentence2": "B.", "label": 1}),
    ("glue/cola", "cola", ["sentence:", "A."], {"sentence": "A.", "label": 1}),
    ("glue/mnli", "mnli", ["premise:", "A.", "hypothesis:", "B."], {"premise": "A.", "hypothesis": "B.", "label": 2}),
    ("glue/qnli", "qnli", ["question:", "A?", "sentence:", "B."], {"question": "A?", "sentence": "B.", "label": 0}),
    (
        "superglue/boolq", "superglue-boolq", ["question:", "a", "passage:", "B."],
        {"question": "a", "passage": "B.", "label": 1},
    ),
    (
        "superglue/multirc", "superglue-multirc", ["question:", "A?", "answer:", "b", "paragraph:", "C."],
        {"question": "A?", "answer": "b", "paragraph": "C.", "label": 1},
    ),
    (
        "superglue/wsc_fixed", "superglue-wsc.fixed", ["text:", "* Ann * says # she # is"],
        {"text": "Ann says she is", "span1_text": "Ann", "span1_index": 0, "span2_text": "she", "span2_index": 2,
         "label": 1},
    ),
    (
        "superglue/record", "superglue-record", ["record query: Q entities: A, B passage: P"],
        {"passage": "P", "query": "Q", "entities": ["A", "B"], "answers": ["A"]},
    ),
    (
        "mrqa/newsqa", "squad", ["question:", "Who ? ", "context:", "Me . "],  # pad_punctuation
        {"question": "Who?", "context": "Me.", "answers": ["Me"]},
    ),
    ("other/yelp2", "yelp_polarity", ["sentence:", "A."], {"text": "A.", "label": 1}),
    ("other/paws", "paws", ["sentence1:", "A.", "sentence2:", "B."],
     {"sentence1": "A.", "sentence2": "B.", "label": 0}),
    ("other/scitail", "scitail", ["premise:", "A.", "hypothesis:", "B."],
     {"sentence1": "A.", "sentence2": "B.", "gold_label": "neutral"}),
    ("other/winogrande", "winogrande", ["sentence:", "A _.", "option0:", "x", "option1:", "x"],  # their slip
     {"sentence": "A _.", "option1": "x", "option2": "y", "answer": "2"}),
]  # fmt: skip


@pytest.mark.parametrize(("task", "name", "parts", "row"), ATTEMPT_TEXTS, ids=[t[0] for t in ATTEMPT_TEXTS])
def test_fidelity_attempt_puts_the_tasks_name_in_front(
    task: str, name: str, parts: list[str], row: dict[str, Any]
) -> None:
    assert rendered("attempt", task, {**row, "idx": 0}).source == " ".join([name, *parts])


def test_fidelity_the_name_is_what_a_decoder_reads_first_and_no_other_protocol_has_it() -> None:
    config = chosen("method=pt", "protocol=attempt", "task=glue/rte")
    row = {"_id": "0", "sentence1": "A.", "sentence2": "B.", "label": "entailment"}
    llama = Template(config.task, config.protocol, "llama")(row).source
    assert llama.startswith("rte sentence1: A. sentence2: B.") and len(llama) > len("rte sentence1: A. sentence2: B.")
    other = chosen("method=pt", "protocol=dept", "task=glue/rte")
    assert Template(other.task, other.protocol, "t5")(row).source == "sentence1: A. sentence2: B."
    named, bare = (Template(one.task, one.protocol, "t5").identity() for one in (config, other))
    assert named != bare


# metrics.py, TASK_TO_METRICS; trainer.py, evaluate: average_metrics is their mean, which metric_for_best_model names in
# every configuration.

TASK_TO_METRICS = {
    "glue/mrpc": ["accuracy", "f1"],
    "glue/cola": ["matthews"],
    "glue/stsb": ["pearson", "spearman"],
    "glue/sst2": ["accuracy"],
    "glue/mnli": ["accuracy"],
    "glue/qnli": ["accuracy"],
    "glue/rte": ["accuracy"],
    "glue/qqp": ["accuracy", "f1"],
    "superglue/boolq": ["accuracy"],
    "superglue/cb": ["f1_macro", "accuracy"],
    "superglue/copa": ["accuracy"],
    "superglue/multirc": ["f1", "em"],
    "superglue/wic": ["accuracy"],
    "superglue/wsc_fixed": ["accuracy"],
    "superglue/record": ["f1", "em"],
    "mrqa/nq": ["em", "f1"],
    "mrqa/hotpotqa": ["em", "f1"],
    "mrqa/searchqa": ["em", "f1"],
    "mrqa/newsqa": ["em", "f1"],
    "mrqa/triviaqa": ["em", "f1"],
    "mrqa/squad": ["em", "f1"],
    "other/winogrande": ["accuracy"],
    "other/scitail": ["accuracy"],
    "other/yelp2": ["accuracy"],
    "other/paws": ["accuracy"],
}


@pytest.mark.parametrize("task", TASK_TO_METRICS)
def test_fidelity_attempt_selects_by_the_mean_of_a_tasks_metrics(task: str) -> None:
    config = chosen("method=pt", "protocol=attempt", f"task={task}")
    averaged = TASK_TO_METRICS[task]
    selects = metric_of(config.task, config.protocol, "select")
    assert (config.task.mean_of if selects == "mean" else [selects]) == sorted(
        averaged, key=(config.task.mean_of or averaged).index
    )
    assert metric_of(config.task, config.protocol, "report") != "mean"


def test_fidelity_the_mean_is_in_the_record() -> None:
    config = chosen("method=pt", "protocol=attempt", "task=mrqa/nq")
    rows = [Prediction("0", "x y", ["x"]), Prediction("1", "c", ["c"])]
    found = score(config.task, config.protocol, rows)
    assert found["mean"] == pytest.approx(np.mean([found["em"], found["f1"]])) == pytest.approx((0.5 + 5 / 6) / 2)
    assert "mean" not in score(task_of("mrqa/nq"), protocol_of("dept"), rows)


def test_fidelity_a_chosen_metric_must_be_recorded() -> None:
    with pytest.raises(ConfigError, match=r"protocol\.select_metric='mean': allowed: one of accuracy"):
        chosen("method=pt", "protocol=dept", "protocol.select_metric=mean", "task=glue/rte")
    config = chosen("method=pt", "protocol=attempt", "protocol.select_metric=f1", "task=glue/mrpc")
    assert metric_of(config.task, config.protocol, "select") == "f1"


# configs/*/*.json: num_train_epochs 20, evaluation_strategy epoch, batches of 32; multi_task_others.json 10 for PAWS,
# WinoGrande, SciTail and Yelp-2, of each at most 100,000 rows. The Trainer's steps per epoch: its loader's length.


@pytest.mark.parametrize(
    ("task", "rows", "count"),
    [
        ("glue/mrpc", 3_668, 20),
        ("superglue/cb", 250, 20),
        ("mrqa/nq", 104_071 - 1000, 20),
        ("other/yelp2", 100_000, 10),
        ("other/winogrande", 40_398 - 1000, 10),
    ],
)
def test_fidelity_attempt_counts_epochs(task: str, rows: int, count: int) -> None:
    runner = chosen("method=pt", "protocol=attempt", f"task={task}").runner
    an_epoch = len(DataLoader(range(rows), batch_size=32))  # type: ignore[arg-type]
    assert (runner.max_steps, runner.eval_every) == (count * an_epoch, an_epoch)


def test_fidelity_epochs_follow_the_batch_the_shots_and_the_user() -> None:
    def steps(*overrides: str) -> tuple[Any, Any]:
        runner = chosen("method=pt", "protocol=attempt", "task=glue/mrpc", *overrides).runner
        return runner.max_steps, runner.eval_every

    assert steps("runner.batch_size=16") == (20 * 230, 230)
    assert steps("protocol.epochs=3") == (3 * 115, 115)
    assert steps("protocol.k_shot=16") == (20, 1)
    assert steps("runner.max_steps=7") == (7, 115)
    with pytest.raises(ConfigError, match=r"protocol\.epochs"):
        steps("protocol.epochs=0")


@pytest.mark.parametrize("recipe", sorted(set(RECIPES) - {WHOLE, "lmbff"}))  # lmbff draws per class, or is refused
def test_rows_that_train_are_counted_as_they_are_split(recipe: str) -> None:
    protocol = protocol_of("attempt", split=recipe, epochs=20)
    for name in TASKS:
        task = task_of(name)
        if "train" in task.rows and len(task.rows) > 1:
            part = parts_of(task, protocol, task.rows)["train"]
            assert trained_rows(task, protocol) == len(part.indices(task.rows["train"])), name


def test_a_run_says_where_its_steps_are_not_the_protocols_epochs() -> None:
    config = chosen("method=pt", "protocol=attempt", "task=glue/mrpc")
    assert not epochs(config.protocol, config.runner, 3668)
    (said,) = epochs(config.protocol, config.runner, 1000)
    assert said["epochs"] == pytest.approx(2300 / 32) and "runner.max_steps=640" in said["message"]
    assert not epochs(chosen("method=pt", "protocol=dept").protocol, config.runner, 1000)


# metrics/qa_utils.py of ATTEMPT, whose copy DePT's src/metrics.py calls: _normalize_answer with an empty replacement,
# _f1_score, the best over the targets. Their `re` is the package regex.

PIECES = [*"aeAnthé x1_-.,'’\t", "the ", " an ", "\u00a0"]  # no combining accents: regex has them in a word, re has not
ANSWERS = st.lists(st.sampled_from(PIECES), max_size=12).map("".join)


def squad(prediction: str, targets: list[str]) -> tuple[float, float]:
    def normal(text: str) -> str:
        text = "".join("" if c in set(string.punctuation) else c for c in text.lower())
        return " ".join(regex.sub(r"\b(a|an|the)\b", " ", text).split())

    em, f1 = [], []
    for target in map(normal, targets):
        got, gold = normal(prediction).split(), target.split()
        same = sum(min(got.count(word), gold.count(word)) for word in set(got))
        em.append(float(normal(prediction) == target))
        precision, recall = same / max(len(got), 1), same / max(len(gold), 1)
        f1.append(2 * precision * recall / (precision + recall) if same else 0.0)
    return max(em), max(f1)


@given(ANSWERS, st.lists(ANSWERS, min_size=1, max_size=3))
@settings(max_examples=400, deadline=None)
def test_fidelity_squad_scores_are_attempts(prediction: str, targets: list[str]) -> None:
    assert answer_scores(prediction, targets) == pytest.approx(squad(prediction, targets))


def test_fidelity_two_empty_answers_match_exactly_with_no_f1() -> None:
    assert answer_scores("the", ["a"]) == squad("the", ["a"]) == (1.0, 0.0)


# Residual Prompt Tuning. t5_dataset.py: task_to_keys and preprocess_function (`key: value ` for each key, a lone key
# bare, stripped), task_to_labels.

TASK_TO_KEYS = {
    "superglue/boolq": ("passage", "question"),
    "superglue/copa": ("choice1", "choice2", "premise", "question"),
    "superglue/wic": ("start1", "end1", "sentence1", "start2", "end2", "sentence2", "word"),
    "superglue/cb": ("premise", "hypothesis"),
    "superglue/multirc": ("question", "answer", "paragraph"),
    "superglue/rte": ("premise", "hypothesis"),
    "glue/rte": ("sentence1", "sentence2"),
    "glue/mrpc": ("sentence1", "sentence2"),
    "glue/qqp": ("question1", "question2"),
    "glue/mnli": ("premise", "hypothesis"),
    "glue/cola": ("sentence",),
    "glue/sst2": ("sentence",),
}
TASK_TO_LABELS = {
    "superglue/boolq": ("false", "true"),
    "superglue/copa": ("false", "true"),
    "superglue/wic": ("false", "true"),
    "superglue/cb": ("entailment", "contradiction", "neutral"),
    "superglue/multirc": ("false", "true"),
    "superglue/rte": ("entailment", "not_entailment"),
    "glue/rte": ("entailment", "not_entailment"),
    "glue/mrpc": ("not_equivalent", "equivalent"),
    "glue/qqp": ("not_duplicate", "duplicate"),
    "glue/mnli": ("entailment", "neutral", "contradiction"),
    "glue/cola": ("not_acceptable", "acceptable"),
    "glue/sst2": ("negative", "positive"),
}


@pytest.mark.parametrize("task", TASK_TO_KEYS)
def test_fidelity_residual_prompts_have_the_scripts_texts_and_words(task: str) -> None:
    keys = TASK_TO_KEYS[task]
    for row in load_fixture(task_of(task)).splits["train"]:
        text = "".join(f"{key}: {row[key]} " for key in keys).strip() if len(keys) > 1 else row[keys[0]]
        example = rendered("residual_pt", task, row)
        assert (example.source, example.choices) == (text, TASK_TO_LABELS[task])
        assert example.target == TASK_TO_LABELS[task][example.label]


def test_fidelity_residual_prompts_train_twenty_epochs_of_eight() -> None:
    """bash_prompt_tune.sh (20 epochs, batches of 8); t5_dataset.py get_final_ds: WSC from its true rows alone."""
    config = chosen("method=residual_pt", "protocol=residual_pt", "task=superglue/boolq")
    assert (config.runner.max_steps, config.runner.eval_every) == (20 * 1179, 1179)  # 9,427 rows
    wsc = chosen("method=residual_pt", "protocol=residual_pt", "task=superglue/wsc")
    lines = (shared_data() / "superglue/wsc/train.jsonl").read_text(encoding="utf-8").splitlines()
    true = sum(bool(json.loads(line)["label"]) for line in lines)
    assert wsc.protocol.epoch_rows == true and wsc.runner.max_steps == 20 * len(DataLoader(range(true), batch_size=8))  # type: ignore[arg-type]


def test_fidelity_residual_prompts_average_the_two_scores_of_cb() -> None:
    """prompt_tuner2.py train_one_task: np.mean of compute_task_metrics, which gives CB and ReCoRD two.

    MultiRC in halves has micro-F1 alone, which is accuracy.
    """
    for task, wanted in (("superglue/cb", "mean"), ("superglue/record", "mean"), ("superglue/multirc", "accuracy")):
        config = chosen("method=residual_pt", "protocol=residual_pt", f"task={task}")
        assert metric_of(config.task, config.protocol, "select") == wanted


def test_fidelity_sizes_on_the_page_are_what_the_command_counts(capsys: pytest.CaptureFixture[str]) -> None:
    from scripts import fidelity_sizes as sizes

    for measure in (sizes.residual, sizes.attempt, sizes.macro_f1):
        measure(shared_data())
    said = capsys.readouterr().out
    page = " ".join((sizes.ROOT / "docs" / "fidelity.md").read_text(encoding="utf-8").split())
    for counted, stands in (
        ("100 of 259 (38.6%)", "100 of the 259 true training rows (38.6%)"),
        ("70 of 259 (27.0%)", "on 70 (27.0%)"),
        ("25 of 64", "25 of the 64 rows"),
        ("as 'not_entail'", "as `not_entail`"),
        ("as 'not_equi'", "as `not_equi`"),
        ("316 of 1,817 (17.4%)", "316 of SQuAD's 1,817 rows at hand (17.4%)"),
        ("0 of 474", "none of HotpotQA's 474"),
        ("27 of 1,817 (1.5%)", "1.5% of SQuAD's"),
        ("8 of 474 (1.7%)", "1.7% of HotpotQA's"),
        ("99.4 over three classes, 74.5", "74.5 for 99.4"),
        ("99.0 over three classes, 74.2", "74.2 for 99.0"),
    ):
        assert counted in said and stands in page, (counted, stands)
