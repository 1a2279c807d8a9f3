"""`scripts/new.py`: a new method passes the contract unchanged, in the tree and out of it; a new task composes."""

from __future__ import annotations

import csv
import json
import os
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import torch
import yaml

from methods import load
from scripts import new
from tasks.config import DataConfig, ProtocolConfig, TaskConfig
from tests.sizes import tiny

REPOSITORY = Path(__file__).resolve().parents[2]
ROWS = [{"Review Text": f"film number {i}", "rating": i, "sentiment": ("bad", "good")[i % 2]} for i in range(40)]


def write_csv(path: Path, rows: list[dict[str, object]]) -> Path:
    with path.open("w", newline="", encoding="utf-8") as handle:
        writer = csv.DictWriter(handle, list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)
    return path


def write_jsonl(path: Path, rows: list[dict[str, object]]) -> Path:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return path


def made_task(root: Path, *arguments: str) -> TaskConfig:
    assert new.main(["--root", str(root), "task", "mine", *arguments]) == 0
    return TaskConfig(**yaml.safe_load((root / "conf/task/user/mine.yaml").read_text()))


def test_a_new_method_passes_the_contract_in_the_tree(tmp_path: Path) -> None:
    kept = shutil.ignore_patterns("__pycache__", "runs", "*.jsonl", "*.safetensors")
    for folder in ("conf", "methods", "backbones", "tests", "docs/methods"):
        shutil.copytree(REPOSITORY / folder, tmp_path / folder, ignore=kept)
    assert new.main(["--root", str(tmp_path), "method", "my_pt"]) == 0
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "tests/contract/test_method_alone.py"]
    environment = {**os.environ, "PYTHONPATH": str(tmp_path), "PYTHONDONTWRITEBYTECODE": "1"}
    ran = subprocess.run([*command, "-k", "my_pt"], cwd=tmp_path, env=environment, capture_output=True, text=True)
    assert ran.returncode == 0, ran.stdout[-3000:] + ran.stderr[-2000:]
    assert "22 passed" in ran.stdout, ran.stdout[-500:]  # seven checks on three families, and the card


def test_a_new_method_works_from_a_file_elsewhere(tmp_path: Path) -> None:
    file = tmp_path / "my_pt.py"
    file.write_text(new.method_files("my_pt")["methods/my_pt.py"])
    own = yaml.safe_load((REPOSITORY / "conf/method/own.yaml").read_text())
    config = own | {"path": str(file), "options": {"prompt_length": 3}}
    assert load.check(config, tiny()) == []
    method = load.build(config, tiny(), generator=torch.Generator().manual_seed(0))
    assert sum(p.numel() for p in method.parameters()) == load.count(config, tiny()) == 3 * 8 + 8
    assert "no such option; did you mean prompt_length?" in load.check(config | {"options": {"length": 3}}, tiny())[0]
    with pytest.raises(ValueError, match=r"method=own method\.path="):
        load.check(own, tiny())


