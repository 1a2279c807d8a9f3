"""Published numbers: complete, checked, and every printed average recomputed."""

from __future__ import annotations

import csv
import os
from collections import Counter
from pathlib import Path

import pytest

from results.reference import FOLDER, SELECTIONS, SPLITS, UNKNOWN, load, papers, problems, read
from results.reference.__main__ import add, check, main

# printed averages that their cells do not give; the first group cannot be explained by rounding
BEYOND_ROUNDING = {
    ("dept", "Full fine-tuning, multi-task", "SuperGLUE(5)", 76.1, 76.48),
    ("dept", "MPT, multi-task", "SuperGLUE(5)", 76.1, 76.24),
    ("dept", "ATTEMPT", "MRQA", 71.4, 71.725),
}
WITHIN_ROUNDING = {
    ("dept", "LoRA", "GLUE", 85.3, 85.212),
    ("dept", "HyperFormer", "GLUE", 84.8, 84.713),
    ("dept", "HyperFormer", "SuperGLUE(5)", 75.4, 75.48),
    ("dept", "ATTEMPT", "GLUE", 83.4, 83.462),
    ("accept", "HyperFormer(m)", "SuperGLUE-avg", 75.4, 75.48),
    ("pt", "PT best of 5", "SuperGLUE dev", 91.0, 91.056),
}
HEADER = "paper,table,backbone,method,task,metric,value,std,source\n"


def all_entries():
    """Every entry of every file."""
    return [entry for paper in papers() for entry in (load(paper).entries if load(paper) else ())]


def test_all_transcribed_cells_are_on_file() -> None:
    counts = {paper: len(load(paper).entries) for paper in papers()}  # type: ignore[union-attr]
    assert sum(counts.values()) == 1065
    assert counts["dept"] == 383 and counts["accept"] == 234 and counts["pt"] == 107
    assert counts["adept"] == 0 and counts["apt"] == 0


def test_entries_are_valid() -> None:
    for paper in papers():
        reference = load(paper)
        assert reference is not None
        for index, entry in enumerate(reference.entries):
            assert problems(entry, reference.entries[:index]) == []
            assert entry.split in SPLITS and entry.selection in SELECTIONS


def test_every_printed_average_is_recomputed_and_the_misfits_are_known() -> None:
    found: dict[bool, set[tuple[str, str, str, float, float]]] = {True: set(), False: set()}
    for paper in papers():
        for m in load(paper).misfits():  # type: ignore[union-attr]
            found[m.beyond_rounding].add((paper, m.method, m.task, m.printed, m.computed))
    assert found[True] == BEYOND_ROUNDING
    assert found[False] == WITHIN_ROUNDING


def test_every_mean_names_its_cells() -> None:
    """No printed mean escapes the recomputation."""
    for paper in papers():
        reference = load(paper)
        assert reference is not None
        named = {(average.table, average.task) for average in reference.averages}
        printed = {(entry.table, entry.task) for entry in reference.entries if entry.metric == "mean"}
        assert printed <= named, paper


def test_doubtful_copies_have_remarks() -> None:
    dept = load("dept")
    assert dept is not None
    hotpot = dept.find("DePT", "HotpotQA", table="T2 MRQA+Others")
    assert hotpot is not None and hotpot.value == 76.8 and "printed 76.0" in (hotpot.remark or "")
    flagged = dept.find("ATTEMPT", "MRQA")
    assert flagged is not None and "71.7" in (flagged.remark or "")
    copied = dept.find("LoRA", "STS-B", table="T1 GLUE+SuperGLUE")
    assert copied is not None and "90.9" in (copied.remark or "")
    small = load("pt").find("Prompt tuning", "prompt length 20", backbone="T5.1.1 Small")  # type: ignore[union-attr]
    assert small is not None and small.value == 10240 and "10,420" in (small.remark or "")


def test_what_is_not_known_blocks_a_verdict() -> None:
    dept = load("dept")
    assert dept is not None
    lora = dept.find("LoRA", "RTE", table="T1 GLUE+SuperGLUE")
    own = dept.find("DePT", "RTE", table="T1 GLUE+SuperGLUE")
    assert lora is not None and lora.blocked_by == ["seeds", "selection"] and lora.quoted
    assert own is not None and own.blocked_by == [] and own.lineage.startswith("T5 v1.0")


def test_remarks_and_unknowns_are_common_enough_to_be_honest() -> None:
    counts = Counter(entry.seeds == UNKNOWN for entry in all_entries())
    assert counts[True] > 400


def test_files_are_small() -> None:
    assert max(path.stat().st_size for path in FOLDER.glob("*.yaml")) < 1_000_000


def test_add_writes_a_new_paper(tmp_path: Path) -> None:
    rows = tmp_path / "mine.csv"
    rows.write_text(HEADER + "ADePT,Table 3,t5-base,ADePT,RTE,accuracy,82.0,0.4,own transcription of the PDF\n")
    assert add(rows, tmp_path) == 0
    entry = read(tmp_path / "adept.yaml").entries[0]
    assert (entry.value, entry.spread, entry.split, entry.seeds) == (82.0, 0.4, UNKNOWN, UNKNOWN)
    assert check(tmp_path) == 0


@pytest.mark.parametrize(
    ("body", "said"),
    [
        (HEADER, "no rows"),
        ("paper,table\nX,1\n", "columns missing"),
        (HEADER + "X,1,t5,PT,RTE,accuracy,high,,s\n", "not a number"),
        (HEADER + "X,1,t5,PT,RTE,accuracy,0.82,,s\n", "looks like a fraction"),
        (HEADER + "X,1,t5,PT,RTE,accuracy,82,,\n", "source is empty"),
        (HEADER + "X,1,t5,PT,RTE,accuracy,82,,s\nX,1,t5,PT,RTE,accuracy,83,,s\n", "already a value"),
        (HEADER + "X,1,t5,PT,RTE,accuracy,,,s\n", "value is empty"),
    ],
)
def test_add_refuses_all_of_a_wrong_file(
    tmp_path: Path, body: str, said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    rows = tmp_path / "mine.csv"
    rows.write_text(body)
    assert add(rows, tmp_path) == 2
    assert said in capsys.readouterr().err
    assert not list(tmp_path.glob("*.yaml"))


def test_command_line(capsys: pytest.CaptureFixture[str]) -> None:
    assert main([]) == 0 and main(["check"]) == 0
    assert "dept: 383 values" in capsys.readouterr().out
    assert main(["ad", "x.csv"]) == 2


def test_equal_to_the_transcription_they_were_made_from() -> None:
    """Every row of the shared transcription, where the machine has it, stands in a file with its value."""
    shared = Path(os.environ.get("BENCH_SHARED", Path(__file__).resolve().parents[2].parent / "shared"))
    source = shared / "reference" / "reference_numbers.csv"
    if not source.exists():
        pytest.skip(f"{source} is not here; set BENCH_SHARED to the folder that has reference/")
    values = Counter((entry.table, entry.backbone, entry.method, entry.task) for entry in all_entries())
    with source.open(newline="") as handle:
        rows = list(csv.DictReader(handle))
    wanted = Counter((row["table"], row["backbone"], row["method"], row["task"]) for row in rows)
    assert values == wanted
    on_file = Counter((e.table, e.backbone, e.method, e.task, e.value) for e in all_entries())
    for row in rows:
        if ":" not in row["value"]:
            assert on_file[row["table"], row["backbone"], row["method"], row["task"], float(row["value"])]
