"""`python run.py method=dept task=superglue/boolq`: one run of the bench, or with -m a sweep of them.

Overrides are checked before anything starts (all problems at once); a run that the ledger already has is not trained
again; the last line is always `run <id> <status> <metric>=<value>`. Exit codes: 0 done, 1 failed, 2 refused, 3 held by
another process, 75 stopped by SIGTERM with a checkpoint, 130 Ctrl-C.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from pathlib import Path

ROOT = Path(__file__).resolve().parent
sys.path.insert(0, str(ROOT))
os.environ.setdefault("TOKENIZERS_PARALLELISM", "true")
os.environ.setdefault("TRANSFORMERS_VERBOSITY", "error")
MEASURED = "experiment=dept/efficiency"  # a table of step times and memory: nothing is trained, no run is recorded
if not sys.stderr.isatty():  # no bars, ours or a library's, in logs
    os.environ.setdefault("TQDM_DISABLE", "1")


def main(arguments: Sequence[str]) -> int:
    """Run what the command line asks for; returns the exit code."""
    from conf.check import unknown_flags
    from conf.compose import ConfigError, compose

    if MEASURED in arguments:
        from scripts import efficiency

        return efficiency.main([f"--{a.lstrip('-')}" for a in arguments if a != MEASURED])
    unknown = unknown_flags(arguments)
    if unknown:
        return _refuse(unknown)
    flags = [a for a in arguments if a.startswith("-")]
    overrides = [a for a in arguments if not a.startswith("-")]
    if any(
        flag in ("--help", "-h", "--hydra-help", "--info", "--version", "--shell-completion", "-sc") for flag in flags
    ):
        return _hydra(arguments)
    if flags and flags[0] in ("--cfg", "-c"):
        return _show(arguments)
    from conf.plan import is_sweep, launcher_of

    if any(flag in ("-m", "--multirun") for flag in flags) or "plan=true" in overrides or is_sweep(overrides):
        from runners.sweep import main as sweep

        return sweep(overrides)
    if launcher_of(overrides) != "basic":
        return _refuse([f"hydra/launcher={launcher_of(overrides)}: one run needs no launcher; add -m for a sweep"])
    try:
        resolved = compose(overrides)
    except ConfigError as error:
        return _refuse(error.problems)
    from runners.job import run_point

    outcome = run_point(resolved)
    if _speaks():
        if outcome.reason and outcome.status != "done":
            print(outcome.reason, file=sys.stderr)
        for warning in outcome.warnings:
            print(f"note: {warning}")
        if outcome.run_id is not None:
            print(outcome.line, flush=True)
    return outcome.exit_code


def _speaks() -> bool:
    """Of the processes of a distributed run only the main one prints."""
    return os.environ.get("RANK", "0") == "0"


def _show(arguments: Sequence[str]) -> int:
    """`--cfg job`: every value of the run, resolved, with the id it has."""
    import yaml

    from conf.compose import ConfigError, compose, name_run, typed

    if "hydra" in arguments or "all" in arguments:
        return _hydra(arguments)
    overrides = [a for a in arguments if not a.startswith("-") and a not in ("job",)]
    try:
        resolved = compose(overrides)
        run_id, source, revision = name_run(resolved, typed(resolved))
    except ConfigError as error:
        return _refuse(error.problems)
    except ValueError as error:  # data that cannot be had or read
        return _refuse([str(error)])
    print(yaml.safe_dump(resolved, sort_keys=False, allow_unicode=True), end="")
    print(f"# run {run_id}, data: {source} {revision}")
    return 0


def _hydra(arguments: Sequence[str]) -> int:
    """What Hydra itself answers: --help, --info, completion."""
    import hydra

    sys.argv = [sys.argv[0], *arguments]
    hydra.main(version_base="1.3", config_path="conf", config_name="config")(lambda config: None)()
    return 0


def _refuse(problems: Sequence[str]) -> int:
    if _speaks():
        print("nothing was started:", file=sys.stderr)
        for problem in problems:
            print(f"  - {problem}", file=sys.stderr)
    return 2


if __name__ == "__main__":
    try:
        sys.exit(main(sys.argv[1:]))
    except KeyboardInterrupt:
        sys.exit(130)
