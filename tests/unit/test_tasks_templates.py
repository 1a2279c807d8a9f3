"""What a model reads and answers, row by row, under each family of papers."""

from __future__ import annotations

from typing import Any

import pytest

from tasks.answers import parse_answer, reference_of
from tasks.errors import DataError
from tasks.prepare import mark_spans, pad_punctuation
from tasks.rows import canonical
from tasks.templates import Template, label_words, number_text, unsupported
from tests.tasks_rig import protocol_of, task_of

PAIR = {"sentence1": "A.", "sentence2": "B.", "label": 1}
ROWS: dict[str, dict[str, Any]] = {
    "glue/cola": {"sentence": "It is.", "label": 0},
    "glue/mrpc": PAIR,
    "glue/qqp": {"question1": "A?", "question2": "B?", "label": 1},
    "glue/stsb": {"sentence1": "A.", "sentence2": "B.", "label": 3.75},
    "glue/mnli": {"premise": "P.", "hypothesis": "H.", "label": 2},
    "glue/qnli": {"question": "Q?", "sentence": "S.", "label": 0},
    "superglue/multirc": {"paragraph": "<b>Sent 1: </b>P.<br>Q.", "question": "Q?", "answer": "A", "label": 1},
    "superglue/boolq": {"question": "q", "passage": "p", "label": True},
    "superglue/wic": {"word": "w", "sentence1": "A w.", "sentence2": "B w.", "label": 1},
    "superglue/copa": {"premise": "P.", "choice1": "A.", "choice2": "B.", "question": "cause", "label": 1},
    "superglue/cb": {"premise": "P.", "hypothesis": "H.", "label": 2},
    "superglue/record": {
        "passage": "P.\n@highlight\nQ", "query": "@placeholder?", "entities": ["E", "F"], "answers": ["F"],
    },
    "mrqa/squad": {
        "context": "It's C.", "question": "Who?", "answers": {"text": ["U.S.", "US"], "answer_start": [0, 0]},
    },
    "other/winogrande": {"sentence": "_ ran.", "option1": "A", "option2": "B", "answer": "2"},
    "other/scitail": {"sentence1": "P.", "sentence2": "H.", "gold_label": "neutral"},
    "superglue/wsc_fixed": {
        "text": "Mark told Pete that he lied.", "span1_index": 0, "span1_text": "Mark", "span2_index": 4,
        "span2_text": "he", "label": 1,
    },
}  # fmt: skip

DEPT = {
    "glue/cola": ("sentence: It is.", "0"),
    "glue/mrpc": ("sentence1: A. sentence2: B.", "1"),
    "glue/qqp": ("question1: A? question2: B?", "1"),
    "glue/stsb": ("sentence1: A. sentence2: B.", "3.8"),
    "glue/mnli": ("premise: P. hypothesis: H.", "2"),
    "glue/qnli": ("question: Q? sentence: S.", "0"),
    "superglue/multirc": ("question: Q? answer: A paragraph: Sent 1: P. Q.", "1"),
    "superglue/boolq": ("question: q passage: p", "1"),
    "superglue/wic": ("sentence1: A w. sentence2: B w. word: w", "1"),
    "superglue/copa": ("premise: P. choice1: A. choice2: B.", "1"),
    "superglue/cb": ("premise: P. hypothesis: H.", "2"),
    "superglue/record": ("record query: @placeholder? entities: E, F passage: P. Q", "F"),
    "mrqa/squad": ("question: Who ?  context: It ' s C . ", "U . S . "),
    "other/winogrande": ("sentence: _ ran. option0: A option1: A", "1"),
    "other/scitail": ("premise: P. hypothesis: H.", "1"),
    "superglue/wsc_fixed": ("text: * Mark * told Pete that # he # lied.", "1"),
}
LESTER = {
    "superglue/boolq": ("passage: p question: q", "True"),
    "superglue/cb": ("hypothesis: H. premise: P.", "neutral"),
    "superglue/copa": ("choice1: A. choice2: B. premise: P. question: cause", "choice2"),
    "superglue/multirc": ("question: Q? answer: A paragraph: Sent 1: P. Q.", "True"),
    "superglue/record": ("query: @placeholder? entities: E, F passage: P. Q", "F"),
    "superglue/wic": ("sentence1: A w. sentence2: B w. word: w", "True"),
    "superglue/wsc_fixed": ("Mark told Pete that *he* lied.", "Mark"),
    "glue/mrpc": ("sentence1: A. sentence2: B.", "equivalent"),
    "glue/qqp": ("question1: A? question2: B?", "duplicate"),
}


def made(name: str, protocol: str, family: str = "t5", fidelity: str = "author", **changes: Any):
    task = task_of(name)
    row = canonical(task, "train", [ROWS[name]], "here")[0]
    return Template(task, protocol_of(protocol, fidelity, **changes), family)(row)


@pytest.mark.parametrize("name", DEPT)
def test_dept_templates(name: str) -> None:
    example = made(name, "dept")
    assert (example.source, example.target) == DEPT[name]


@pytest.mark.parametrize("name", LESTER)
def test_lester_templates(name: str) -> None:
    example = made(name, "lester", fidelity="corrected")
    assert (example.source, example.target) == LESTER[name]