@pytest.mark.parametrize("name", ["My-PT", "1pt", "class", "a/b", ""])
def test_bad_names_are_refused(name: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert new.main(["--root", str(tmp_path), "method", name]) == 2
    assert "is not a name" in capsys.readouterr().err and not list(tmp_path.iterdir())


def test_nothing_is_overwritten(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert new.main(["--root", str(tmp_path), "method", "my_pt"]) == 0
    (tmp_path / "methods/my_pt.py").write_text("# mine")
    assert new.main(["--root", str(tmp_path), "method", "my_pt"]) == 2
    assert "there already" in capsys.readouterr().err
    assert (tmp_path / "methods/my_pt.py").read_text() == "# mine"


def test_a_task_from_a_csv_file_loads(tmp_path: Path) -> None:
    from tasks.task import load_task

    file = write_csv(tmp_path / "rows.csv", [{k: v for k, v in row.items() if k != "rating"} for row in ROWS])
    task = made_task(tmp_path, "--file", str(file), "--data-root", str(tmp_path / "rows"))
    assert (task.name, task.kind, task.labels) == ("user/mine", "classification", ["bad", "good"])
    assert task.columns == {"review_text": "text", "label": "label"}
    for family in ("t5", "llama", "encoder"):
        data = load_task(
            task,
            ProtocolConfig(name="carved"),
            DataConfig(source="local", root=str(tmp_path / "rows")),
            family=family,
            fidelity="corrected",
            seed=0,
            cache_root=tmp_path / "cache",
        )
        assert sum(len(list(examples)) for examples in data.splits.values()) == 40
        example = next(iter(data.splits["train"]))
        assert example.label in (0, 1) and example.target == str(example.label)
    files = sorted(path.name for path in (tmp_path / "rows/user/mine").iterdir())
    assert files == ["test.jsonl", "train.jsonl", "validation.jsonl"]
    assert task.rows == {"train": 32, "validation": 4, "test": 4}
    fixture = [json.loads(line) for line in (tmp_path / "tasks/fixtures/user/mine.jsonl").read_text().splitlines()]
    for split in ("train", "validation", "test"):
        assert {row["label"] for row in fixture if row["_split"] == split} == {"bad", "good"}


@pytest.mark.parametrize(
    "rows, kind, labels, columns",
    [
        (
            [{"a": "x", "b": "y", "label": i % 3 + 1} for i in range(9)],
            "classification",
            ["1", "2", "3"],
            {"a": "text", "b": "text", "label": "label"},
        ),
        (
            [{"text": "x", "label": i % 2 == 0} for i in range(9)],
            "classification",
            ["false", "true"],
            {"text": "text", "label": "label"},
        ),
        (
            [{"a": "x", "b": "y", "score": i / 2} for i in range(9)],
            "regression",
            [],
            {"a": "text", "b": "text", "label": "number"},
        ),
        (
            [{"question": "q", "context": "c", "answers": [f"a{i}", "b"]} for i in range(9)],
            "qa",
            [],
            {"question": "text", "context": "text", "answers": "answers"},
        ),
    ],
)
def test_kinds_are_seen_from_the_answers(
    rows: list[dict[str, object]], kind: str, labels: list[str], columns: dict[str, str], tmp_path: Path
) -> None:
    task = made_task(tmp_path, "--file", str(write_jsonl(tmp_path / "rows.jsonl", rows)))
    assert (task.kind, task.labels, task.columns) == (kind, labels, columns)
    data = [json.loads(line) for line in (tmp_path / "data/user/mine/train.jsonl").read_text().splitlines()]
    answers = [row["answers" if kind == "qa" else "label"] for row in data]
    assert {type(answer) for answer in answers} == {{"classification": str, "regression": float, "qa": list}[kind]}


@pytest.mark.parametrize(
    "text, suffix, said",
    [
        ("a,b\n", ".csv", "no rows"),
        ("a,label\nx,1\ny\n", ".csv", "row 2 has other columns"),
        ("a,label\nx,1\ny,\n", ".csv", "row 2 has no answer"),
        ("a,label\nx,1\ny,1\n", ".csv", "one label only"),
        ("a,label\nx,1\ny,2\n", ".csv", "too few to carve"),
        ('{"a": 1}\n{"a": \n', ".jsonl", "rows.jsonl:2: not JSON"),
        ("[1]\n", ".jsonl", "one JSON object a line"),
        ("a\nb\n", ".csv", "one column"),
        ("text;label\nx, y;1\nz;2\n", ".csv", "its columns are divided by semicolons ('text;label'), here by commas"),
        (
            "text\tlabel\nx\t1\n",
            ".csv",
            "divided by tabs ('text\\tlabel'), here by commas: save it with commas or call it .tsv",
        ),
        (
            "text,label\nx,1\n",
            ".tsv",
            "divided by commas ('text,label'), here by tabs: save it with tabs or call it .csv",
        ),
        ("a,b\n1,2\n", ".xlsx", ".xlsx is not read here; wanted: .jsonl, .json, .csv"),
    ],
)
def test_bad_files_are_refused_with_the_place(
    text: str, suffix: str, said: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / f"rows{suffix}"
    file.write_text(text)
    assert new.main(["--root", str(tmp_path), "task", "mine", "--file", str(file)]) == 2
    assert said in capsys.readouterr().err
    assert not (tmp_path / "conf").exists()


def test_a_label_column_can_be_named_and_splits_given(tmp_path: Path) -> None:
    train = write_csv(tmp_path / "train.csv", [dict(row) for row in ROWS])
    test = write_csv(tmp_path / "test.csv", [dict(row) for row in ROWS[:10]])
    task = made_task(tmp_path, "--file", str(train), "--test", str(test), "--label", "Sentiment")
    assert task.labels == ["bad", "good"] and task.rows == {"train": 36, "test": 10, "validation": 4}
    assert task.templates["default"] == "review_text: {review_text} rating: {rating}"
    assert (tmp_path / "data/user/mine/test.jsonl").exists()


def test_rows_that_read_the_same_are_carved_to_one_side_and_given_ones_are_told(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """A score on a row that was trained on under another id would be silently too high."""
    rows: list[dict[str, object]] = [{"id": i, "text": f"film {i % 40}", "label": i % 2} for i in range(80)]
    made_task(tmp_path, "--file", str(write_csv(tmp_path / "rows.csv", rows)))
    assert "of a training row" not in capsys.readouterr().out
    folder = tmp_path / "data/user/mine"
    texts = {
        split: {json.loads(line)["text"] for line in (folder / f"{split}.jsonl").read_text().splitlines()}
        for split in ("train", "validation", "test")
    }
    assert not texts["train"] & (texts["validation"] | texts["test"]) and not texts["validation"] & texts["test"]
    assert sum(len(part) for part in texts.values()) == 40

    given = ["--file", str(write_csv(tmp_path / "train.csv", rows[:40])), "--test"]
    made_task(tmp_path / "given", *given, str(write_csv(tmp_path / "test.csv", rows[36:60])))
    assert "test: 22 of 24 rows have the text of a training row" in capsys.readouterr().out


def test_labels_that_differ_in_capitals_are_told(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    rows: list[dict[str, object]] = [{"text": f"film {i}", "label": ("Good", "good ", "bad")[i % 3]} for i in range(30)]
    made_task(tmp_path, "--file", str(write_csv(tmp_path / "rows.csv", rows)))
    assert "'Good', 'good' are classes of their own" in capsys.readouterr().out


def test_the_printed_commands_can_be_typed_where_paths_have_blanks(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    own = tmp_path / "my own"
    file = write_csv(tmp_path / "rows.csv", [{"text": f"film {i}", "label": i % 2} for i in range(40)])
    assert new.main(["method", "my_pt", "--config-dir", str(own)]) == 0
    assert new.main(["task", "mine", "--file", str(file), "--config-dir", str(own)]) == 0
    said = capsys.readouterr().out
    assert sorted(str(path.relative_to(own)) for path in own.rglob("*") if path.is_file()) == [
        "data/user/mine/test.jsonl",
        "data/user/mine/train.jsonl",
        "data/user/mine/validation.jsonl",
        "method/my_pt.yaml",
        "my_pt.py",
        "task/user/mine.yaml",
    ]
    for line in said.splitlines():
        if line.startswith(("try:", "run:")):
            words = shlex.split(line.split(":", 1)[1])
            assert words[words.index("--config-dir") + 1] == str(own)
            assert subprocess.run([sys.executable, *words[1:], "--cfg", "job"], cwd=REPOSITORY).returncode == 0, line
    assert "docs/methods" not in (own / "method/my_pt.yaml").read_text()


def test_a_row_may_have_the_columns_of_the_file_that_the_task_was_made_from() -> None:
    from scripts.new_rows import with_fields

    assert with_fields({"Ticket Text": "x", "Id": 1}, ["ticket_text"])["ticket_text"] == "x"
    assert with_fields({"Text": "x", "text": "y"}, ["text"]) == {"Text": "x", "text": "y"}
    assert "text" not in with_fields({"Text": "x", "TEXT": "y"}, ["text"])  # which one is meant is not guessed
