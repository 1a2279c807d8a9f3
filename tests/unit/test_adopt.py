"""Other people's predictions: matched by content or id, refused where they do not fit, paired with ours in tables."""

from __future__ import annotations

import json
import random
from pathlib import Path
from typing import Any

import pytest

from results.adopt import main
from results.adopted import log10_orders
from results.ledger import Ledger
from results.records import read_runs
from results.report.command import main as report
from results.tables.build import build
from results.tables.contests import every_pair
from results.tables.layout import free
from results.tables.state import Options
from tests.unit.results_fixtures import answers, write_run

TASK: dict[str, Any] = {
    "kind": "classification",
    "labels": ["entailment", "not_entailment"],
    "label_words": {"words": ["yes", "no"]},
    "metrics": ["accuracy", "f1"],
    "columns": {"premise": "text", "hypothesis": "text", "label": "label"},
    "rows": {"train": 10, "validation": 200},
    "id_column": "idx",
}
NAMES, WORDS = TASK["labels"], TASK["label_words"]["words"]


@pytest.fixture
def ours(tmp_path: Path) -> tuple[Path, str, list[dict[str, Any]]]:
    """A ledger with one run of ours and its predictions."""
    root, rows = tmp_path / "runs", answers(0.8)
    right = sum(row["prediction"] == row["reference"] for row in rows) / len(rows)
    config = {"task": {"name": "glue/rte", **TASK}}
    run_id = write_run(root, "dept", "glue/rte", test=right, n=200, predictions=rows, config=config)
    return root, run_id, rows


def write(path: Path, rows: list[dict[str, Any]]) -> Path:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


def theirs(rows: list[dict[str, Any]], seed: int = 5) -> list[dict[str, Any]]:
    """Their lines in another order, labels as 0 and 1, right in about 9 of 10."""
    rng = random.Random(seed)
    made = [
        {
            "id": row["id"],
            "gold": int(row["reference"]),
            "prediction": int(row["reference"]) if rng.random() < 0.9 else 1 - int(row["reference"]),
        }
        for row in rows
    ]
    rng.shuffle(made)
    return made


def run(file: Path, root: Path, like: str, *more: str) -> int:
    return main([str(file), f"like={like[:6]}", "method=DePT", "source=authors' code", f"ledger.root={root}", *more])


def adopted(root: Path) -> list[dict[str, Any]]:
    return [record for record in Ledger(root).records() if record.get("adopted")]


