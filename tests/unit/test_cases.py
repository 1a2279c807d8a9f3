"""One test for each line of ../shared/cases/README.md, and the values that are refused before anything starts.

The inputs are made here in other words; the folder's own are tried beside them where it is there. Run: pytest -k cases.
"""

from __future__ import annotations

import copy
import json
import math
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

import run
from conf.compose import compose
from conf.plan import make_plan
from conf.resolve import ConfigError
from scripts import new
from tasks.answers import decoded
from tasks.config import DataConfig, TaskConfig
from tasks.encode import told_apart
from tasks.entities import tags_of_text, to_text
from tasks.errors import DataError
from tasks.kinds import kind_of
from tasks.reading import read_rows
from tasks.task import TaskData, load_task
from tests.tasks_rig import protocol_of, task_of

ROOT = Path(__file__).resolve().parents[2]

VALUES = {  # override -> what the message must hold
    "method.lr.prompt=abc": "number > 0",
    "method.lr.prompt=-1": "number > 0",
    "method.lr.prompt=nan": "number > 0",
    "method.lr.prompt=inf": "number > 0",
    "method.lr.prompt=true": "number > 0",
    "method.lr={nope:1}": "no such learning rate",
    "method.lr=0.3": "a mapping is wanted",
    "method.prompt_length=0": "integer >= 1",
    "method.init_text_eos=3": "true or false",
    "method.init_from=1234567812345678": "text",
    "runner.max_steps=0": "integer >= 1",
    "runner.max_steps=1e3": "max_steps",
    "runner.eval_every=0": "integer >= 1",
    "runner.eval_batch_size=0": "integer >= 1",
    "runner.batch_size=0": "integer >= 1",
    "runner.batch_size=-4": "integer >= 1",
    "runner.micro_batch=0": "integer >= 1",
    "runner.patience=0": "integer >= 1",
    "runner.train_rows=-5": "integer >= 1",
    "runner.test_rows=0": "integer >= 1",
    "runner.clip_norm=-1": "number >= 0",
    "runner.clip_norm=nan": "number >= 0",
    "runner.precision=fp8": "fp32, bf16, fp16",
    "runner.device=tpu": "cpu, cuda, mps",
    "runner.optimizer.name=sgd": "adamw, adafactor",
    "runner.optimizer.betas=[0.9]": "2 numbers",
    "runner.optimizer.betas=[0.9,1.0]": "2 numbers",
    "runner.schedule.name=cosine": "linear, constant, exponential",
    "runner.schedule.warmup_steps=-1": "integer >= 0",
    "runner.log_every=0": "integer >= 1",
    "runner.threads=0": "integer >= 1",
    "protocol.carve=-1": "integer >= 1",
    "protocol.carve_share=1.5": "number > 0 < 1",
    "protocol.k_shot=0": "integer >= 1",
    "protocol.steps.small=0": "integer >= 1",
    "protocol.batch_size=0": "integer >= 1",
    "protocol.split=half": "carved, dept",
    "task.max_new_tokens=0": "integer >= 1",
    "task.select_metric.default=bleu": "one of task.metrics",
    "task.kind=translation": "classification, regression",
    "backbone.attention=flash": "sdpa, eager",
    "data.source=web": "auto, hub",
    "data.hub_probe_seconds=0": "number > 0",
    "seed=-1": "integer >= 0",
    "seed=4294967296": "integer >= 0",
    "seed=1.5": "seed",
    "fidelity=exact": "corrected, author",
    "budget.trials=0": "integer >= 1",
    "pack=-1": "integer >= 1",
    "method=null": "a run needs a method",
    "task=null": "a run needs a task",
    "backbone=null": "a run needs a backbone",
    "protocol=null": "a run needs a protocol",
    "runner=null": "a run needs a runner",
    "data=null": "a run needs a data",
    "tracking=null": "tracking=none",
    "~method": "a run needs a method",
    "~tracking": "a run needs a tracking",
    "~runner.max_steps": "nothing can be taken away",
    "method.init_text=${nope}": "nope",
    "method.init_text=${method.init_text}": "method.init_text",
    "method.init_text=${oc.env:NOT_SET_HERE}": "environment",
    "method.init_text=${oc.env:HOME}": "environment",
    "method.init_text='a ${oc.decode:${oc.env:HOME}} b'": "environment",
    "ledger.root=${oc.env:HOME}": "environment",
    "task.templates.default='${oc.env:HOME}'": "environment",
    "task.label_words.words=['${oc.env:HOME}',b]": "environment",
}


