"""wandb is a mirror: offline it gets the run's id and values, broken it stops nothing."""

from __future__ import annotations

import sys
import time
import types
from importlib.machinery import ModuleSpec
from pathlib import Path
from typing import Any

import pytest

from conf.schema import TrackingConfig
from runners.progress import bar
from runners.tracking import NoTracker, WandbTracker, tracker
from tests.running import folder, record, run_here


class Recorded:
    """Stands for wandb: notes what it is told."""

    def __init__(self, broken: bool = False, slow: float = 0.0) -> None:
        self.calls: list[tuple[str, Any]] = []
        self.broken, self.slow, self.summary = broken, slow, {}
        self.url, self.dir = None, "where/it/writes"

    def init(self, **options: Any) -> Recorded:
        self.calls.append(("init", options))
        if self.broken:
            raise ConnectionError("no wandb today")
        return self

    def log(self, values: dict[str, Any], step: int) -> None:
        time.sleep(self.slow)
        self.calls.append(("log", (step, values)))

    def finish(self) -> None:
        self.calls.append(("finish", dict(self.summary)))


def stand_in(monkeypatch: pytest.MonkeyPatch, recorded: Recorded) -> None:
    module = types.ModuleType("wandb")
    module.__spec__ = ModuleSpec("wandb", None)  # what accelerate asks for
    module.init = recorded.init  # type: ignore[attr-defined]
    module.Settings = dict  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "wandb", module)


def test_a_run_is_mirrored_under_its_id(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    recorded = Recorded()
    stand_in(monkeypatch, recorded)
    monkeypatch.setenv("WANDB_DIR", str(tmp_path / "elsewhere"))
    outcome = run_here(tmp_path, "tracking=wandb")
    assert outcome.status == "done"
    kind, options = recorded.calls[0]
    assert options["dir"] == str(tmp_path / "elsewhere")
    assert "wandb (offline): where/it/writes" in capsys.readouterr().err
    assert kind == "init" and options["id"] == outcome.run_id and options["mode"] == "offline"
    logged = {step: values for name, (step, values) in recorded.calls[1:-1] if name == "log"}
    assert "validation/accuracy" in logged[2]
    assert recorded.calls[-1] == ("finish", {"selected_step": record(tmp_path)["selected_step"], "best": pytest.approx(
        record(tmp_path)["metrics"]["validation"]["accuracy"])})  # fmt: skip


@pytest.mark.parametrize("broken", [True, False])
def test_a_broken_or_missing_wandb_stops_no_run(
    broken: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    if broken:
        stand_in(monkeypatch, Recorded(broken=True))
    else:
        import accelerate  # noqa: F401 - it looks for wandb when it is imported

        monkeypatch.setitem(sys.modules, "wandb", None)  # importing it fails
    assert run_here(tmp_path, "tracking=wandb").status == "done"
    assert "wandb stopped mirroring" in "".join(capsys.readouterr())
    assert (folder(tmp_path) / "metrics.jsonl").exists()


def test_a_slow_wandb_does_not_slow_logging(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    recorded = Recorded(slow=0.05)
    stand_in(monkeypatch, recorded)
    mirror = WandbTracker("id", {}, "offline", "project", tmp_path)
    begun = time.monotonic()
    for step in range(20):
        mirror.log({"loss": 1.0}, step)
    assert time.monotonic() - begun < 0.5
    mirror.finish({})
    assert recorded.calls[-1][0] == "finish"


def test_only_the_main_process_mirrors(tmp_path: Path) -> None:
    wanted = TrackingConfig(name="wandb")
    assert isinstance(tracker(wanted, "id", {}, tmp_path, main=False), NoTracker)
    assert isinstance(tracker(TrackingConfig(), "id", {}, tmp_path, main=True), NoTracker)


@pytest.mark.slow
def test_real_wandb_offline_writes_a_folder_of_its_own(tmp_path: Path) -> None:
    pytest.importorskip("wandb")
    assert run_here(tmp_path, "tracking=wandb").status == "done"
    assert list((tmp_path / "cache").rglob(f"*{folder(tmp_path).name}*.wandb"))
    assert not Path("wandb").exists()


def test_a_log_has_a_line_every_half_minute_and_a_short_loop_none(
    capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    now = [0.0]
    monkeypatch.setattr("runners.progress.time.monotonic", lambda: now[0])
    with bar("training", 100) as shown, bar("training", 100, main=False) as silent:
        for _ in range(70):
            now[0] += 1.0
            shown.set_postfix({"loss": "0.5"})
            shown.update()
            silent.update()
    lines = capfd.readouterr().err.splitlines()
    assert lines == [
        "training: step 30 of 100, loss 0.5, 01:10 left",
        "training: step 60 of 100, loss 0.5, 00:40 left",
    ]
    with bar("short", 3) as shown:
        shown.update(3)
    assert capfd.readouterr() == ("", "")