def test_it_becomes_a_row_marked_as_theirs(
    ours: tuple[Path, str, list[dict[str, Any]]], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    root, run_id, rows = ours
    lines = theirs(rows)
    assert run(write(tmp_path / "f.jsonl", lines), root, run_id, "seed=42", "parameters=76800") == 0
    said = capsys.readouterr().out
    [record] = adopted(root)
    right = sum(line["gold"] == line["prediction"] for line in lines) / len(lines)
    assert set(record["metrics"]) == {"test"} and set(record["metrics"]["test"]) == {"accuracy", "f1"}
    assert record["metrics"]["test"]["accuracy"] == pytest.approx(right)
    assert f"{100 * right:.2f}" in said and said.rstrip().endswith("adopted")
    assert record["method"] == "DePT (theirs)" and record["adopted"]["source"] == "authors' code"
    assert record["seed"] == 42 and record["trainable_parameters"] == 76800
    assert "not known here" in record["verdicts"][0]["message"]


def test_seeds_of_theirs_are_paired_with_seeds_of_ours(
    ours: tuple[Path, str, list[dict[str, Any]]], tmp_path: Path
) -> None:
    """One trained run is not tested, theirs or ours; two seeds each are, on the same examples."""
    root, run_id, rows = ours
    second = answers(0.8, seed=2)
    right = sum(row["prediction"] == row["reference"] for row in second) / len(second)
    config = {"task": {"name": "glue/rte", **TASK}}
    write_run(root, "dept", "glue/rte", 2, test=right, n=200, predictions=second, config=config)
    scores = []
    for seed in (42, 43):
        lines = theirs(rows, seed)
        scores.append(sum(line["gold"] == line["prediction"] for line in lines) / len(lines))
        assert run(write(tmp_path / f"{seed}.jsonl", lines), root, run_id, f"seed={seed}") == 0
    reading = read_runs(root)
    layout = free(reading.runs, "method", "task", {})
    table = build(layout, reading, Options())
    assert [row.label for row in table.rows] == ["DePT (theirs)", "dept"]
    cell = table.rows[0].cells["task=glue/rte"]
    assert cell.n == 2 and any("theirs: predictions of authors' code" in note for note in cell.footnotes)
    [contest], untested = every_pair(layout, reading)
    mine = sum(row["prediction"] == row["reference"] for row in rows) / len(rows)
    assert not untested and contest.value == pytest.approx(100 * (sum(scores) / 2 - (mine + right) / 2))


def test_adopting_twice_is_one_run(
    ours: tuple[Path, str, list[dict[str, Any]]], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    root, run_id, rows = ours
    file = write(tmp_path / "f.jsonl", theirs(rows))
    assert run(file, root, run_id) == run(file, root, run_id) == 0
    assert len(adopted(root)) == 1
    assert report([f"ledger.root={root}", f"out={tmp_path / 'report.html'}"]) == 0  # the page takes such a run too
    assert "DePT (theirs)" in (tmp_path / "report.html").read_text()
    other = write(tmp_path / "g.jsonl", theirs(rows, seed=6))
    assert run(other, root, run_id) == 2 and "already, with other predictions" in capsys.readouterr().err
    assert run(other, root, run_id, "seed=2") == 0 and len(adopted(root)) == 2


@pytest.mark.parametrize("way", ["ours", "numbers", "names", "words", "bool-like text"])
def test_labels_as_names_words_or_numbers(
    ours: tuple[Path, str, list[dict[str, Any]]], tmp_path: Path, way: str
) -> None:
    root, run_id, rows = ours
    of = {"ours": str, "numbers": float, "names": lambda x: NAMES[int(x)], "words": lambda x: WORDS[int(x)].upper()}
    of["bool-like text"] = lambda x: f" {x} "
    lines = [{**line, **{key: of[way](line[key]) for key in ("gold", "prediction")}} for line in theirs(rows)]
    assert run(write(tmp_path / "f.jsonl", lines), root, run_id) == 0
    right = sum(line["gold"] == line["prediction"] for line in lines) / len(lines)
    assert adopted(root)[0]["metrics"]["test"]["accuracy"] == pytest.approx(right)


def test_an_answer_outside_their_labels_is_never_one_of_ours(
    ours: tuple[Path, str, list[dict[str, Any]]], tmp_path: Path
) -> None:
    """Labels by name, a stray prediction "1": our word for the second label, but no label of theirs."""
    root, run_id, rows = ours
    lines = [{"id": r["id"], "gold": NAMES[int(r["reference"])], "prediction": r["reference"]} for r in rows]
    assert run(write(tmp_path / "f.jsonl", lines), root, run_id) == 0
    assert adopted(root)[0]["metrics"]["test"]["accuracy"] == 0.0


def swapped(lines: list[dict[str, Any]]) -> list[dict[str, Any]]:
    first = {"0": 1, "1": 0}
    return [{**line, "gold": first[str(line["gold"])]} if i == 3 else line for i, line in enumerate(lines)]


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (swapped, "1 of 200 golds differ"),
        (lambda lines: lines[:-1], "1 of our 200 examples are missing"),
        (lambda lines: [*lines, {"id": "999", "gold": 0, "prediction": 0}], "1 are none of ours (999)"),
        (lambda lines: [*lines, lines[0]], "1 ids stand twice"),
        (lambda lines: [{**line, "id": i} for i, line in enumerate(lines)], "golds differ"),
        (lambda lines: [{k: v for k, v in line.items() if k != "gold"} for line in lines], "no gold"),
        (lambda lines: [], "no predictions in it"),
    ],
)
def test_what_does_not_fit_is_refused_and_nothing_is_written(
    ours: tuple[Path, str, list[dict[str, Any]]],
    tmp_path: Path,
    change: Any,
    said: str,
    capsys: pytest.CaptureFixture[str],
) -> None:
    root, run_id, rows = ours
    assert run(write(tmp_path / "f.jsonl", change(theirs(rows))), root, run_id) == 2
    assert said in capsys.readouterr().err
    assert not adopted(root) and len(list(root.iterdir())) == 1