def problems(*overrides: str) -> list[str]:
    with pytest.raises(ConfigError) as error:
        compose(list(overrides))
    return error.value.problems


@pytest.mark.parametrize("override", VALUES)
def test_a_value_outside_its_range_is_refused_with_the_range(override: str) -> None:
    found = problems(override)
    assert len(found) == 1 and VALUES[override] in found[0], found
    assert override.lstrip("~").split("=")[0].split(".")[0] in found[0]
    assert str(Path.home()) not in found[0]  # what the environment holds is not said


def test_all_values_are_refused_at_once() -> None:
    chosen = [
        o for o in VALUES if o.split(".")[0] in ("runner", "protocol", "seed", "pack") and "." in o and "~" not in o
    ]
    chosen = list({o.split("=")[0]: o for o in chosen}.values())
    found = problems("method=dept", "method.rank=-2", "method.lr.prompt=abc", "backbone=t5_bse", *chosen)
    assert len(found) == len(chosen) + 3, found


def test_a_sweep_says_the_bad_values_of_all_points_before_its_first(tmp_path: Path) -> None:
    plan = make_plan(
        ["method.lr.prompt=0.1,abc,nan", "runner.batch_size=4,0", "data=fixture", f"cache.root={tmp_path}", "~tracking"]
    )
    assert len(plan.problems) == 4, plan.problems
    for said in ("lr.prompt='abc'", "lr.prompt=nan", "batch_size=0", "a run needs a tracking"):
        assert any(said in problem for problem in plan.problems), plan.problems
    assert not make_plan(["seed=1,2", "pack=-1", "data=fixture"]).points


def test_a_sweep_over_a_bad_value_is_refused_whole(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run.main(["-m", "runner.batch_size=4,0", "data=fixture", f"ledger.root={tmp_path / 'runs'}"]) == 2
    assert "runner.batch_size=0" in capsys.readouterr().err and not (tmp_path / "runs").exists()


@pytest.mark.parametrize("word", ["--dry-run", "--seeed=7", "-x", "-M", "seed", "=3", "--"])
def test_words_that_are_no_override_and_no_flag_are_refused(word: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert run.main([word, "task=superglue/boolq", "data=fixture"]) == 2
    assert repr(word)[1:-1] in capsys.readouterr().err


@pytest.mark.parametrize(
    "path", ["/data/a,b", "/data/x=(1)", "/data/it's [here]", "/data/ä{b}", 'C:\\rows "new"', "a:b#c"]
)
def test_a_path_with_unusual_characters_gets_the_quoting_that_works(path: str) -> None:
    import shlex

    try:
        assert compose([f"data.root={path}", "data=local"])["data"]["root"] == path  # some need none
    except ConfigError as error:
        (said,) = error.problems
        advised = shlex.split(said.rsplit("quoted it can: " if "quoted it can" in said else "or quote it: ", 1)[1])
        assert compose([*advised, "data=local"])["data"]["root"] == path


def test_references_between_keys_still_work() -> None:
    assert compose(["protocol.split_seed=${seed}", "seed=7"])["protocol"]["split_seed"] == 7
    assert problems("runner.max_steps=${fidelity}")[0].startswith("runner.max_steps='corrected'")


def test_every_refusal_ends_a_command_with_2_and_no_traceback() -> None:
    command = [sys.executable, str(ROOT / "run.py"), "method=null", "runner.batch_size=0", "method.lr.prompt=abc"]
    ended = subprocess.run(command, capture_output=True, text=True, check=False)
    assert ended.returncode == 2 and "Traceback" not in ended.stderr
    assert ended.stderr.count("\n  - ") >= 2 and "a run needs a method" in ended.stderr


# --- data: one test for each line of the table ------------------------------------------------------------------------

CASES = Path(os.environ.get("BENCH_SHARED", ROOT.parent / "shared")) / "cases"
WORDS = ["amber", "birch", "cedar", "dune", "ember", "fjord", "grove", "heath", "inlet", "jetty"]


def sentence(i: int) -> str:
    return " ".join(WORDS[(i * (k + 3) + k) % len(WORDS)] for k in range(5))


def jsonl(path: Path, rows: list[dict[str, Any]]) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows), encoding="utf-8")
    return path


