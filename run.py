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

from results.command_line import command  # noqa: E402

os.environ.setdefault("TOKENIZERS_PARALLELISM", "true")
os.environ.setdefault("TRANSFORMERS_VERBOSITY", "error")
if not sys.stderr.isatty():  # no bars, ours or a library's, in logs
    os.environ.setdefault("TQDM_DISABLE", "1")

HELP = """One run of the bench: a method on a task with a backbone.

  python run.py method=dept task=superglue/boolq
  python run.py method=adept task=glue/rte backbone=t5_base protocol=dept runner=paper data=local data.root=DIR
  python run.py -m method=pt,dept method.lr.prompt=0.1,0.3 seed=1,2,3 task=superglue/cb
  python run.py method=dept --cfg job        show every value of a run, resolved
  python run.py -m ... plan=true             show a sweep's grid and what the ledger lacks
  python run.py --config-dir DIR ...         with methods, tasks, backbones, experiments of yours (docs/own_folders.md)

Choices (group=option):

{choices}

Values read as a paper would say them: method.prompt_length, method.rank, method.lr.prompt, method.lr.offset,
runner.max_steps, runner.batch_size (global), runner.eval_every, seed.
"""


@command
def main(arguments: Sequence[str]) -> int:
    """Run what the command line asks for; returns the exit code."""
    from conf.command import read

    command = read(arguments)
    if command.problems:
        return _refuse(command.problems)
    if command.what == "help":
        return _help()
    if command.what == "hydra":
        return _hydra(arguments)
    if command.what == "job":
        return _show(command.overrides)
    from conf.plan import is_sweep, launcher_of

    if command.what == "sweep" or is_sweep(command.overrides):
        from runners.sweep import main as sweep

        return sweep(command.overrides)
    launcher = launcher_of(command.overrides)
    if launcher != "basic":
        return _refuse([f"hydra/launcher={launcher}: one run needs no launcher; add -m for a sweep"])
    return _run(command.overrides)


def _run(overrides: Sequence[str]) -> int:
    """One run, from its overrides to its last line."""
    from conf.compose import compose
    from conf.resolve import ConfigError

    try:
        resolved = compose(overrides)
    except ConfigError as error:
        return _refuse(error.problems)
    from runners.job import run_point

    outcome = run_point(resolved)
    if _speaks():
        if outcome.reason and outcome.status != "done":
            print(outcome.reason, file=sys.stderr)
        if outcome.found:
            print(outcome.found)
        for warning in outcome.warnings:
            print(f"note: {warning}")
        if outcome.run_id is not None:
            print(outcome.line, flush=True)
    return outcome.exit_code


def _speaks() -> bool:
    """Of the processes of a distributed run only the main one prints."""
    return os.environ.get("RANK", "0") == "0"


def _show(overrides: Sequence[str]) -> int:
    """`--cfg job`: every value of the run, resolved, with the id it has."""
    import yaml

    from conf.compose import compose, name_run, typed
    from conf.resolve import ConfigError

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


def _help() -> int:
    import textwrap

    from conf.choices import groups

    choices = [
        textwrap.fill(", ".join(options), 118, initial_indent=f"{group}: ", subsequent_indent="    ")
        for group, options in groups().items()
    ]
    print(HELP.format(choices="\n".join(choices)), end="")
    return 0


def _hydra(arguments: Sequence[str]) -> int:
    """What Hydra itself answers: --hydra-help, --info, --cfg hydra, completion."""
    import hydra

    from conf.choices import search_path

    sys.argv = [sys.argv[0], *arguments, *search_path()]
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
