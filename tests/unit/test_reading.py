"""One reader of every form, tagging schemes, special tokens in texts, and what is said of data before a run."""

from __future__ import annotations

import gzip
import json
from pathlib import Path
from typing import Any

import pytest
import yaml

from backbones.config import BackboneConfig
from backbones.lineage import trained_on
from backbones.tiny_tokenizer import tiny_tokenizer
from scripts import new
from tasks.config import DataConfig
from tasks.encode import encode
from tasks.errors import DataError
from tasks.examples import Example
from tasks.iob import NotATag, iob2
from tasks.metrics import METRICS, Metric
from tasks.plain_text import PlainText
from tasks.reading import read_rows
from tasks.task import load_task
from tests.running import run_here
from tests.tasks_rig import protocol_of, task_of

ROWS = [{"text": "a, b\n\u2028c", "label": "x"}, {"text": "d" * 300_000, "label": 'y"'}]
CSV = 'text,label\r\n"a, b\n\u2028c",x\r\n' + "d" * 300_000 + ',"y"""\r\n'


@pytest.mark.parametrize("mark", [b"", b"\xef\xbb\xbf"])
@pytest.mark.parametrize("end", ["\n", "\r\n"])
@pytest.mark.parametrize("packed", [False, True])
def test_every_text_form_reads_the_same_rows(mark: bytes, end: str, packed: bool, tmp_path: Path) -> None:
    forms = {
        "jsonl": end.join(json.dumps(row, ensure_ascii=False) for row in ROWS) + end,
        "json": json.dumps(ROWS),
        "csv": CSV,
    }
    for form, text in forms.items():
        path = tmp_path / f"rows.{form}{'.gz' if packed else ''}"
        content = mark + text.encode()
        path.write_bytes(gzip.compress(content, mtime=0) if packed else content)
        assert read_rows(path) == ROWS, form


@pytest.mark.parametrize(
    ("name", "content", "said"),
    [
        ("a.parquet", b"PAR1 and nothing else", "a.parquet: not a whole parquet file"),
        ("a.jsonl.gz", gzip.compress(b'{"a": 1}\n' * 999, mtime=0)[:-9], "a.jsonl.gz: cannot be read"),
        ("a.jsonl.gz", b'{"a": 1}\n', "named .gz, but it is not gzipped"),
        ("a.csv", gzip.compress(b"a,b\n1,2\n", mtime=0), "does not end in .gz"),
        ("a.csv", "a,b\n1,2\n".encode("utf-16"), "it looks like UTF-16"),
        ("a.csv", "a,b\né,2\n".encode("latin-1"), "save it as UTF-8"),
        ("a.csv", b'a,b\n"1,2\n3,4\n', "not CSV"),
        ("a.csv", b"a,b\n1,2,3\n", "row 1 has other columns"),
        ("a.csv", b",b\n1,2\n", "column 1 has no name"),
        ("a.csv", b"b,b\n1,2\n", "columns 1 and 2 are both named 'b'"),
        ("a.jsonl", b'{"a": 1, "a": 2}\n', "a.jsonl:1: the key 'a' stands twice"),
        ("a.jsonl", b'{"a": "\\ud83d"}\n', r"\\ud83d is half of a surrogate pair"),
        ("a.jsonl", b"[" * 100_000, "a.jsonl:1: cannot be read"),
        ("a.jsonl", b'{"a": ' + b"9" * 5000 + b"}", "a.jsonl:1: cannot be read"),
        ("a.conll", b"EU B-ORG\nrejects\n", "a.conll:2: 1 columns"),
        ("a.json", b'{"data": [{"paragraphs": [{"qas": [{}]}]}]}', "article 1 is not of SQuAD's form"),
        ("a.xlsx", b"", ".xlsx is not read here"),
    ],
)
def test_what_cannot_be_read_is_refused_by_name(name: str, content: bytes, said: str, tmp_path: Path) -> None:
    (tmp_path / name).write_bytes(content)
    with pytest.raises(DataError, match=said.replace("(", r"\(")):
        read_rows(tmp_path / name)


SENTENCES = [(["EU", "rejects", "German", "call"], ["B-ORG", "O", "B-MISC", "O"]), (["#", "x"], ["O", "B-LOC"])]


@pytest.mark.parametrize("columns", [2, 4])
@pytest.mark.parametrize("separator", ["\t", " ", "  "])
def test_conll_columns_are_sentences(columns: int, separator: str, tmp_path: Path) -> None:
    middle = ["NN", "B-NP"] if columns == 4 else []
    lines = ["-DOCSTART-" + (f"{separator}-X-" * (columns - 2)) + f"{separator}O", "", "# id = 7"]
    for words, tags in SENTENCES:
        lines += [separator.join([word, *middle, tag]) for word, tag in zip(words, tags, strict=True)] + [" "]
    (tmp_path / "a.conll").write_text("\r\n".join(lines), encoding="utf-8")
    got = read_rows(tmp_path / "a.conll")
    assert [(row["tokens"], row["ner_tags"]) for row in got] == SENTENCES