def test_fidelity_switches() -> None:
    assert made("other/winogrande", "dept", fidelity="corrected").source == "sentence: _ ran. option0: A option1: B"
    assert made("glue/stsb", "dept", fidelity="corrected").target == "3.8" == number_text(3.75, "fifth")
    assert (number_text(3.65, "tenth"), number_text(3.65, "fifth"), number_text(3.65, "none")) == ("3.6", "3.6", "3.65")
    assert number_text(3.5, "tenth") == "3.5" and number_text(3.5, "fifth") == "3.6"
    assert made("mrqa/squad", "dept").references == ("U . S . ",)
    assert len(made("mrqa/squad", "dept", fidelity="corrected").references) == 2


def test_decoder_only_models_read_a_cue_last() -> None:
    example = made("superglue/boolq", "carved", "llama")
    assert example.source == "question: q passage: p label:" and example.suffix == " label:"
    assert made("superglue/boolq", "dept", "llama", fidelity="corrected").source.endswith(" Label :")
    assert made("superglue/boolq", "dept", "llama").source.endswith(" Label : ")  # the authors' space
    assert made("superglue/boolq", "carved", "t5").suffix == ""


def test_encoder_inputs_of_p_tuning_v2() -> None:
    assert made("superglue/boolq", "ptuning_v2", "encoder").segments == (("q", "p"),)
    assert made("superglue/copa", "ptuning_v2", "encoder").segments == (("P. because", "A."), ("P. because", "B."))
    wic = made("superglue/wic", "ptuning_v2", "encoder").segments
    assert wic == (("A w. B w. Does w have the same meaning in both sentences?", None),)
    bert = made("superglue/wic", "ptuning_v2", "encoder", style="ptuning_v2_bert").segments
    assert bert == (("w: A w.", "w: B w."),)
    assert made("superglue/wsc_fixed", "ptuning_v2", "encoder").segments == (
        ("he: Mark told Pete that he lied.", "Mark"),
    )


def test_wsc_referents_are_scored_as_labels() -> None:
    task, example = task_of("superglue/wsc_fixed"), made("superglue/wsc_fixed", "lester")
    assert reference_of(task, example) == "True"
    assert (parse_answer(task, example, "mark"), parse_answer(task, example, "Pete")) == ("True", "False")


def test_record_makes_one_training_example_per_answer() -> None:
    task = task_of("superglue/record")
    row = canonical(task, "train", [ROWS["superglue/record"] | {"answers": ["E", "F"]}], "here")[0]
    template = Template(task, protocol_of("dept"), "t5")
    assert [template(row, v).target for v in template.variants(row, train=True)] == ["E", "F"]
    assert template.variants(row, train=False) == [0] and template(row).references == ("E", "F")
    assert Template(task, protocol_of("carved"), "t5")(row).choices == ("E", "F")


def test_marks_and_padding() -> None:
    row = {
        "text": "He saw Al and Al's dog.",
        "span1_text": "Al",
        "span1_index": 2,
        "span2_text": "He",
        "span2_index": 0,
    }
    assert mark_spans(row)["text"] == "# He # saw * Al * and Al's dog."
    assert pad_punctuation("Zoë's (e\u0301) 3,5_x") == "Zoë ' s ( e\u0301 ) 3 , 5_x"


def test_words_and_unsupported_families() -> None:
    assert label_words(task_of("superglue/boolq"), protocol_of("carved")) == ("0", "1")
    assert label_words(task_of("superglue/boolq"), protocol_of("official")) == ("no", "yes")
    assert label_words(task_of("glue/stsb"), protocol_of("carved")) == ()
    assert "not for encoder" in unsupported(task_of("mrqa/squad"), protocol_of("dept"), "encoder")
    with pytest.raises(DataError, match="has no classes"):
        Template(task_of("ner/wnut17"), protocol_of("lmbff"), "t5")
    with pytest.raises(DataError, match="one distinct word"):
        label_words(task_of("superglue/boolq", label_words={"words": ["yes", "yes"]}), protocol_of("official"))


def test_words_that_differ_in_spaces_alone_are_one_word() -> None:
    """Answers are compared without the spaces around them: every answer would be right."""
    task = task_of("superglue/boolq", label_words={"words": ["yes", "yes "]})
    with pytest.raises(DataError, match="one distinct word for each"):
        label_words(task, protocol_of("carved", label_words="words"))


@pytest.mark.parametrize("family", ["t5", "encoder"])
def test_the_right_option_of_a_row_is_one_that_it_has(family: str) -> None:
    """A number that no option has would be answered, and be right."""
    task, protocol = task_of("mc/commonsense_qa"), protocol_of("carved")
    row = {"question": "q", "choices": ["a", "b", "c"], "idx": 0}
    [good, bad] = [canonical(task, "train", [row | {"label": label}], "here")[0] for label in (2, 3)]
    assert Template(task, protocol, family)(good).label == 2
    with pytest.raises(DataError, match="a row has 3 options, and its right one is '3', number 4"):
        Template(task, protocol, family)(bad)


def test_an_empty_answer_is_no_answer() -> None:
    row = {"context": "c", "question": "q", "id": "0"}
    with pytest.raises(DataError, match=r"one of the answers .* is empty"):
        canonical(task_of("mrqa/squad"), "train", [row | {"answers": ["x", " "]}], "here")