def test_few_or_equal_golds_prove_nothing(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    rows = [{"id": str(i), "prediction": "1", "reference": "1", "group": ""} for i in range(50)]
    root = tmp_path / "runs"
    run_id = write_run(
        root, "dept", "glue/rte", test=1.0, predictions=rows, config={"task": {"name": "glue/rte", **TASK}}
    )
    lines = [{"id": row["id"], "gold": 1, "prediction": 1} for row in rows]
    assert run(write(tmp_path / "f.jsonl", lines), root, run_id) == 2
    assert "prove little" in capsys.readouterr().err
    assert log10_orders(["1"] * 50) == pytest.approx(0.0)
    assert log10_orders(["0"] * 10 + ["1"] * 10) == pytest.approx(5.27, abs=0.01)  # 184,756


def data(root: Path, rows: list[dict[str, Any]], same: int = 0) -> list[dict[str, Any]]:
    """A local RTE whose labels are our references; inputs as another template writes them."""
    folder = root / "glue/rte"
    folder.mkdir(parents=True)
    made = [
        {
            "idx": int(row["id"]),
            "premise": f"Statement  number {1000 + (0 if i < same else i)} stands.",
            "hypothesis": f"It is {1000 + (0 if i < same else i)}.",
            "label": int(row["reference"]),
        }
        for i, row in enumerate(rows)
    ]
    write(folder / "validation.jsonl", made)
    return [
        {"input": f"RTE hypothesis: {row['hypothesis']} Premise: {' '.join(row['premise'].split())}", **row}
        for row in made
    ]


def test_by_content_whatever_the_ids_and_the_template(
    ours: tuple[Path, str, list[dict[str, Any]]], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    root, run_id, rows = ours
    read = data(tmp_path / "data", rows)
    lines = [
        {"id": f"line-{i}", "gold": NAMES[row["label"]], "prediction": NAMES[0], "input": row["input"]}
        for i, row in enumerate(reversed(read))
    ]
    assert run(write(tmp_path / "f.jsonl", lines), root, run_id, f"data.root={tmp_path / 'data'}") == 0
    assert "matched by their input" in capsys.readouterr().out
    share = sum(row["reference"] == "0" for row in rows) / len(rows)
    assert adopted(root)[0]["metrics"]["test"]["accuracy"] == pytest.approx(share)


@pytest.mark.parametrize("fault", ["foreign text", "a twin", "two lines of one example", "no data"])
def test_by_content_refuses(
    ours: tuple[Path, str, list[dict[str, Any]]], tmp_path: Path, fault: str, capsys: pytest.CaptureFixture[str]
) -> None:
    root, run_id, rows = ours
    read = data(tmp_path / "data", rows, same=2 if fault == "a twin" else 0)
    lines = [
        {"id": f"x{i}", "gold": row["label"], "prediction": 0, "input": row["input"]} for i, row in enumerate(read)
    ]
    said = {
        "foreign text": "none of our examples", "a twin": "several of our examples",
        "two lines of one example": "already matched", "no data": "no folder",
    }[fault]  # fmt: skip
    if fault == "foreign text":
        lines[7]["input"] = "something else altogether"
    elif fault == "two lines of one example":
        lines[7]["input"] = lines[8]["input"]
    place = tmp_path / ("nowhere" if fault == "no data" else "data")
    assert run(write(tmp_path / "f.jsonl", lines), root, run_id, f"data.root={place}") == 2
    assert said in capsys.readouterr().err and not adopted(root)


def test_a_twin_is_told_apart_by_its_id(ours: tuple[Path, str, list[dict[str, Any]]], tmp_path: Path) -> None:
    root, run_id, rows = ours
    read = data(tmp_path / "data", rows, same=2)
    lines = [{"id": row["idx"], "gold": row["label"], "prediction": 0, "input": row["input"]} for row in read]
    assert run(write(tmp_path / "f.jsonl", lines), root, run_id, f"data.root={tmp_path / 'data'}") == 0


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["like=ab", "method=A", "source=s"], "one FILE.jsonl is needed"),
        (["f.jsonl", "method=A", "source=s"], "like: missing"),
        (["f.jsonl", "like=zz", "method=A", "source=s"], "0 runs begin so"),
        (["f.jsonl", "like=zz", "method=A", "source=s", "seed=x"], "must be a whole number"),
        (["f.jsonl", "like=zz", "method=A", "source=s", "sed=1"], "sed: unknown"),
    ],
)
def test_arguments(tmp_path: Path, arguments: list[str], said: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([*arguments, f"ledger.root={tmp_path}"]) == 2
    assert said in capsys.readouterr().err


def test_answers_of_questions_and_numbers(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    rows = [{"id": f"q{i}", "prediction": f"answer {i}", "reference": [f"answer {i}", f"the {i}"]} for i in range(40)]
    root = tmp_path / "runs"
    config = {"task": {"name": "mrqa/nq", "kind": "qa", "metrics": ["em", "f1"]}}
    run_id = write_run(root, "pt", "mrqa/nq", test=1.0, metric="f1", predictions=rows, config=config)
    lines = [{"id": r["id"], "gold": r["reference"][i % 2], "prediction": "answer 3"} for i, r in enumerate(rows)]
    assert run(write(tmp_path / "f.jsonl", lines), root, run_id) == 0
    assert adopted(root)[0]["metrics"]["test"]["em"] == pytest.approx(1 / 40)
    lines[5]["gold"] = "another"
    assert run(write(tmp_path / "f.jsonl", lines), root, run_id) == 2
    assert "1 of 40 golds differ" in capsys.readouterr().err


def test_two_sources_are_two_configurations_not_seeds_of_one(
    ours: tuple[Path, str, list[dict[str, Any]]], tmp_path: Path
) -> None:
    """The second one was dropped in silence: same method, no seed, so the same run to the tables."""
    root, run_id, rows = ours
    assert run(write(tmp_path / "a.jsonl", theirs(rows)), root, run_id) == 0
    assert run(write(tmp_path / "b.jsonl", theirs(rows, 6)), root, run_id, "source=a harness") == 0
    reading = read_runs(root)
    cells = build(free(reading.runs, "method", "task", {}), reading, Options()).rows[0].cells
    cell = cells["task=glue/rte"]
    assert cell.text == "ambiguous" and "source of the predictions" in " ".join(cell.footnotes)
    assert cell.command == ""  # `python run.py method=DePT (theirs)` was said to make them
    reading.runs = [r for r in reading.runs if r.get("adopted.source") == "a harness"]
    [row] = build(free(reading.runs, "method", "task", {"adopted.source": "a harness"}), reading, Options()).rows
    assert row.cells["task=glue/rte"].n == 1


def test_content_is_asked_for_and_some_lines_have_none(
    ours: tuple[Path, str, list[dict[str, Any]]], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    root, run_id, rows = ours
    read = data(tmp_path / "data", rows)
    lines = [{"id": r["idx"], "gold": r["label"], "prediction": 0, "input": r["input"]} for r in read]
    del lines[3]["input"]
    assert run(write(tmp_path / "f.jsonl", lines), root, run_id, f"data.root={tmp_path / 'data'}") == 2
    assert "1 of 200 lines have no input" in capsys.readouterr().err and not adopted(root)
