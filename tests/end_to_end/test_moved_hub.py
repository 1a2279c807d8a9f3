"""A branch of the Hub that moves: the weights of today never answer under the name of those of yesterday."""

from __future__ import annotations

import hashlib
import shutil
from pathlib import Path
from typing import Any

import huggingface_hub.constants
import pytest

import run
from backbones.specimens import save_specimen
from results.ledger import Ledger
from results.records import read_runs
from results.tables.build import build
from results.tables.layout import free
from results.tables.state import Options
from runners.finished import load_finished
from runners.last_backbone import LAST_BACKBONE
from tests.end_to_end.test_resume import Killed, die_at
from tests.running import overrides, record, run_here

HUB = "someone/model"
CHOSEN = ("backbone=hub_llama", f"backbone.hub={HUB}", "backbone.revision=main", "method.prompt_length=3")


class FakeHub:
    """A local cache of the Hub with one model, as its client lays it out."""

    def __init__(self, root: Path) -> None:
        self.folder = root / f"models--{HUB.replace('/', '--')}"

    def commit(self, seed: int, note: str = "") -> str:
        """A further commit on main: a specimen's files of this seed; the commit."""
        made = save_specimen("llama", self.folder / f"made-{seed}{note}", seed)
        (made / "README.md").write_text(note)
        commit = hashlib.sha1(f"{seed}{note}".encode()).hexdigest()
        place = self.folder / "snapshots" / commit
        if not place.exists():
            shutil.copytree(made, place)
        (self.folder / "refs").mkdir(exist_ok=True)
        (self.folder / "refs" / "main").write_text(commit)
        LAST_BACKBONE.forget()
        return commit


@pytest.fixture
def hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> FakeHub:
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_CACHE", str(tmp_path / "hub"))
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", True)
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    return FakeHub(tmp_path / "hub")


def test_a_finished_run_on_a_branch_that_moved_is_stale(hub: FakeHub, tmp_path: Path, capsys: Any) -> None:
    first = hub.commit(0)
    made = run_here(tmp_path, *CHOSEN)
    assert made.exit_code == 0
    assert record(tmp_path)["backbone_content"]["commit"] == first
    hub.commit(0, "another README")
    assert run_here(tmp_path, *CHOSEN).skipped and record(tmp_path)["status"] == "done"  # the same files
    second = hub.commit(1)
    again = run_here(tmp_path, *CHOSEN)
    assert again.skipped and again.run_id == made.run_id
    said = capsys.readouterr().err
    assert "is stale" in said and first[:12] in said and second[:12] in said
    assert record(tmp_path)["status"] == "stale"
    trained = run_here(tmp_path, *CHOSEN, "retry_stale=true")
    assert not trained.skipped and record(tmp_path)["backbone_content"]["commit"] == second


def test_nothing_answers_through_other_weights(hub: FakeHub, tmp_path: Path) -> None:
    first = hub.commit(0)
    run_id = str(run_here(tmp_path, *CHOSEN).run_id)
    hub.commit(1)
    ledger = tmp_path / "runs"
    with pytest.raises(ValueError, match=f"backbone.revision={first}"):
        load_finished(ledger, run_id, cache=str(tmp_path / "cache"))
    started = run_here(tmp_path, *CHOSEN, f"method.init_from={run_id}", "seed=1")
    assert started.exit_code == 2 and first[:12] in str(started.reason)
    mixed = run_here(
        tmp_path, *CHOSEN, "method=attempt", f"method.sources={{one:{run_id}}}", "task=superglue/rte", "seed=1"
    )
    assert mixed.exit_code == 2 and first[:12] in str(mixed.reason)


def test_a_checkpoint_does_not_go_on_with_other_weights(
    hub: FakeHub, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    hub.commit(0)
    steps = ("runner.max_steps=6", "runner.checkpoint_every=2", "runner.eval_every=6")
    with monkeypatch.context() as patch:
        die_at(patch, 4)
        with pytest.raises(Killed):
            run_here(tmp_path, *CHOSEN, *steps)
    hub.commit(1)
    refused = run_here(tmp_path, *CHOSEN, *steps)
    assert refused.status == "refused" and "made on a backbone with sha256" in str(refused.reason)
    hub.commit(0)
    assert run_here(tmp_path, *CHOSEN, *steps).status == "done"


def test_seeds_on_two_contents_are_no_trials_of_each_other(
    hub: FakeHub, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    commits = []
    for seed in (0, 1):
        commits.append(hub.commit(seed))
        assert run_here(tmp_path, *CHOSEN, f"seed={seed}").exit_code == 0
    reading = read_runs(tmp_path / "runs")
    assert len({run.configuration for run in reading.runs}) == 2
    table = build(free(reading.runs, "method", "task", {}), reading, Options(fixtures=True))
    cell = next(iter(table.rows[-1].cells.values()))
    assert cell.text == "ambiguous" and all(commit in cell.footnotes[-1] for commit in commits)


def test_a_sweep_says_what_moved_and_marks_it(hub: FakeHub, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    hub.commit(0)
    chosen = overrides(tmp_path, *CHOSEN, "seed=0,1", "-m")
    assert run.main(chosen) == 0
    hub.commit(1)
    capsys.readouterr()
    assert run.main([*chosen, "plan=true"]) == 0 and "2 stale" in capsys.readouterr().out
    assert run.main(chosen) == 0 and "2 finished runs are stale" in capsys.readouterr().err
    assert [row["status"] for row in Ledger(tmp_path / "runs").records()] == ["stale", "stale"]
