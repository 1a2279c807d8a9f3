"""Published numbers: complete, checked, and every printed average recomputed."""

from __future__ import annotations

import csv
import os
from collections import Counter
from pathlib import Path

import pytest

from results.reference import (
    FOLDER,
    SELECTIONS,
    SPLITS,
    UNKNOWN,
    Average,
    Entry,
    Reference,
    load,
    papers,
    problems,
    read,
    unit_of,
)
from results.reference.__main__ import add, check, main

# printed averages that their cells do not give; the first group cannot be explained by rounding
BEYOND_ROUNDING = {
    ("dept", "Full fine-tuning, multi-task", "SuperGLUE(5)", 76.1, 76.48),
    ("dept", "MPT, multi-task", "SuperGLUE(5)", 76.1, 76.24),
    ("dept", "ATTEMPT", "MRQA", 71.4, 71.725),
    ("dept", "DePT", "MRQA", 73.0, 72.8),  # with the printed 76.0 of HotpotQA; its correction mends it
    # extracted text
    ("peft_bench", "Prompt tuning (m=100)", "mean of 27 sets", 50.0, 50.193),
    ("peft_bench", "Prefix tuning (l=32, MLP 512)", "mean of 27 sets", 45.9, 41.926),
    ("peft_bench", "P-tuning (m=100, LSTM 768)", "mean of 27 sets", 51.7, 54.722),
    ("peft_bench", "LoRA (r=16)", "mean of 27 sets", 80.1, 77.937),
    ("peft_bench", "LN-tuning", "mean of 27 sets", 77.8, 75.615),
}
WITHIN_ROUNDING = {
    ("dept", "LoRA", "GLUE", 85.3, 85.212),
    ("dept", "HyperFormer", "GLUE", 84.8, 84.713),
    ("dept", "HyperFormer", "SuperGLUE(5)", 75.4, 75.48),
    ("dept", "ATTEMPT", "GLUE", 83.4, 83.462),
    ("accept", "HyperFormer(m)", "SuperGLUE-avg", 75.4, 75.48),
    ("pt", "PT best of 5", "SuperGLUE dev", 91.0, 91.056),
    ("pt_moe", "LoRA", "Avg.", 43.09, 43.097),
    ("pt_moe", "PT", "Avg.", 45.52, 45.526),
}
HEADER = "paper,table,backbone,method,task,metric,value,std,source\n"


def all_entries():
    """Every entry of every file."""
    return [entry for paper in papers() for entry in (load(paper).entries if load(paper) else ())]


def test_all_transcribed_cells_are_on_file() -> None:
    counts = {paper: len(load(paper).entries) for paper in papers()}  # type: ignore[union-attr]
    assert sum(counts.values()) == 1822
    assert counts["pt_moe"] == 288 and counts["peft_bench"] == 243 and counts["hf_peft_benchmark"] == 13 + 189
    assert counts["xprompt"] == 15 and counts["context_peft"] == 22
    assert counts["dept"] == 383 and counts["accept"] == 234 and counts["pt"] == 107
    assert counts["adept"] == 0 and counts["apt"] == 0


def test_entries_are_valid() -> None:
    for paper in papers():
        reference = load(paper)
        assert reference is not None
        for index, entry in enumerate(reference.entries):
            others = reference.entries[:index] + reference.entries[index + 1 :]
            assert problems(entry, others) == []
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
    assert hotpot is not None and hotpot.value == 76.0 and hotpot.correction == 76.8 == hotpot.corrected
    mean = next(m for m in dept.misfits() if (m.method, m.task) == ("DePT", "MRQA"))
    assert mean.corrected == 73.0 == mean.printed
    flagged = dept.find("ATTEMPT", "MRQA")
    assert flagged is not None and "71.7" in (flagged.remark or "")
    copied = dept.find("LoRA", "STS-B", table="T1 GLUE+SuperGLUE")
    assert copied is not None and "90.9" in (copied.remark or "")
    small = load("pt").find("Prompt tuning", "prompt length 20", backbone="T5.1.1 Small")  # type: ignore[union-attr]
    assert small is not None and (small.value, small.corrected) == (10420, 10240)
    assert all(entry.extracted for entry in load("peft_bench").entries)  # type: ignore[union-attr]
    assert not any(entry.extracted for entry in dept.entries)


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


UNITS = HEADER.strip() + ",unit,correction\n"


@pytest.mark.parametrize(
    ("body", "value", "unit"),
    [
        (HEADER + "X,1,t5,PT,QQP,f1,0.5,,s\nX,1,t5,PT,MNLI,f1,59.2,,s\n", 0.5, "points"),  # the column has points
        (UNITS + "X,1,t5,PT,CoLA,matthews,0.4,,s,points,\n", 0.4, "points"),
        (HEADER + "X,1,t5,PT,BoolQ,training seconds,4551,,s\n", 4551.0, "seconds"),
        (HEADER + "X,1,t5,PT,BoolQ,seconds to convergence,1:14:16,13:12,s\n", 4456.0, "seconds"),
        (HEADER + 'X,1,t5,PT,BoolQ,peak memory bytes,"24,461,180,928",,s\n', 24461180928.0, "bytes"),
        (HEADER + "X,1,t5,PT,BoolQ,peak memory GB,22.78,,s\n", 22.78, "GB"),
        (UNITS + "X,1,t5,PT,BoolQ,wall time,8812,,s,seconds,\n", 8812.0, "seconds"),
        (UNITS + "X,1,t5,PT,BoolQ,latency,0.3,,s,seconds,\n", 0.3, "seconds"),
        (HEADER + "X,1,t5,PT,COCO,perplexity,0.9,,s\n", 0.9, "perplexity"),
    ],
)
def test_add_takes_scores_below_one_and_what_is_no_score(tmp_path: Path, body: str, value: float, unit: str) -> None:
    rows = tmp_path / "mine.csv"
    rows.write_text(body)
    assert add(rows, tmp_path) == 0
    first = read(tmp_path / "x.yaml").entries[0]
    assert (first.value, unit_of(first)) == (value, unit)
    assert check(tmp_path) == 0


