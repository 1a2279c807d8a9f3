"""REPRODUCTION.md agrees with itself: every cell is run, missing or failed, and the committed runs are counted."""

from __future__ import annotations

import re
from pathlib import Path

from results.archive import archive_of, archived, with_archive
from results.records import read_runs
from results.reference import ANCHORS, load
from results.reproduction import NOT_A_PAPER, VERDICTS, cells_of, page
from results.tables.build import build
from results.tables.layout import load as load_layout
from results.tables.layout import papers, tables_of

WANTED = [paper for paper in papers() if paper not in NOT_A_PAPER]
COUNTS = re.compile(r"^(\d+) cells? in \d+ tables? \(.*\); (\d+) have a published value on file; (\d+) were run", re.M)
MISSING = re.compile(r"^- (\d+) cells have no run", re.M)


def test_cells_of_a_section_are_run_missing_or_failed(tmp_path: Path) -> None:
    sections = re.split(r"^## (?!Out of scope)", page(read_runs(tmp_path), WANTED), flags=re.M)[1:]
    assert len(sections) == len(WANTED)
    for paper, text in zip(WANTED, sections, strict=True):
        cells, _, run = map(int, COUNTS.search(text).groups())  # type: ignore[union-attr]
        found = MISSING.search(text)
        listed = (
            re.findall(r"\((\d+)\)", found.string[found.start() : found.string.find("\n", found.start())])
            if found
            else []
        )
        assert sum(map(int, listed)) == (int(found[1]) if found else 0), paper
        failed = len(re.findall(r"^- .*: (?:failed|running|ambiguous|no score|\d+/\d+): ", text, re.M))
        assert cells == run + sum(map(int, listed)) + failed, paper


def test_a_paper_without_values_of_its_own_says_whose_are_beside_it() -> None:
    for paper in ("adept", "apt"):
        assert not load(paper).entries  # type: ignore[union-attr]
        tables = [build(load_layout(paper, name), read_runs("nothing")) for name in tables_of(paper)]
        published = sum(cell.published is not None for table in tables for _, cell in cells_of(table))
        assert published > 0 and "own" in load(paper).about  # type: ignore[union-attr]


def test_committed_runs_count_as_run(tmp_path: Path) -> None:
    committed = [paper for paper in WANTED if archive_of(paper).exists()]
    assert "offline_v1" in committed
    text = page(read_runs(tmp_path), WANTED)
    runs = {run.id for paper in committed for run in archived(paper).runs}
    assert f"Ledger and committed runs are {len(runs)} runs" in text
    for paper in committed:
        assert with_archive(read_runs(tmp_path), paper).runs


def test_an_anchor_is_found_like_a_paper_and_counted_apart() -> None:
    anchor = load("smollm2")
    assert anchor is not None and (ANCHORS / "smollm2.yaml").exists()
    assert [entry.value for entry in anchor.entries] == [66.3, 66.9]


def test_what_a_section_counts_is_what_it_lists(tmp_path: Path) -> None:
    """Verdicts in its first line are the cells listed under it, none of them more than were run or published."""
    sections = re.split(r"^## (?!Out of scope)", page(read_runs(tmp_path), WANTED), flags=re.M)[1:]
    for paper, text in zip(WANTED, sections, strict=True):
        cells, published, run = map(int, COUNTS.search(text).groups())  # type: ignore[union-attr]
        said = dict.fromkeys(VERDICTS, 0) | {
            name: int(count)
            for count, name in re.findall(r"(\d+) ([a-z ]+)", text[COUNTS.search(text).end() :].split(".")[0])  # type: ignore[union-attr]
        }
        listed = {name: len(re.findall(rf"^- .*: {name}, ", text, re.M)) for name in VERDICTS[2:]}
        for name, heading in (("reproduced", "What matched"), ("differs", "What did not")):
            listed[name] = len(re.findall("^- ", text.split(f"### {heading}")[1].split("###")[0], re.M))
        assert said == listed and sum(said.values()) <= min(run, published) and published <= cells, paper


def test_the_committed_page_is_what_the_committed_runs_give(tmp_path: Path) -> None:
    """`python -m results.reproduction out=REPRODUCTION.md` makes it anew."""
    committed = (Path(__file__).resolve().parents[2] / "REPRODUCTION.md").read_text(encoding="utf-8")
    assert committed == page(read_runs(tmp_path), WANTED)
