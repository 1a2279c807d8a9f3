"""One run from its configuration to its record: name it, skip it if it is done, train it, score it, write it down."""

from __future__ import annotations

import sys
from contextlib import ExitStack
from typing import Any

from conf.compose import name_run, typed
from conf.paths import ledger_of
from conf.plan import processes
from conf.resolve import ConfigError
from conf.schema import Config
from results.ledger import Held, RunFolder, Unwritable
from results.records import made
from results.verify import checkpoint_head
from runners.fresh import refreshed
from runners.outcome import Outcome, outcome_of


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
    # several processes would each ask at another instant: there the main one decides for all (in _start)
    if processes()[1] == 1:
        found = _already(config, run, sweep)
        if found is not None:
            return found
    return _start(config, resolved, run, source, revision, sweep)


def _already(config: Config, run: RunFolder, sweep: bool) -> Outcome | None:
    """The outcome of a run that need not or cannot be trained, or None."""
    if config.force:
        return None
    try:
        known = run.record()
    except (ValueError, OSError) as error:
        if checkpoint_head(run / "checkpoint.pt", run.id)[1] is None:
            return None  # written anew: the checkpoint is whole
        advice = "move that folder away, or train the run again with force=true"
        return Outcome("refused", run.id, reason=f"{error}\n{advice}")
    if known is None:
        return None
    if known["status"] == "done":
        known = refreshed(config, run, known)
    if known["status"] == "stale":
        if config.retry_stale:
            return None
        print(f"run {run.id} is stale ({known['stale']}); retry_stale=true trains it again", file=sys.stderr)
    if known["status"] in ("done", "stale"):
        said = f"from the ledger, {made(known)}; force=true trains again"
        return outcome_of(known | {"status": "done"}, skipped=True, found=said)
    if known["status"] == "failed" and sweep and not config.retry_failed:
        return outcome_of(known, skipped=True)
    return None


def _start(
    config: Config, resolved: dict[str, Any], run: RunFolder, source: str, revision: str, sweep: bool
) -> Outcome:
    """Check what needs torch, then hold the run and execute it."""
    from runners.problems import problems_of

    problems = problems_of(config)
    if problems:
        return Outcome("refused", run.id, reason="\n".join(problems))
    from runners.execute import Execution
    from runners.workers import Workers, reset

    reset()
    workers = Workers(config.runner)
    with ExitStack() as held:  # the main process holds the run for all of them
        found = workers.from_main(claim(config, run, sweep, held) if workers.main else None)
        if found is not None:
            return found
        place = workers.from_main(place_of(config, run).folder if workers.main else run.folder)
        return Execution(config, resolved, RunFolder(place, run.id), workers, source, revision).run_through()


def claim(config: Config, run: RunFolder, sweep: bool, held: ExitStack) -> Outcome | None:
    """Hold the run until `held` closes; an outcome if it is not to start."""
    found = _already(config, run, sweep)
    if found is not None:  # nothing need be written for what is there
        return found
    try:
        held.enter_context(run.hold())
    except Held as error:
        return Outcome("held", run.id, reason=str(error))
    except Unwritable as error:
        return Outcome("refused", run.id, reason=str(error))
    found = _already(config, run, sweep)  # another process may have finished it while we loaded
    if found is not None:
        return found
    return None


def place_of(config: Config, run: RunFolder) -> RunFolder:
    """Where a run that is held is made: beside a finished one, which stays until the new one is done.

    A checkpoint is thrown away by force=true alone (and by a loss that is not finite), unless it is of this forced
    start, stopped before: the same command goes on.
    """
    from runners import checkpoint

    if (run / "record.json").exists() and _status(run) is None:
        print(f"{run / 'record.json'}: damaged, so it is written anew", file=sys.stderr)
    place = run.again() if _status(run) in ("done", "stale") else run
    if config.force and (_status(place) == "failed" or not checkpoint.is_of_a_forced_start(place)):
        checkpoint.throw_away(place)
    return place


def _status(run: RunFolder) -> str | None:
    """The status of a record; a damaged one has none."""
    try:
        return str((run.record() or {}).get("status"))
    except (ValueError, OSError):
        return None
