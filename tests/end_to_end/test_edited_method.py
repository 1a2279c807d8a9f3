"""A method of one's own, edited again and again: a table shows what its file is now, or says that it does not."""

from __future__ import annotations

from pathlib import Path

import pytest

from results.records import read_runs
from results.tables.build import EARLIER, build
from results.tables.layout import free
from results.tables.model import Cell
from results.tables.state import Options
from scripts import new
from tests.running import run_here


def cell_of(root: Path) -> Cell:
    reading = read_runs(root / "runs")
    table = build(free(reading.runs, "method", "task", {}), reading, Options(fixtures=True))
    return next(iter(next(row for row in table.rows if row.label == "mine").cells.values()))


def test_a_table_takes_the_runs_of_the_file_as_it_is(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    own = tmp_path / "own"
    assert new.main(["method", "mine", "--config-dir", str(own)]) == 0
    monkeypatch.setenv("SOFT_PROMPT_BENCH_CONFIG", str(own))
    first = run_here(tmp_path, "method=mine")
    assert first.status == "done"
    assert EARLIER not in cell_of(tmp_path).footnotes
    file = own / "mine.py"
    text = file.read_text()
    file.write_text(text.replace("return self.prompt\n", "return self.prompt * 1.5\n"))
    assert file.read_text() != text
    before = cell_of(tmp_path)
    assert EARLIER in before.footnotes and before.run_ids == [first.run_id]  # the old score, and said to be old
    second = run_here(tmp_path, "method=mine")
    assert second.run_id != first.run_id
    now = cell_of(tmp_path)
    assert now.run_ids == [second.run_id] and "1 run of other code than is here now left out" in now.footnotes
    assert EARLIER not in now.footnotes
    file.write_text(text.replace("return self.prompt\n", "return self.prompt * 2\n"))
    assert cell_of(tmp_path).text == "ambiguous"  # of two earlier ones nobody has said which
    file.unlink()
    assert cell_of(tmp_path).text == "ambiguous"
    file.write_text(text)
    assert cell_of(tmp_path).run_ids == [first.run_id]