def test_a_correction_stands_beside_what_is_printed(tmp_path: Path) -> None:
    rows = tmp_path / "mine.csv"
    rows.write_text(UNITS + "X,1,t5,PT,HotpotQA,f1,76.0,,s,,76.8\nX,1,t5,PT,NQ,f1,74.0,,s,,\n")
    assert add(rows, tmp_path) == 0
    misprint, plain = read(tmp_path / "x.yaml").entries
    assert (misprint.value, misprint.correction, misprint.corrected) == (76.0, 76.8, 76.8)
    assert (plain.correction, plain.corrected) == (None, 74.0)
    assert "correction" not in (tmp_path / "x.yaml").read_text().splitlines()[-1]


def test_averages_over_other_tables_and_two_digits() -> None:
    def entry(table: str, task: str, value: float, metric: str = "f1") -> Entry:
        return Entry(table, "b", "l", "PT", task, metric, value, None, "test", 1, "none", None, "s")

    cells = (entry("A", "X", 50.01), entry("B", "Y", 60.02), entry("C", "all", 55.03), entry("C", "all", 9.0, "PSCP"))
    reference = Reference("p", "", cells, (Average("C", "all", ("X", "Y"), ("A", "B")),))
    (misfit,) = reference.misfits()
    assert (misfit.printed, misfit.computed, misfit.digits) == (55.03, 55.015, 2)
    assert misfit.beyond_rounding  # 0.015 is more than 0.01, which two digits allow


@pytest.mark.parametrize(
    ("body", "said"),
    [
        (HEADER, "no rows"),
        (HEADER + "X,1,t5,PT,RTE,accuracy,0.82,,s\nX,1,t5,PT,CB,accuracy,0.9,,s\n", "line 3"),
        (HEADER + "X,1,t5,PT,RTE,accuracy,4551,,s\n", "names its unit"),
        (HEADER + "X,1,t5,PT,RTE,accuracy,nan,,s\n", "not a number"),
        ("paper,table\nX,1\n", "columns missing"),
        (HEADER + "X,1,t5,PT,RTE,accuracy,high,,s\n", "not a number"),
        (HEADER + "X,1,t5,PT,RTE,accuracy,0.82,,s\n", "looks like a fraction"),
        (HEADER + "X,1,t5,PT,RTE,accuracy,82,,\n", "source is empty"),
        (HEADER + "X,1,t5,PT,RTE,accuracy,82,,s\nX,1,t5,PT,RTE,accuracy,83,,s\n", "already a value"),
        (HEADER + "X,1,t5,PT,RTE,accuracy,,,s\n", "value is empty"),
        (HEADER + "X,1,t5,PT,RTE,training seconds,-3,,s\n", "cannot be negative"),
        (HEADER + "X,1,t5,PT,RTE,peak memory bytes,inf,,s\n", "not a number"),
        (HEADER + "X,1,t5,PT,RTE,training seconds,12:75,,s\n", "not a number"),
        (HEADER + "X,1,t5,PT,RTE,training seconds,1:75:00,,s\n", "not a number"),
        (HEADER + "X,1,t5,PT,RTE,training minutes,1:14:16,,s\n", "in minutes: name a metric in seconds"),
        (HEADER + "X,1,t5,PT,RTE,accuracy,1:14,,s\n", "in points: name a metric in seconds"),
        (UNITS + "X,1,t5,PT,HotpotQA,f1,76.0,,s,,768\n", "not in points"),
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
    out = capsys.readouterr().out
    assert "dept: 383 values" in out and "1,822 cells" in out
    assert main(["ad", "x.csv"]) == 2


def test_equal_to_the_transcription_they_were_made_from() -> None:
    """Every row of the shared transcription, where the machine has it, stands in a file with its value."""
    shared = Path(os.environ.get("BENCH_SHARED", Path(__file__).resolve().parents[2].parent / "shared"))
    sources = [shared / "reference" / name for name in ("reference_numbers.csv", "reference_numbers_2.csv")]
    if not all(source.exists() for source in sources):
        pytest.skip(f"{sources[-1]} is not here; set BENCH_SHARED to the folder that has reference/")
    values = Counter((entry.table, entry.backbone, entry.method, entry.task) for entry in all_entries())
    rows: list[dict[str, str]] = []
    for source in sources:
        with source.open(newline="") as handle:
            rows += csv.DictReader(handle)
    assert values == Counter((row["table"], row["backbone"], row["method"], row["task"]) for row in rows)
    # the transcription has two corrections in place of what is printed; a file has both
    on_file = Counter((e.table, e.backbone, e.method, e.task, e.corrected) for e in all_entries())
    for row in rows:
        if ":" not in row["value"]:
            assert on_file[row["table"], row["backbone"], row["method"], row["task"], float(row["value"])]
