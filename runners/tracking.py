"""wandb as a mirror: it gets the run id, the config and the metrics, and can neither stop nor slow a run.

Nothing is ever read back from it; the ledger is the store. This is the only file that imports wandb.
"""

from __future__ import annotations

import os
import queue
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any, Protocol


class Tracker(Protocol):
    def log(self, values: dict[str, Any], step: int) -> None: ...

    def finish(self, summary: dict[str, Any]) -> None: ...


class NoTracker:
    def log(self, values: dict[str, Any], step: int) -> None:
        return

    def finish(self, summary: dict[str, Any]) -> None:
        return


class WandbTracker:
    """Mirrors from a thread of its own: a slow or broken wandb leaves the run alone (one note is printed).

    An experiment or a named sweep is a group. Files go where WANDB_DIR says, else into `folder`.
    """

    def __init__(self, run_id: str, config: dict[str, Any], mode: str, project: str, folder: Path) -> None:
        self._tasks: queue.Queue[Callable[[], None] | None] = queue.Queue(maxsize=10_000)
        self._run: Any = None
        self._broken = False
        self._thread = threading.Thread(target=self._work, daemon=True)
        self._thread.start()
        self._put(lambda: self._start(run_id, config, mode, project, folder))

    def log(self, values: dict[str, Any], step: int) -> None:
        self._put(lambda: self._run.log(values, step=step))

    def finish(self, summary: dict[str, Any]) -> None:
        def end() -> None:
            self._run.summary.update(summary)
            self._run.finish()

        self._put(end)
        self._tasks.put(None)
        self._thread.join(timeout=30)

    def _put(self, task: Callable[[], None]) -> None:
        try:
            self._tasks.put_nowait(task)
        except queue.Full:
            self._broken = True

    def _start(self, run_id: str, config: dict[str, Any], mode: str, project: str, folder: Path) -> None:
        os.environ.setdefault("WANDB_SILENT", "true")
        import wandb

        folder = Path(os.environ.get("WANDB_DIR") or folder)
        folder.mkdir(parents=True, exist_ok=True)
        self._run = wandb.init(
            id=run_id,
            name=run_id,
            project=project,
            group=config.get("experiment") or (config.get("sweep") or {}).get("name"),
            config=config,
            mode=mode if mode in ("online", "offline", "disabled") else "offline",  # type: ignore[arg-type]
            dir=str(folder),
            settings=wandb.Settings(console="off", silent=True),  # a run's own output stays its own
            resume="allow" if mode == "online" else None,
        )
        print(f"wandb ({mode}): {self._run.url or self._run.dir}", file=sys.stderr)

    def _work(self) -> None:
        while (task := self._tasks.get()) is not None:
            if self._broken:
                continue
            try:
                task()
            except Exception as error:  # a mirror may not stop a run, whatever it raises
                self._broken = True
                print(
                    f"note: wandb stopped mirroring ({type(error).__name__}: {error}); the run and its ledger go on",
                    file=sys.stderr,
                )


def tracker(tracking: Any, run_id: str, config: dict[str, Any], folder: Path, main: bool) -> Tracker:
    """The tracker that `tracking=` asks for; silent on every process but the main one."""
    if tracking.name != "wandb" or not main:
        return NoTracker()
    return WandbTracker(run_id, config, tracking.mode, tracking.project, folder)
