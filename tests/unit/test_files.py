"""Files survive whatever kills their writer."""

from __future__ import annotations

from pathlib import Path

import pytest

from results.files import append_line, read_lines, replacing, write_json


def test_a_failed_write_leaves_the_old_file_and_nothing_else(tmp_path: Path) -> None:
    path = tmp_path / "record.json"
    write_json(path, {"a": 1})
    before = path.read_bytes()
    with pytest.raises(RuntimeError), replacing(path) as temporary:
        temporary.write_text("half of")
        raise RuntimeError("killed")
    assert path.read_bytes() == before
    assert [entry.name for entry in tmp_path.iterdir()] == ["record.json"]


def test_a_torn_last_line_is_ignored_and_then_replaced(tmp_path: Path) -> None:
    path = tmp_path / "metrics.jsonl"
    append_line(path, {"step": 1})
    with path.open("ab") as handle:
        handle.write(b'{"step": 2, "lo')
    assert read_lines(path) == [{"step": 1}]
    append_line(path, {"step": 2})
    assert read_lines(path) == [{"step": 1}, {"step": 2}]


def test_a_broken_line_inside_names_file_and_line(tmp_path: Path) -> None:
    path = tmp_path / "metrics.jsonl"
    path.write_text('{"step": 1}\nnot json\n{"step": 3}\n')
    with pytest.raises(ValueError, match=r"metrics\.jsonl, line 2"):
        read_lines(path)


def test_an_absent_file_has_no_rows(tmp_path: Path) -> None:
    assert read_lines(tmp_path / "nothing.jsonl") == []
