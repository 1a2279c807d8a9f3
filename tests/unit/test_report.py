"""The report page: what it holds, that it is one file, that text of a ledger cannot break it, and its size."""

from __future__ import annotations

import base64
import gzip
import json
import math
import re
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from results.plots.runs import Seen, read
from results.report import command, details, page, payload
from tests.ledgers import make_ledger


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("reported")
    made = make_ledger(root, runs=50, seed=1, learning_rates=(0.3,), lengths=(20, 60), failures=0.1, broken=1)
    # what a model may say must stay text
    folder = root / next(r["run_id"] for r in made if r["status"] == "done" and r["method"] == "pt")
    (folder / "predictions.test.jsonl").write_text(
        json.dumps({"id": "x", "prediction": "</script><b>@@index@@", "reference": "1", "group": ""}) + "\n"
    )
    return root


@pytest.fixture(scope="module")
def content(root: Path) -> payload.Payload:
    runs, problems = read(root, {})
    return payload.build(runs, problems, title="A <b>title</b>", made="today", ledger="a/ledger")


def unpack(block: str) -> dict[str, Any]:
    return json.loads(gzip.decompress(base64.b64decode(block)))


def test_every_run_is_on_the_page_with_its_details(root: Path, content: payload.Payload) -> None:
    columns = content.index["columns"]
    ids = {path.parent.name for path in root.glob("*/record.json") if not path.parent.name.startswith("broken")}
    assert set(columns["id"]) == ids
    assert all(len(column) == len(ids) for column in columns.values())
    assert "broken000000" in content.index["problems"][0]
    blocks = [unpack(block) for block in content.blocks]
    for at, run_id in enumerate(columns["id"]):
        record = json.loads((root / run_id / "record.json").read_text())
        block = blocks[columns["block"][at]]
        own = block["runs"][columns["place"][at]]
        assert {**block["shared"], **own["options"]}["method.name"] == record["method"]
        assert own["verdicts"] == record["verdicts"]
        assert columns["score"][at] == pytest.approx(
            record["metrics"].get(record["primary_split"], {}).get(record["primary_metric"]), abs=1e-4
        )


def test_failed_runs_carry_their_reason_and_fixture_runs_their_mark(root: Path, content: payload.Payload) -> None:
    index = content.index
    status = index["factors"]["status"]
    failed = [at for at, code in enumerate(status["codes"]) if status["levels"][code] == "failed"]
    assert failed and all("nan" in index["columns"]["reason"][at] for at in failed)
    for at, run_id in enumerate(index["columns"]["id"]):
        record = json.loads((root / run_id / "record.json").read_text())
        assert index["columns"]["fixture"][at] == (record["data"]["source"] == "fixture")


def test_one_grid_point_per_panel_and_method_is_chosen(content: payload.Payload) -> None:
    columns, method = content.index["columns"], content.index["factors"]["method"]
    points: dict[tuple[int, int], set[int]] = {}
    for at, chosen in enumerate(columns["chosen"]):
        if chosen and method["levels"][method["codes"][at]] not in content.index["baselines"]:
            points.setdefault((columns["panel"][at], method["codes"][at]), set()).add(columns["point"][at])
    assert points and all(len(found) == 1 for found in points.values())


def test_the_page_is_one_file_that_fetches_nothing(content: payload.Payload) -> None:
    text = page.render(content)
    assert re.findall(r"(?:src|href)=\"(?!#|data:)[^\"]+\"", text) == []
    assert "http://" not in text.replace("http://www.w3.org/2000/svg", "") and "https://" not in text
    assert "@import" not in text and "fetch(" not in text and "default-src 'none'" in text


def test_text_of_the_ledger_cannot_end_the_script_or_be_taken_for_a_place_to_fill(
    content: payload.Payload,
) -> None:
    text = page.render(content)
    assert "A &lt;b&gt;title" in text and "A <b>title" not in text
    assert text.count("</script>") == 2 + len(content.blocks)
    index = re.search(r'id="index">(.*?)</script>', text, re.S)
    assert index and json.loads(index[1])["title"] == "A <b>title</b>"
    said = [error for block in content.blocks for run in unpack(block)["runs"] if (error := run["errors"])]
    assert any("</script><b>@@index@@" in row for one in said for sample in one["sample"] for row in sample)


@settings(max_examples=40, deadline=None)
@given(
    st.recursive(
        st.none() | st.floats() | st.text() | st.integers(), lambda x: st.lists(x) | st.dictionaries(st.text(), x)
    )
)
def test_whatever_a_record_holds_becomes_json_in_a_script(value: Any) -> None:
    text = page.script_json(details.clean(value))
    assert "<" not in text
    json.loads(text)


def test_curves_keep_their_ends_and_lose_what_is_not_finite() -> None:
    curve = [(step, float(step)) for step in range(1000)]
    steps, values = details.pairs([*curve, (1000, math.nan)])
    assert len(steps) == details.CURVE_POINTS and steps[0] == 0 and steps[-1] == 999 and values[-1] == 999