@pytest.mark.parametrize(
    ("tags", "made", "scheme"),
    [
        (["B-A", "I-A", "O"], ["B-A", "I-A", "O"], ""),
        (["I-A", "I-A", "B-A", "I-B"], ["B-A", "I-A", "B-A", "B-B"], "IOB1"),
        (["S-A", "B-B", "I-B", "E-B"], ["B-A", "B-B", "I-B", "I-B"], "BIOES"),
        (["U-A", "B-B", "L-B", "O"], ["B-A", "B-B", "I-B", "O"], "BIOES"),
    ],
)
def test_schemes_become_iob2(tags: list[str], made: list[str], scheme: str) -> None:
    assert iob2([["O"], tags]) == ([["O"], made], scheme)


@pytest.mark.parametrize("tags", [["B-A", "O", "I-A"], ["E-A"], ["PER"], ["B-"], ["X-A"], [""]])
def test_tags_of_no_scheme_are_refused(tags: list[str]) -> None:
    with pytest.raises(NotATag):
        iob2([["O"], tags])


def ner(root: Path, tags: list[str]) -> DataConfig:
    folder = root / "d/ner/wnut17"
    folder.mkdir(parents=True)
    for split in ("train", "dev", "test"):
        rows = [{"id": str(i), "tokens": ["a", "b", f"{split}{i}"], "ner_tags": tags} for i in range(12)]
        (folder / f"{split}.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    return DataConfig(source="local", root=str(root / "d"))


def test_iob1_is_noted_and_no_entity_is_refused(tmp_path: Path) -> None:
    data = ner(tmp_path / "a", ["I-person", "B-person", "O"])
    got = load_task(task_of("ner/wnut17"), protocol_of("carved"), data, family="encoder", cache_root=tmp_path)
    assert got.splits["train"][0].tags == ("B-person", "B-person", "O")
    assert "train: tags brought from IOB1 to IOB2" in got.report["notes"]
    assert got.report["official_rows"]["validation"] == 12  # dev.jsonl
    with pytest.raises(DataError, match="12 sentences without a single entity"):
        load_task(
            task_of("ner/wnut17"),
            protocol_of("carved"),
            ner(tmp_path / "b", ["O"] * 3),
            family="t5",
            cache_root=tmp_path,
        )


@pytest.mark.parametrize("family", ["t5", "llama", "encoder"])
@pytest.mark.parametrize("special", ["</s>", "<s>", "<pad>", "[SEP]", "[CLS]"])
def test_special_tokens_in_a_text_stay_text(family: str, special: str) -> None:
    tokenizer = tiny_tokenizer("bert" if family == "encoder" else family)
    text = f"one {special} two{special}"
    example = Example("0", text, special, (special, "x"), 0, segments=((text, special),))
    (got,) = encode([example], tokenizer, family=family, max_source_length=200)
    (plain,) = encode(
        [Example("0", "one", "y", ("x",), 0, segments=(("one", "y"),))], tokenizer, family=family, max_source_length=200
    )
    ids = got.segments[0] if family == "encoder" else got.source
    own = plain.segments[0] if family == "encoder" else plain.source
    counted = [sum(i in tokenizer.all_special_ids for i in found) for found in (ids, own)]
    assert counted[0] == counted[1]  # the family's own, and none from the text
    assert tokenizer.decode(ids, skip_special_tokens=True).count(special) == (3 if family == "encoder" else 2)
    if family != "encoder":
        assert tokenizer.decode(got.target, skip_special_tokens=True).strip() == special
    assert PlainText(tokenizer).for_texts(["one two"]) is tokenizer


def test_rows_shared_with_train_are_counted(tmp_path: Path) -> None:
    folder = tmp_path / "d/glue/cola"
    folder.mkdir(parents=True)
    for split, start in (("train", 0), ("validation", 35)):
        rows = [{"sentence": f"s {i}", "label": i % 2, "idx": i} for i in range(start, start + 40)]
        (folder / f"{split}.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    data = DataConfig(source="local", root=str(tmp_path / "d"))
    got = load_task(task_of("glue/cola"), protocol_of("official"), data, family="t5", cache_root=tmp_path)
    assert got.report["shared_with_train"] == {"validation": 5}
    assert "5 of 40 validation rows are training rows too" in got.report["notes"]


@pytest.mark.parametrize(
    ("hub", "path", "task", "known"),
    [
        ("google-t5/t5-base", None, "glue/rte", True),
        ("t5-small", None, "mrqa/squad", True),
        (None, "/models/t5-large/", "superglue/cb", True),
        ("google/flan-t5-xl", None, "other/paws", True),
        ("google-t5/t5-base", None, "ner/wnut17", False),
        ("google/t5-v1_1-base", None, "glue/rte", False),
        ("HuggingFaceTB/SmolLM2-135M", None, "glue/rte", False),
    ],
)
def test_a_task_that_the_backbone_was_trained_on_is_known(hub: Any, path: Any, task: str, known: bool) -> None:
    assert bool(trained_on(BackboneConfig(name="x", hub=hub, path=path), task)) == known


def test_a_gold_on_which_no_metric_is_defined_is_refused(tmp_path: Path) -> None:
    folder = tmp_path / "d/glue/stsb"
    folder.mkdir(parents=True)
    for split in ("train", "validation"):
        rows = [{"sentence1": f"{split} {i}", "sentence2": "b", "label": 2.5, "idx": i} for i in range(30)]
        (folder / f"{split}.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    outcome = run_here(tmp_path, "task=glue/stsb", "data=local", f"data.root={tmp_path / 'd'}", "backbone=tiny_t5")
    assert outcome.status == "refused" and "a perfect answer scores pearson 0" in str(outcome.reason)


def test_a_metric_of_which_less_is_better_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    accuracy = METRICS["classes"]["accuracy"]
    error = Metric("error", lambda c: 1 - accuracy.score(c), None)
    monkeypatch.setitem(METRICS, "classes", METRICS["classes"] | {"error": error})
    outcome = run_here(tmp_path, "task.report_metric={default:error}", "task.metrics=[accuracy,error]")
    assert outcome.status == "refused" and "less of the metric is better" in str(outcome.reason)


def made_from(tmp_path: Path, name: str, text: str, *more: str) -> tuple[int, dict[str, Any]]:
    (tmp_path / name).write_text(text, encoding="utf-8")
    code = new.main(["--root", str(tmp_path / "out"), "task", "mine", "--file", str(tmp_path / name), *more])
    made = tmp_path / "out/conf/task/user/mine.yaml"
    return code, yaml.safe_load(made.read_text(encoding="utf-8")) if made.exists() else {}


def test_tagging_from_conll_and_from_jsonl(tmp_path: Path) -> None:
    conll = "".join(f"Ada{i} I-PER\nleft O\nRome I-LOC\n\n" for i in range(30))
    code, task = made_from(tmp_path, "rows.conll", conll)
    assert code == 0 and task["kind"] == "tagging" and task["labels"] == ["LOC", "PER"]
    train = read_rows(tmp_path / "out/data/user/mine/train.jsonl")
    assert train[0]["ner_tags"] == ["B-PER", "O", "B-LOC"]
    rows = [{"words": ["Ada", str(i)], "tags": ["B-PER", "O"]} for i in range(30)]
    (tmp_path / "b").mkdir()
    code, task = made_from(tmp_path / "b", "rows.jsonl", "\n".join(map(json.dumps, rows)))
    assert code == 0 and task["kind"] == "tagging" and task["columns"] == {"tokens": "words", "ner_tags": "tags"}


def test_headers_of_digits_are_renamed_aloud(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    code, task = made_from(tmp_path, "rows.csv", "1,2nd,label\n" + "".join(f"a{i},b{i},{i % 2}\n" for i in range(30)))
    assert code == 0 and list(task["columns"]) == ["column_1", "column_2nd", "label"]
    assert "column '1' is called column_1" in capsys.readouterr().out


def test_a_column_that_would_be_lost_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    text = "text,label,target\n" + "".join(f"a{i},b{i},{i % 2}\n" for i in range(30))
    assert made_from(tmp_path, "rows.csv", text, "--label", "target")[0] == 2
    assert "column 'label' would stand where the answer 'target' is kept" in capsys.readouterr().err


def test_all_files_are_written_or_none(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Any) -> None:
    text, real = "text,label\n" + "".join(f"a{i},{i % 2}\n" for i in range(30)), Path.write_text

    def full(self: Path, *args: Any, **options: Any) -> int:
        if "test.jsonl" in self.name:
            raise OSError(28, "No space left on device")
        return real(self, *args, **options)

    (tmp_path / "rows.csv").write_text(text)
    monkeypatch.setattr(Path, "write_text", full)
    code = new.main(["--root", str(tmp_path / "out"), "task", "mine", "--file", str(tmp_path / "rows.csv")])
    assert code == 2 and "nothing was" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


def test_a_message_that_quotes_a_whole_file_keeps_its_beginning_and_its_way_on() -> None:
    said = str(DataError("file.tsv: its columns are " + "x" * 200_000 + "; rename one"))
    assert len(said) < 1600 and said.startswith("file.tsv: its columns") and said.endswith("; rename one")
    assert "characters more" in said
    assert str(DataError("short\n" * 900)) == "short\n" * 900