def table(path: Path, header: str, lines: list[str]) -> Path:
    path.write_text("\n".join([header, *lines]) + "\n", encoding="utf-8")
    return path


def stsb(root: Path, split: str, labels: list[Any]) -> None:
    rows = [
        {"sentence1": sentence(i), "sentence2": sentence(i + 1), "label": v, "idx": i} for i, v in enumerate(labels)
    ]
    jsonl(root / f"glue/stsb/{split}.jsonl", rows)


def folders(made: Path, name: str) -> list[Path]:
    """The folder made here, and the one of ../shared where it is there."""
    return [made, *([CASES / name] if (CASES / name).exists() else [])]


def loaded(root: Path, cache: Path, name: str, protocol: str = "carved", family: str = "t5") -> TaskData:
    data = DataConfig(source="local", root=str(root))
    return load_task(
        task_of(name), protocol_of(protocol, "corrected"), data, family=family, cache_root=cache / str(len(str(root)))
    )


def new_task(tmp_path: Path, file: Path, *more: str) -> tuple[int, dict[str, Any]]:
    """Exit code of `scripts/new.py task mine --file FILE`, and the task's YAML where one was made."""
    code = new.main(["--root", str(tmp_path), "task", "mine", "--file", str(file), *more])
    made = tmp_path / "conf/task/user/mine.yaml"
    return code, yaml.safe_load(made.read_text(encoding="utf-8")) if made.exists() else {}


def written(tmp_path: Path, split: str = "train") -> list[dict[str, Any]]:
    lines = (tmp_path / f"data/user/mine/{split}.jsonl").read_text(encoding="utf-8").split("\n")
    return [json.loads(line) for line in lines if line]


@pytest.mark.parametrize("bare", [-1.0, None, "", "nan", math.nan])
@pytest.mark.parametrize("protocol", ["carved", "official", "ptuning_v2"])
def test_a_split_without_scores_is_never_scored(protocol: str, bare: Any, tmp_path: Path, capsys: Any) -> None:
    stsb(tmp_path / "d", "train", [i % 6 * 0.8 for i in range(60)])
    stsb(tmp_path / "d", "validation", [i % 5 * 1.1 for i in range(24)])
    stsb(tmp_path / "d", "test", [bare] * 20)
    for root in folders(tmp_path / "d", "stsb_unlabelled_test"):
        data = loaded(root, tmp_path, "glue/stsb", protocol)
        assert data.report["official_split"][data.report["report_split"]] == "validation"
        golds = {example.label for example in data.splits[data.report["report_split"]]}
        assert len(golds) > 3 and -1.0 not in golds
        said = capsys.readouterr().out
        assert "test: 20 rows without gold" in said and "never scored" in said
        assert "rows of the official validation split, which has gold" in said


