"""One run from its configuration to its record: name it, skip it if it is done, train it, score it, write it down."""

from __future__ import annotations

import traceback
from dataclasses import dataclass
from typing import Any

from conf.compose import name_run, typed
from conf.paths import ledger_of
from conf.resolve import ConfigError
from conf.schema import Config
from results.ledger import Held, Run, Unwritable

EXIT = {"done": 0, "failed": 1, "refused": 2, "held": 3, "stopped": 75, "interrupted": 130}


@dataclass
class Outcome:
    """How a run ended, and the line that says so.

    Attributes:
        status: done | failed | refused | held | stopped | interrupted.
        skipped: it was in the ledger already.
    """

    status: str
    run_id: str | None = None
    metric: str | None = None
    value: float | None = None
    reason: str | None = None
    skipped: bool = False

    @property
    def exit_code(self) -> int:
        return EXIT[self.status]

    @property
    def line(self) -> str:
        """The last line of run.py."""
        if self.run_id is None:
            return self.reason or self.status
        score = f" {self.metric}={self.value:.4f}" if self.metric and self.value is not None else ""
        return f"run {self.run_id} {self.status}{score}"


def run_point(resolved: dict[str, Any], *, sweep: bool = False) -> Outcome:
    """Run one resolved configuration, or find it done in the ledger. Never raises for a run's own failure.

    Args:
        resolved: from conf.compose.compose.
        sweep: one point of several: a failed run is tried again only with `retry_failed=true` (a single command is
            asked for by name, so it always is).
    """
    try:
        config = typed(resolved)
        run_id, source, revision = name_run(resolved, config)
    except ConfigError as error:
        return Outcome("refused", reason="\n".join(error.problems))
    except ValueError as error:  # data that cannot be had or read
        return Outcome("refused", reason=str(error))
    run = ledger_of(config).run(run_id)
    try:
        known = run.record()
    except ValueError as error:
        return Outcome(
            "refused", run_id, reason=f"{error}\nmove that folder away, or train the run again with force=true"
        )
    found = _already(config, run, known, sweep)
    if found is not None:
        return found
    try:
        return _start(config, resolved, run, known, source, revision)
    except Held as error:
        return Outcome("held", run_id, reason=str(error))
    except Unwritable as error:
        return Outcome("refused", run_id, reason=str(error))


def outcome_of(record: dict[str, Any], **more: Any) -> Outcome:
    """The outcome that a record tells."""
    metric, split = record.get("primary_metric"), record.get("primary_split")
    value = ((record.get("metrics") or {}).get(split) or {}).get(metric)
    return Outcome(record["status"], record["run_id"], metric, value, record.get("reason"), **more)


def _already(config: Config, run: Run, known: dict[str, Any] | None, sweep: bool) -> Outcome | None:
    """The outcome of a run that need not be trained, or None."""
    if known is None or config.force:
        return None
    if known["status"] == "done":
        return outcome_of(known, skipped=True)
    if known["status"] == "failed" and sweep and not config.retry_failed:
        return outcome_of(known, skipped=True)
    return None


def _start(
    config: Config, resolved: dict[str, Any], run: Run, known: dict[str, Any] | None, source: str, revision: str
) -> Outcome:
    """Check what needs torch, then hold the run and execute it."""
    from runners.assemble import problems_of

    problems = problems_of(config)
    if problems:
        return Outcome("refused", run.id, reason="\n".join(problems))
    from runners.execute import Execution
    from runners.workers import Workers, reset

    reset()
    workers = Workers(config.runner)
    if not workers.main:  # the main process holds the run for all of them
        return Execution(config, resolved, run, workers, source, revision).guarded()
    with run.hold():
        known = run.record()
        if known and known["status"] == "done" and not (config.force or config.retry_stale) and workers.count == 1:
            return outcome_of(known, skipped=True)  # another process finished it while we waited
        if config.force or config.retry_stale or (known and known["status"] == "failed"):
            for name in ("checkpoint.pt", "metrics.jsonl", "record.json"):
                (run / name).unlink(missing_ok=True)
        return Execution(config, resolved, run, workers, source, revision).guarded()


def describe(error: BaseException) -> str:
    """A failure as a reason for the record: what, in one line, and where."""
    last = traceback.extract_tb(error.__traceback__)[-1] if error.__traceback__ else None
    where = f" ({last.filename.rsplit('/', 1)[-1]}:{last.lineno})" if last else ""
    text = str(error).strip() or type(error).__name__
    return f"{type(error).__name__}: {text}{where}"

