"""The audit's page, its data and its command."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from results.audit import claims as quoted
from results.audit.__main__ import in_order, main
from results.audit.averages import recomputed
from results.audit.cells import cells_of, design_of, designs, error_of, sizes
from results.audit.page import page
from results.reference import Average, Entry, Reference, load, papers
from tests.tasks_rig import shared_data

DOCS = Path(__file__).resolve().parents[2] / "docs/audit.md"
COMMAND = "python -m results.audit out=docs/audit.md"


@pytest.fixture(scope="module")
def whole() -> str:
    return page(in_order(), COMMAND, figures=True)


def test_the_committed_page_is_what_the_command_gives(whole: str) -> None:
    """`make audit` writes it again."""
    assert DOCS.read_text(encoding="utf-8") == whole
    assert all((DOCS.parent / name).exists() for name in re.findall(r"\]\((audit-[a-z]+\.png)\)", whole))


def test_the_same_page_twice_is_identical(whole: str) -> None:
    assert page(in_order(), COMMAND, figures=True) == whole


def test_what_is_assumed_is_said_first_and_our_own_tables_come_before_the_papers(whole: str) -> None:
    headings = re.findall(r"^## (.+)$", whole, flags=re.M)
    assert headings[:3] == ["What is assumed", "How to read it", "This project's own tables"]
    assert "offline_v1, reviews" in whole and headings.index("DePT") > 2


def test_the_words_are_fair(whole: str) -> None:
    said = re.sub(r'"[^"]*"', "", whole)
    for word in ("false", "fail", "fails", "failed", "wrong", "impossible", "refuted", "error-prone"):
        assert not re.search(rf"\b{word}\b", said, flags=re.I), word
    assert "no\nevidence that they are equal" in whole or "no evidence that they are equal" in " ".join(whole.split())
    assert whole.count("Authors' comments: none so far.") == whole.count("Errata of this section: none so far.") > 5


def test_only_quoted_claims_are_judged(whole: str) -> None:
    claims, _, _ = quoted.read()
    for claim in claims:
        assert claim.quote in whole and claim.place in whole
        assert len(claim.quote.split()) <= 30  # short quotes
    assert {claim.paper for claim in claims} == {"dept", "adept", "accept", "apt", "pt"}
    judged = [found for claim in claims for found in quoted.assess(claim)]
    assert judged and all(found.family is not None for found in judged)
    for paper in ("P-tuning v2", "Selective Prefix Tuning"):
        section = whole.split(f"\n## {paper}\n")[1].split("\n## ")[0]
        assert "descriptive" in section and "verdict |" not in section


def test_a_claim_without_cells_on_file_is_named_and_not_judged(whole: str) -> None:
    section = whole.split("\n## ADePT\n")[1].split("\n## ")[0]
    assert "Not judged: none of the cells" in section


def test_a_claim_needs_its_sentence(tmp_path: Path) -> None:
    path = tmp_path / "claims.yaml"
    base = "claims:\n  - {paper: dept, quote: '', place: abstract, method: A, comparator: B, names: true, cells: []}\n"
    path.write_text(base)
    with pytest.raises(ValueError, match="no quote, no verdict"):
        quoted.read(path)
    path.write_text(base.replace("''", "'x'").replace("[]", "[{paper: dept, table: T, reading: other}]"))
    with pytest.raises(ValueError, match="reading 'other'"):
        quoted.read(path)


def test_every_design_and_claim_names_what_is_on_file() -> None:
    for paper, tables in designs().items():
        on_file = {cell.table: {c.task for c in cells_of(paper) if c.table == cell.table} for cell in cells_of(paper)}
        for design in tables:
            assert set(design["sets"]) <= on_file[design["table"]], (paper, design["table"])
            named = [task for task in design["sets"].values() if isinstance(task, str)]
            assert set(named) <= set(sizes()), paper
            assert set(design["clustered"]) <= set(design["sets"])
    for claim in quoted.read()[0]:
        for where in claim.cells:
            methods = {cell.method for cell in cells_of(where["paper"]) if cell.table == where["table"]}
            assert {claim.method, claim.comparator} <= methods
            assert design_of(where["paper"], where["table"]) is not None


def test_dept_as_specified(whole: str) -> None:
    """The figures of the specification: sizes of the half dev sets, 18 of 108 values, all of them explained."""
    cells = [c for c in cells_of("dept") if c.table == "T1 GLUE+SuperGLUE"]
    held = {c.task: c.test.n for c in cells if c.test}
    expected = {"CB": 28, "WSC": 52, "RTE": 139, "MRPC": 204, "WiC": 319, "CoLA": 522, "STS-B": 750, "BoolQ": 1635}
    assert {task: held[task] for task in expected} == expected
    small = [c for c in cells if c.metric == "accuracy" and c.test and c.test.n < 2000]
    assert len(small) == 108
    assert "18 are not" in whole.split("\n## DePT\n")[1].split("\n## ")[0]
    assert "none under the declared sets" not in whole.split("\n## DePT\n")[1].split("\n## ")[0]


def test_cells_that_cannot_be_audited_say_why() -> None:
    reasons = {error_of(cell)[1] for paper in papers() for cell in cells_of(paper)}
    assert {"its test set is not on file", "macro F1 without counts"} <= reasons
    assert all(reason or True for reason in reasons)
    unknown = [c for c in cells_of("ptuning_v2") if c.split == "unknown"]
    assert unknown and all(error_of(cell)[0] is None for cell in unknown)


def entry(task: str, value: float, metric: str = "accuracy") -> Entry:
    return Entry("T", "t5", "T5", "A", task, metric, value, None, "test", 1, "validation", None, "here")


def test_averages_by_half_units_truncation_and_definitions() -> None:
    averages = (Average("T", "mean", ("x", "y")),)

    def of(printed: float, *cells: Entry) -> object:
        reference = Reference("P", "", (*cells, entry("mean", printed, "mean")), averages)
        return recomputed(cells_of("none", reference), averages)[0]

    within, cut, beyond = (of(value, entry("x", 80.1), entry("y", 90.2)) for value in (85.2, 85.3, 85.4))
    assert not within.flagged  # type: ignore[attr-defined]
    assert cut.flagged and "truncated digits could explain it" in cut.words  # type: ignore[attr-defined]
    assert beyond.words == "does not follow from the transcribed cells"  # type: ignore[attr-defined]
    two = of(84.0, entry("x", 80.1), entry("x", 75.3, "f1"), entry("y", 87.9))
    assert not two.flagged and len(two.tried) == 3  # type: ignore[attr-defined]


def test_flagged_averages_are_those_that_the_reference_files_know() -> None:
    flagged = {
        (paper, one.cell.method, one.cell.task)
        for paper in papers()
        for one in recomputed(cells_of(paper), load(paper).averages)  # type: ignore[union-attr]
        if one.flagged
    }
    known = {
        (paper, m.method, m.task)
        for paper in papers()
        for m in load(paper).misfits()  # type: ignore[union-attr]
        if m.beyond_rounding and paper != "peft_bench"  # extracted text, kept out
    }
    assert ("dept", "DePT", "MRQA") in known  # a printed cell of it is corrected, and then it follows
    assert flagged == known - {("dept", "DePT", "MRQA")} and len(flagged) == 3


def test_corrected_cells_say_so(whole: str) -> None:
    section = whole.split("\n## DePT\n")[1].split("\n## ")[0]
    assert "HotpotQA: printed 76.0 in the source, 76.8 here" in section
    assert section.count("printed 76.0 in the source") == 3  # the average, and both pairs that read it


def test_extracted_text_is_kept_out_and_sizes_and_times_are_no_scores(whole: str) -> None:
    rest = whole.split("\n## On file, and nothing to audit\n")[1]
    assert "**PEFT-Bench**" in rest and "read from extracted text; kept out until the original was seen" in rest
    assert "\n## PEFT-Bench\n" not in whole and "no score in points" in whole


@pytest.mark.slow
def test_sizes_are_what_the_data_at_hand_hold() -> None:
    from scripts import split_sizes

    assert split_sizes.main([f"data.root={shared_data()}", "--check"]) == 0


def test_the_command(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["paper=accept"]) == 0
    assert "## ACCEPT" in capsys.readouterr().out
    out = tmp_path / "audit.md"
    assert main(["paper=dept", f"out={out}"]) == 0
    first = out.read_bytes(), (tmp_path / "audit-differences.png").read_bytes()
    assert main(["paper=dept", f"out={out}"]) == 0
    assert (out.read_bytes(), (tmp_path / "audit-differences.png").read_bytes()) == first
    for wrong, said in (("paper=dep", "not on file"), ("papers=dept", "the keys are"), ("paper=", "some of")):
        assert main([wrong]) == 2
        assert said in capsys.readouterr().err
    assert main(["--help"]) == 0
