"""The record of a run while it is made: how it begins, is written, and ends, well or not."""

from __future__ import annotations

import os
import socket
import time
from typing import Any

from conf.schema import Config
from results.controls import named
from results.files import replacing
from results.identity import contents, id_of
from results.ledger import RunFolder
from results.verify import hashes
from runners import checkpoint
from runners.checkpoint import CorruptCheckpoint
from runners.errors import Refused, memory_is_full, out_of_memory
from runners.measures import versions
from runners.outcome import Outcome, describe, outcome_of
from runners.progress import say
from runners.session import NotFinite
from runners.stopping import Stopped
from runners.verdicts import verdict
from runners.workers import Workers
from tasks.config import metric_of
from tasks.errors import DataError


class RunRecord(dict[str, Any]):
    """What record.json will hold. Every process has one; the main one writes it."""

    def __init__(
        self, config: Config, resolved: dict[str, Any], run: RunFolder, workers: Workers, source: str, revision: str
    ) -> None:
        self.resolved, self.run, self.workers = resolved, run, workers
        self._begun = time.monotonic()
        self._before: bytes | None = None
        task, protocol = config.task, config.protocol
        super().__init__(
            {
                "run_id": run.id,
                "status": "running",
                "reason": None,
                "method": named(config.method, config.control),
                "task": task.name,
                "backbone": config.backbone.label,
                "protocol": protocol.name,
                "seed": config.seed,
                "fidelity": config.fidelity,
                "experiment": config.experiment,
                "config": resolved,
                "data": {"source": source, "revision": revision},
                # with the configuration, what the id is made of
                "identity": {"data": revision, "contents": contents(resolved)},
                "primary_metric": metric_of(task, protocol, "report"),
                "primary_split": protocol.report_split,
                "selection": {"split": protocol.select_split, "metric": metric_of(task, protocol, "select")},
                "metrics": {},
                "untrained_metrics": {},
                "verdicts": [],
                "versions": versions(),
                "process": os.getpid(),
                "host": socket.gethostname(),
                "processes": workers.count,
                "started": time.time(),
            }
        )

    def begin(self) -> None:
        """What was named is what runs, or nothing does; from here on the record says that it is running.

        Raises:
            Refused: a file that counts has changed since.
        """
        self.as_named()
        counted = self["identity"]
        if counted["contents"].get("source"):
            names = sorted(counted["contents"]["source"])
            more = f" and {len(names) - 4} more files" if len(names) > 4 else ""
            say(f"not as shipped, so its text counts in the run's id: {', '.join(names[:4])}{more}", self.workers.main)
        path = self.run / "record.json"
        self._before = path.read_bytes() if self.workers.main and path.exists() else None
        self.workers.jointly(self.write)

    def as_named(self, revision: str | None = None) -> None:
        """Hold what lies behind the configuration against the run's name: when it begins, and once all was read.

        Args:
            revision: of the data that were read.

        Raises:
            Refused: a file that counts, or the data, have changed since.
        """
        counted = self["identity"]
        named = id_of(self.resolved, counted["data"], counted["contents"]) == self.run.id
        if not named or contents(self.resolved) != counted["contents"]:
            raise Refused(f"a file that counts in the id {self.run.id} has changed since it was named; start again")
        if revision is not None and revision != counted["data"]:
            raise Refused(
                f"the data have changed since run {self.run.id} was named ({counted['data']} then, {revision} now); "
                "start again"
            )

    def write(self) -> None:
        """As it stands."""
        if self.workers.main:
            self.run.write_config(self.resolved)
            self.run.write_record(self)

    def finished(self) -> Outcome:
        """Write the record of a run that is done."""
        self["status"] = "done"
        self.setdefault("wall_seconds", time.monotonic() - self._begun)
        self.workers.jointly(self._end)
        return outcome_of(self)

    def _end(self) -> None:
        if not self.workers.main:
            return
        self["files"] = hashes(self.run.folder)
        self.write()
        for name in (checkpoint.NAME, checkpoint.BEFORE):
            (self.run / name).unlink(missing_ok=True)
        if self.run.folder.name == "again":  # the finished run was kept until now
            RunFolder(self.run.folder.parent).exchange()

    def ended_by(self, error: BaseException) -> Outcome:
        """The outcome of a run that did not get to its end; a failure is written down with its reason."""
        if isinstance(error, Stopped):
            return Outcome("stopped", self.run.id, reason=str(error))
        if isinstance(error, KeyboardInterrupt):
            reason = "interrupted; the same command goes on from its checkpoint"
            return Outcome("interrupted", self.run.id, reason=reason)
        if isinstance(error, CorruptCheckpoint):
            self._put_back()
            return Outcome("refused", self.run.id, reason=str(error))
        if isinstance(error, DataError | Refused):
            return self.fail("refused", str(error))
        if isinstance(error, NotFinite):
            self["verdicts"].append(verdict("loss_not_finite", "warning", str(error)))
            if self.workers.main:
                checkpoint.throw_away(self.run)
            return self.fail("failed", str(error))
        if memory_is_full(error):
            return self.fail("failed", out_of_memory(error))
        if os.environ.get("SOFT_PROMPT_BENCH_TRACEBACK"):
            raise error
        return self.fail("failed", describe(error))

    def fail(self, status: str, reason: str) -> Outcome:
        """Write down why a run failed; the outcome has `status`: failed or refused."""
        self.update(status="failed", reason=reason)
        try:
            self.write()
        except OSError as error:
            say(f"the record cannot be written ({error}); {self.run.folder} is as it was", self.workers.main)
        return Outcome(status, self.run.id, reason=reason)

    def _put_back(self) -> None:
        """Leave the record as it was: nothing was begun."""
        if self.workers.main and self._before is not None:
            with replacing(self.run / "record.json") as temporary:
                temporary.write_bytes(self._before)