@pytest.mark.parametrize(
    ("name", "column", "bare"),
    [
        ("glue/rte", "label", -1),
        ("glue/rte", "label", None),
        ("glue/rte", "label", math.nan),
        ("mrqa/squad", "answers", []),
        ("mrqa/squad", "answers", {"text": [], "answer_start": []}),
        ("mrqa/squad", "answers", [""]),
        ("ner/wnut17", "ner_tags", [-100, -100]),
        ("ner/wnut17", "ner_tags", None),
        ("ner/wnut17", "ner_tags", []),
    ],
)
def test_no_gold_of_any_kind_is_scored(name: str, column: str, bare: Any, tmp_path: Path) -> None:
    rows = {
        "glue/rte": {"sentence1": "a", "sentence2": "b", "label": 0},
        "mrqa/squad": {"context": "a b", "question": "c", "answers": ["a"]},
        "ner/wnut17": {"tokens": ["a", "b"], "ner_tags": ["B-person", "O"]},
    }[name]
    for split, changed in (("train", {}), ("validation", {}), ("test", {column: bare})):
        made = [rows | changed | {"idx": i, "id": str(i)} for i in range(30)]
        made = [row | {"sentence1": f"a {i}"} if "sentence1" in row else row for i, row in enumerate(made)]
        jsonl(tmp_path / f"d/{name}/{split}.jsonl", made)
    data = loaded(tmp_path / "d", tmp_path, name, "official")
    assert data.report["official_rows"].keys() == {"train", "validation"}
    assert any("without gold" in note for note in data.report["notes"])
    made = [rows | ({column: bare} if i == 6 else {}) | {"idx": i, "id": str(i)} for i in range(30)]
    jsonl(tmp_path / f"e/{name}/train.jsonl", made)
    with pytest.raises(DataError, match=r"train\.jsonl: row 7 has no label, but others"):
        loaded(tmp_path / "e", tmp_path, name, "official")


@pytest.mark.parametrize(("value", "said"), [(math.nan, "nan"), (math.inf, "inf"), ("high", "high"), (None, "None")])
def test_a_score_that_is_no_number_is_refused_with_file_row_and_value(value: Any, said: str, tmp_path: Path) -> None:
    labels: list[Any] = [i % 6 * 0.8 for i in range(60)]
    stsb(tmp_path / "d", "validation", labels[:24])
    stsb(tmp_path / "d", "train", [*labels[:3], value, *labels[4:]])
    with pytest.raises(DataError, match=rf"glue/stsb/train\.jsonl: row 4\b.*{said}"):
        loaded(tmp_path / "d", tmp_path, "glue/stsb")
    if (CASES / "stsb_nan").exists():
        with pytest.raises(DataError, match=r"glue/stsb/train\.jsonl: row 4\b.*nan"):
            loaded(CASES / "stsb_nan", tmp_path, "glue/stsb")


SQUAD_FORMS: list[Any] = [
    {"text": ["dune", "the dune"], "answer_start": [0, 3]},
    [{"text": "dune", "answer_start": 0}, {"text": "the dune", "answer_start": 3}],
    ["dune", "the dune"],
]


@pytest.mark.parametrize("answers", SQUAD_FORMS)
def test_squads_form_is_known(answers: Any, tmp_path: Path) -> None:
    rows = [
        {"id": f"q{i}", "title": "T", "context": sentence(i), "question": f"{i}?", "answers": answers}
        for i in range(30)
    ]
    for place, file in enumerate(folders(jsonl(tmp_path / "rows.jsonl", rows), "qa_dict_answers.jsonl")):
        code, task = new_task(tmp_path / str(place), file)
        assert (
            code == 0
            and task["kind"] == "qa"
            and task["templates"]["default"] == "question: {question} context: {context}"
        )
        row = written(tmp_path / str(place))[0]
        assert len(row["answers"]) == 2 and row["answers"][1] == f"the {row['answers'][0]}" and set(row) == {
            "idx", "question", "context", "answers"
        }  # fmt: skip


def test_squads_nested_file_is_known(tmp_path: Path) -> None:
    asked = [{"id": str(i), "question": f"{i}?", "answers": [{"text": "dune", "answer_start": 0}]} for i in range(30)]
    asked[4] |= {"answers": [], "is_impossible": True}
    whole = {"version": "2.0", "data": [{"title": "T", "paragraphs": [{"context": "dune", "qas": asked}]}]}
    (tmp_path / "dev.json").write_text(json.dumps(whole), encoding="utf-8")
    code, task = new_task(tmp_path, tmp_path / "dev.json")
    assert code == 0 and task["kind"] == "qa" and sum(task["rows"].values()) == 29
    assert {tuple(row["answers"]) for row in written(tmp_path)} == {("dune",)}


