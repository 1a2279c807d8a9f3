"""`python -m results.ledger`: what is in a ledger, whether it is whole, and old runs under their new names.

    python -m results.ledger list [method=pt task=glue/rte status=failed …]
    python -m results.ledger show RUN
    python -m results.ledger verify [RUN]
    python -m results.ledger adopt [from=OTHER_LEDGER]

Each takes ledger.root=DIR (default: results/runs) or paper=NAME (the runs committed for a paper, results/NAME/).
`verify` holds hashes, lengths, names and checkpoints against the records; exit code 1 where something is wrong.
`adopt` takes finished runs whose ids did not count defaults over under the ids that they have now (with `from`, out of
another ledger, which is left as it is). Other people's predictions: python -m results.adopt.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path

import yaml

from results.command_line import command
from results.identity import named_by_configuration
from results.ledger import Ledger, RunFolder, default_root, root_of
from results.records import Run, made, matches, read_runs
from results.renamed import Unknown, take_over
from results.verify import check, summary, verify

PLACES = ("ledger.root", "paper", "from")


class Refused(ValueError):
    """The arguments are wrong, or there is nothing there."""


@command
def main(arguments: Sequence[str]) -> int:
    """0 all is well, 1 something is wrong with a run, 2 refused."""
    names = [word for word in arguments if "=" not in word]
    given = dict(word.split("=", 1) for word in arguments if "=" in word)
    commands = {"list": _list, "show": _show, "verify": _verify, "adopt": _adopt}
    if not names or names[0] not in commands:
        print(__doc__, file=sys.stderr)
        return 2
    try:
        return commands[names[0]](names[1:], given)
    except Refused as error:
        print(error, file=sys.stderr)
        return 2


def _place(given: dict[str, str]) -> tuple[Ledger, bool]:
    """The ledger that is meant, and whether its runs keep their weights."""
    if "paper" in given:
        from results.archive import archive_of, unpacked

        path = archive_of(given["paper"])
        if not path.exists():
            raise Refused(f"paper={given['paper']}: {path} is not there; only a published benchmark has committed runs")
        return Ledger(unpacked(path)), False
    return Ledger(root_of(given.get("ledger.root"))), True


def _one(ledger: Ledger, names: Sequence[str]) -> RunFolder:
    if len(names) != 1:
        raise Refused("give the beginning of one run's id")
    try:
        return ledger.find(names[0])
    except KeyError as error:
        raise Refused(error.args[0]) from None


def _list(names: Sequence[str], given: dict[str, str]) -> int:
    ledger, _ = _place(given)
    wanted = {key: yaml.safe_load(value) for key, value in given.items() if key not in PLACES}
    reading = read_runs(ledger.root)
    shown = [line_of(run) for run in reading.runs if matches(run, wanted)]
    print(
        "\n".join(shown) or _none_of(len(reading.runs), ledger),
        file=None if shown else sys.stderr,
    )
    for problem in reading.problems:
        print(problem, file=sys.stderr)
    return 1 if reading.problems else 0


def _none_of(count: int, ledger: Ledger) -> str:
    if not count:
        return f"no runs in {ledger.root} yet; make demo trains some"
    return f"{count} runs in {ledger.root}, none passes"


def line_of(run: Run) -> str:
    """One run in one line."""
    score = run.score()
    shown = f"{run.primary_metric}={score:.4f}" if score is not None else ""
    names = " ".join(str(run.get(key)) for key in ("method", "task", "backbone", "protocol"))
    return f"{run.id} {run.status:11} {names} seed {run.get('seed')} {shown}".rstrip()


def _show(names: Sequence[str], given: dict[str, str]) -> int:
    ledger, whole = _place(given)
    run = _one(ledger, names)
    found = check(run, whole)
    try:
        record = run.record()
    except ValueError as error:
        raise Refused(str(error)) from None
    if record is None:
        raise Refused(f"{run.folder}: no record.json")
    print(line_of(Run(record, run.folder)))
    print(made(record) + (f", then run {record['formerly']}" if record.get("formerly") else ""))
    for key in ("reason", "stale"):
        if record.get(key):
            print(f"{key}: {record[key]}")
    shown = {key: record.get(key) for key in ("metrics", "identity", "files", "verdicts") if record.get(key)}
    print(yaml.safe_dump({**shown, "config": record.get("config")}, sort_keys=False, allow_unicode=True), end="")
    problems = found.problems if found else []
    print("\n".join(problems), file=sys.stderr) if problems else None
    return 1 if problems else 0


def _verify(names: Sequence[str], given: dict[str, str]) -> int:
    ledger, whole = _place(given)
    if names:
        one = check(_one(ledger, names), whole)
        verdicts = [one] if one else []
    else:
        verdicts = verify(ledger, whole)
    for verdict in verdicts:
        for problem in verdict.problems:
            print(problem)
        if verdict.unknown and not verdict.problems:
            print(f"{verdict.run_id}: of before ids counted every value; python -m results.ledger adopt")
    print(summary(verdicts))
    return 1 if any(verdict.problems or verdict.unknown for verdict in verdicts) else 0


def _adopt(names: Sequence[str], given: dict[str, str]) -> int:
    if "paper" in given:
        return _adopt_archive(given["paper"])
    ledger = Ledger(Path(given.get("ledger.root") or default_root()).expanduser())
    source = Ledger(root_of(given["from"], "from")) if "from" in given else ledger
    ledger.root.mkdir(parents=True, exist_ok=True)
    taken, left = 0, 0
    for run in [source.run(folder.name) for folder in source.folders()]:
        try:
            record = run.record()
            if record is None or "identity" in record or not named_by_configuration(record):
                continue  # no run, or one that has its name
            name = take_over(run, ledger, keep=source.root != ledger.root)
        except (Unknown, ValueError) as error:
            print(f"{run.id} keeps its name: {error}")
            left += 1
            continue
        print(f"{run.id} -> {name}")
        taken += 1
    print(f"{taken} taken over, {left} left")
    return 0


def _adopt_archive(paper: str) -> int:
    """Rename the runs of a committed archive, and write it again."""
    import tempfile

    from results.archive import archive_of, pack, unpacked

    path = archive_of(paper)
    if not path.exists():
        raise Refused(f"paper={paper}: {path} is not there")
    with tempfile.TemporaryDirectory() as scratch:
        ledger = Ledger(scratch)
        for folder in Ledger(unpacked(path)).folders():
            run = RunFolder(folder)
            if "identity" in (run.record() or {}):
                raise Refused(f"{path}: run {run.id} has its new name already")
            take_over(run, ledger, keep=True)
        runs = read_runs(ledger.root).runs
        size = pack(runs, path)
    print(f"{path}: {len(runs)} runs, {size:,} bytes; now: python -m results.publish paper={paper} texts=only")
    return 0
