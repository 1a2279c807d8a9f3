"""The tokens nearest to a run's prompt: where it started, when it has hardly moved."""

from __future__ import annotations

from pathlib import Path

import pytest

from scripts import nearest
from tests.running import record, run_here

pytestmark = pytest.mark.slow


def tokens_of(out: str) -> list[tuple[str, float]]:
    rows = [line.split("\t")[1] for line in out.splitlines() if "\t" in line]
    return [(row.rpartition(" ")[0], float(row.rpartition(" ")[2])) for row in rows]


@pytest.mark.parametrize(
    ("choice", "length"),
    [
        (("backbone=tiny_llama", "method=pt", "method.prompt_length=7"), 7),
        (("backbone=tiny_bert", "method=dept", "method.prompt_length=5"), 5),
    ],
    ids=["pt", "dept"],
)
def test_a_prompt_from_the_vocabulary_is_found_again(
    choice: tuple[str, ...], length: int, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    still = ("method.init=sampled_vocabulary", "method.lr.prompt=1e-9", "runner.max_steps=1")
    assert run_here(tmp_path, *choice, *still).status == "done"
    capsys.readouterr()
    where = [f"run={record(tmp_path)['run_id'][:6]}", f"ledger={tmp_path / 'runs'}"]
    assert nearest.main([*where, "top=3"]) == 0
    out = capsys.readouterr().out
    found = tokens_of(out)
    assert len(found) == length and all(cosine > 0.999 for _, cosine in found)
    assert all(line.count("\t") == 3 for line in out.splitlines()[:-1])
    assert f"{length} vectors, mean norm" in out.splitlines()[-1]


def test_a_composed_prompt_is_read_as_the_backbone_reads_it(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run_here(tmp_path, "method=accept", "backbone=tiny_t5").status == "done"
    capsys.readouterr()
    assert nearest.main([f"run={record(tmp_path)['run_id']}", f"ledger={tmp_path / 'runs'}"]) == 0
    assert len(tokens_of(capsys.readouterr().out)) == record(tmp_path)["config"]["method"]["prompt_length"]


def test_what_has_no_prompt_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run_here(tmp_path, "method=prefix").status == "done"
    where = [f"run={record(tmp_path)['run_id']}", f"ledger={tmp_path / 'runs'}"]
    assert nearest.main(where) == 2
    assert "no prompt stands in front" in capsys.readouterr().err
    assert nearest.main([*where, "top=0"]) == 2 and nearest.main(["top=3"]) == 2