def test_label_words_of_the_same_token_ids_are_refused(tmp_path: Path) -> None:
    place = CASES.parent / "data/tokenizers/t5/spiece.model"
    if not place.exists():
        pytest.skip("T5's tokenizer is not beside the repository (../shared/data/tokenizers/t5)")
    from transformers import T5Tokenizer

    tokenizer = T5Tokenizer.from_pretrained(str(place.parent))
    said = told_apart(["好评", "差评"], tokenizer, "t5", True)
    assert "'好评' and '差评' have the same token ids" in said
    assert told_apart(["0", "1"], tokenizer, "t5", True) == ""


def test_label_words_that_tie_refuse_the_run_and_name_the_way_out(tmp_path: Path) -> None:
    from tests.running import run_here

    changed = ["protocol.label_words=words", "task.label_words.words=[ab,abb]", "backbone.text.answer_eos=false"]
    outcome = run_here(tmp_path, *changed)
    assert outcome.status == "refused" and outcome.reason is not None and outcome.exit_code == 2
    assert "'ab'" in outcome.reason and "'abb'" in outcome.reason and "protocol.label_words=digits" in outcome.reason


@pytest.mark.parametrize("eos", [True, False])
def test_a_word_that_begins_another_ties_only_without_an_end(eos: bool) -> None:
    from backbones.tiny_tokenizer import tiny_tokenizer

    said = told_apart(["ab", "abb"], tiny_tokenizer("llama"), "llama", eos)
    assert (said == "") == eos and (eos or "begin those of 'abb'" in said)


SPACED = ["He", "left", "Mossburg", ",", "Ont", ".", ",", "didn", "'t", "he", "?"]


def test_decoding_never_cleans_up_spaces(tmp_path: Path) -> None:
    from backbones.tiny_tokenizer import tiny_tokenizer

    rows = [(SPACED, ["O", "O", "B-LOC", "I-LOC", "I-LOC", "I-LOC", *["O"] * 5])]
    file = CASES / "ner_spaced_punctuation.jsonl"
    if file.exists():
        rows += [(row["tokens"], row["ner_tags"]) for row in map(json.loads, file.read_text().splitlines())]
    for face in ("t5", "llama"):
        tokenizer = copy.deepcopy(tiny_tokenizer(face))
        tokenizer.clean_up_tokenization_spaces = True  # what many tokenizers on the Hub say of themselves
        for words, tags in rows:
            text = to_text(words, tags)
            ids = tokenizer(text, add_special_tokens=False)["input_ids"]
            assert decoded(tokenizer, ids) == text and tags_of_text(words, decoded(tokenizer, ids)) == list(tags)


def test_classes_may_be_named_minus_1_0_1(tmp_path: Path) -> None:
    made = table(tmp_path / "rows.csv", "text,label", [f"{sentence(i)},{i % 3 - 1}" for i in range(60)])
    for place, file in enumerate(folders(made, "labels_minus1_0_1.csv")):
        root = tmp_path / str(place)
        code, values = new_task(root, file)
        assert code == 0 and values["labels"] == ["-1", "0", "1"] and values["kind"] == "classification"
        for text in (True, False):  # by name, and as numbers
            for split in ("train", "validation", "test"):
                rows = [row | ({} if text else {"label": int(row["label"])}) for row in written(root, split)]
                jsonl(root / f"{text}/user/mine/{split}.jsonl", rows)
            task = TaskConfig(**values)
            data = DataConfig(source="local", root=str(root / str(text)))
            found = load_task(task, protocol_of("carved"), data, family="t5", cache_root=root / "cache")
            got = {row["idx"]: row["label"] for row in written(root)}
            assert all(str(got[int(e.id)]) == task.labels[int(e.label or 0)] for e in found.splits["train"])