@pytest.mark.parametrize(
    ("prediction", "reference", "same"),
    [
        ("1", "1", True),
        (" Paris", "paris", True),
        ("Paris", ["Lutetia", "Paris"], True),
        (["O", "B-PER"], ["O", "B-PER"], True),
        (["O", "O"], ["O", "B-PER"], False),
        ("0", "1", False),
    ],
)
def test_agreement(prediction: Any, reference: Any, same: bool) -> None:
    assert details.agrees(prediction, reference) is same


def test_confusion_counts_rows_and_leaves_free_text_alone() -> None:
    rows = [{"reference": r, "prediction": p} for r, p in [("0", "0"), ("0", "1"), ("1", "1"), ("1", "maybe")]]
    assert details.confusion(rows) == {"labels": ["0", "1"], "counts": [[1, 1], [0, 1]], "elsewhere": 1}
    assert details.confusion([{"reference": str(i), "prediction": "x"} for i in range(20)]) is None
    assert details.confusion([{"reference": ["a"], "prediction": "a"}]) is None


def test_errors_of_a_regression_are_the_largest_differences(tmp_path: Path) -> None:
    rows = [{"id": str(i), "prediction": float(i), "reference": 0.5} for i in range(20)]
    (tmp_path / "predictions.test.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows) + '{"id": "to')
    found = details.errors(Seen({"run_id": "r", "primary_split": "test"}, tmp_path))
    assert found is not None and found["rows"] == 20 and found["numeric"]
    assert [row[0] for row in found["sample"]][:2] == ["19", "18"]


def test_an_empty_ledger_gives_a_page(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "report.html"
    (tmp_path / "none").mkdir()
    assert command.main([f"out={out}", f"ledger.root={tmp_path / 'none'}"]) == 0
    assert out.read_text().startswith("<!doctype html>")
    assert "make demo" in capsys.readouterr().out


def test_records_with_little_in_them_do_not_stop_the_report(tmp_path: Path) -> None:
    folder = tmp_path / "runs" / "abc"
    folder.mkdir(parents=True)
    record = {"run_id": "abc", "status": "running", "method": "pt", "task": "glue/rte", "verdicts": None}
    (folder / "record.json").write_text(json.dumps(record))
    (folder / "metrics.jsonl").write_text('{"step": 1, "loss": NaN}\n{"step": 2, "lo')
    assert command.write(tmp_path / "runs", tmp_path / "report.html") == 1
    assert '"interrupted"' in (tmp_path / "report.html").read_text()


def test_mistakes_in_the_command_are_refused(capsys: pytest.CaptureFixture[str]) -> None:
    assert command.main(["results/report.html"]) == 2
    assert "key=value" in capsys.readouterr().err


def test_filters_choose_the_runs(root: Path, tmp_path: Path) -> None:
    every = command.write(root, tmp_path / "a.html")
    some = command.write(root, tmp_path / "b.html", filters={"task": ["glue/rte"], "method": ["pt", "none"]})
    assert 0 < some < every == 50


def test_the_report_imports_neither_torch_nor_transformers() -> None:
    code = "import sys, results.report.command; print([m for m in ('torch', 'transformers') if m in sys.modules])"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True).stdout.strip() == "[]"


@pytest.mark.slow
def test_two_thousand_runs_take_seconds(tmp_path: Path) -> None:
    make_ledger(tmp_path / "runs", runs=2000, seed=0, rows=200)
    start = time.process_time()
    assert command.write(tmp_path / "runs", tmp_path / "report.html") == 2000
    assert time.process_time() - start < 15
    assert (tmp_path / "report.html").stat().st_size < 5e6


def test_every_table_of_a_paper_stands_under_its_name(tmp_path: Path) -> None:
    """Its caption stands below it, a screen further down."""
    from results.records import Reading
    from results.report.papers import paper_tables

    make_ledger(tmp_path, runs=60)
    runs, _ = read(tmp_path, {})
    shown = paper_tables(runs, Reading(tmp_path), fixtures=True)
    names = re.findall(r"<h3>(\w+), table ([\w-]+)</h3>", shown)
    assert names and len(names) == shown.count('<table class="paper"')
    assert [f'id="{paper}-{name}"' in shown for paper, name in names] == [True] * len(names)


def test_a_score_at_its_edge_comes_without_a_standard_error(tmp_path: Path) -> None:
    """Records of before hold 0.0 there, which would read as certainty."""
    make_ledger(tmp_path, runs=6)
    runs, problems = read(tmp_path, {})
    for run, error in zip(runs, (0.0, None, 0.021), strict=False):
        run.record["standard_error"] = error
    made = payload.build(runs[:3], problems, title="t", made="now", ledger="x/y")
    columns = made.index["columns"]
    assert [columns["error"][columns["id"].index(run.id)] for run in runs[:3]] == [None, None, 0.021]