def test_many_whole_numbers_are_asked_about(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    made = table(tmp_path / "rows.csv", "text,label", [f"{sentence(i)},{i % 61}" for i in range(400)])
    for place, file in enumerate(folders(made, "integer_77_classes.csv")):
        assert new_task(tmp_path / str(place), file) == (2, {})
        assert "--kind: classification (classes), or regression" in capsys.readouterr().err
        assert not (tmp_path / str(place)).exists()
        code, task = new_task(tmp_path / str(place), file, "--kind", "classification")
        assert code == 0 and len(task["labels"]) in (61, 77)
        said = capsys.readouterr().out
        assert said.index("a classification task (as asked for") < said.index("wrote ")


@pytest.mark.parametrize("separator", ["\u2028", "\u2029", "\x85", "\x0b", "\x1c"])
def test_a_line_separator_inside_a_string_is_text(separator: str, tmp_path: Path) -> None:
    rows = [{"text": f"{sentence(i)}{separator}{i}", "label": ("bad", "good")[i % 2]} for i in range(30)]
    for place, file in enumerate(folders(jsonl(tmp_path / "rows.jsonl", rows), "line_separator.jsonl")):
        code, values = new_task(tmp_path / str(place), file)
        assert code == 0
        root = DataConfig(source="local", root=str(tmp_path / str(place) / "data"))
        data = load_task(
            TaskConfig(**values), protocol_of("carved"), root, family="t5", cache_root=tmp_path / f"c{place}"
        )
        texts = [e.source for split in data.splits.values() for e in split]
        assert len(texts) == len(read_rows(file)) and (place or all(separator in text for text in texts))


@pytest.mark.parametrize("family", ["encoder", "t5"])
def test_an_empty_sentence_is_passed_over_and_counted(family: str, tmp_path: Path, capsys: Any) -> None:
    row = {"tokens": ["Ada", "left", "Rome"], "ner_tags": ["B-PER", "O", "B-LOC"]}
    for split in ("train", "validation", "test"):
        empty = [{"id": "e", "tokens": [], "ner_tags": []}] if split == "train" else []
        jsonl(tmp_path / f"d/ner/conll2003/{split}.jsonl", empty + [row | {"id": str(i)} for i in range(16)])
    from backbones.tiny_tokenizer import tiny_tokenizer
    from tasks.encoded import encode_split

    for root in folders(tmp_path / "d", "ner_empty_first"):
        data = loaded(root, tmp_path, "ner/conll2003", family=family)
        assert "train: 1 sentences without words passed over" in capsys.readouterr().out
        face = "bert" if family == "encoder" else family
        names = kind_of(task_of("ner/conll2003")).tag_names(task_of("ner/conll2003")) if family == "encoder" else ()
        got = encode_split(
            data.splits["train"], tiny_tokenizer(face), family=family, max_source_length=64, tag_names=names
        )
        assert len(got) == data.report["rows"]["train"] > 10


@pytest.mark.parametrize("header", ["Title,title ,label", "a-b,a b,label", "Ünit,ünit,label"])
def test_columns_that_would_be_one_field_are_refused_naming_both(header: str, tmp_path: Path, capsys: Any) -> None:
    made = table(tmp_path / "rows.csv", header, [f"{sentence(i)},{sentence(i + 1)},{i % 2}" for i in range(30)])
    for place, file in enumerate(folders(made, "colliding_columns.csv")):
        assert new_task(tmp_path / str(place), file)[0] == 2
        said = capsys.readouterr().err
        first, second, _ = file.read_text(encoding="utf-8").split("\n")[0].split(",")
        assert first in said and second.strip() in said and "would both be" in said


def test_a_column_twice_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    made = table(
        tmp_path / "rows.csv", "title,title,label", [f"{sentence(i)},{sentence(i + 1)},{i % 2}" for i in range(30)]
    )
    for place, file in enumerate(folders(made, "duplicate_columns.csv")):
        assert new_task(tmp_path / str(place), file)[0] == 2
        assert "columns 1 and 2 are both named" in capsys.readouterr().err
