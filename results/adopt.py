"""`python -m results.adopt`: other people's predictions as a row of the tables, so that a paired test with ours works.

    python -m results.adopt FILE.jsonl like=RUN method="DePT" source="authors' code, commit 1a2b3c"
    python -m results.adopt FILE.jsonl like=RUN method=PT source=harness data.root=DIR seed=42 parameters=76800

FILE.jsonl has a line per example: {"id": ..., "gold": ..., "prediction": ...}, and "input" (the text that was read)
where ids are not ours. `like` is a finished run of this ledger (the beginning of its id is enough) on the task, the
protocol and the examples that these predictions are on. Every line has to be one of its examples, each once and all of
them, with the same gold; labels may come as names, as words of any style or as numbers. With "input" and data.root (the
folder with <suite>/<task>/<split>.jsonl) examples are matched by what the input contains; without, by id, if the gold
answers alone tell that the order is right. Whatever does not match is refused and nothing is written.
The row is marked as theirs: training, budget and selection are not known here.
"""

from __future__ import annotations

import hashlib
import json
import math
import sys
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from results.adopted import Refused, coding_of, match_by_content, match_by_id
from results.command_line import command, place
from results.controls import THEIRS
from results.ledger import Held, Ledger, Unwritable, root_of
from results.records import Run
from results.tables.evidence import label_words
from tasks.errors import DataError
from tasks.metrics import sums_of
from tasks.reading import read_text

KEYS = ("like", "method", "source", "seed", "parameters", "data.root", "ledger.root")
NEEDED = ("like", "method", "source")


@command
def main(arguments: Sequence[str] | None = None) -> int:
    """0 adopted (or already there), 2 refused; nothing is written then."""
    arguments = sys.argv[1:] if arguments is None else arguments
    if not arguments or any(word in ("-h", "--help", "help") for word in arguments):
        print(__doc__)
        return 0 if arguments else 2
    files = [word for word in arguments if "=" not in word]
    given = dict(word.partition("=")[::2] for word in arguments if "=" in word)
    try:
        _check(files, given)
        root = root_of(given.get("ledger.root"))
        run_id, said = adopt(place(files[0]), given, Ledger(root))
    except (Refused, Held, Unwritable) as error:
        print(error, file=sys.stderr)
        return 2
    print(f"{said}\nrun {run_id} adopted")
    return 0


def _check(files: Sequence[str], given: Mapping[str, str]) -> None:
    """Refuse arguments that are not what the command takes."""
    unknown = sorted(set(given) - set(KEYS))
    lacking = [key for key in NEEDED if not given.get(key)]
    if len(files) != 1 or unknown or lacking:
        said = [f"one FILE.jsonl is needed, not {len(files)}"] if len(files) != 1 else []
        said += [f"{', '.join(unknown)}: unknown; the keys are {', '.join(KEYS)}"] if unknown else []
        said += [f"{', '.join(lacking)}: missing (python -m results.adopt --help)"] if lacking else []
        raise Refused("; ".join(said))
    for key in ("seed", "parameters"):
        if key in given and not given[key].isdigit():
            raise Refused(f"{key}={given[key]}: must be a whole number")


def adopt(path: Path, given: Mapping[str, str], ledger: Ledger) -> tuple[str, str]:
    """Check a file against a run of the ledger and write it as a run marked as theirs; its id, and a sentence.

    Raises:
        Refused: the file, or a line of it, does not fit; the message says which and how.
    """
    like = _like(given["like"], ledger)
    lines = read(path)
    ours = like.predictions()
    root = given.get("data.root")
    without = sum("input" not in line for line in lines)
    if root and without:
        raise Refused(
            f"data.root={root}: examples are matched by what was read, and {without} of {len(lines)} lines "
            "have no input"
        )
    by_content = bool(root)
    matched = match_by_content(lines, ours, like, root) if root else match_by_id(lines, ours)
    coding = coding_of(like, [(line["gold"], row) for line, row in matched], label_words(like))
    rows = [{**_kept(row), "prediction": coding(line["prediction"])} for line, row in matched]
    metrics = _metrics(rows, like)
    record = _record(given, like, rows, metrics, path)
    _refuse_a_second(record, ledger)
    run = ledger.run(record["run_id"])
    with run.hold():
        run.write_predictions(like.primary_split, rows)
        run.write_config(record["config"])
        run.write_record(record)
    score = metrics[like.primary_metric]
    how = "by their input" if by_content else "by id and gold"
    return record["run_id"], (
        f"{len(rows)} predictions of {given['method']} matched {how} with run {like.id} "
        f"({like.get('task')}, {like.primary_split}): {like.primary_metric} {100 * score:.2f}"
    )


def _refuse_a_second(record: Mapping[str, Any], ledger: Ledger) -> None:
    """Refuse what a table would take for a run that is there: the same method, source and seed, other predictions."""
    for known in ledger.records():
        same = all(known.get(key) == record.get(key) for key in ("method", "task", "protocol", "backbone", "seed"))
        source = (known.get("adopted") or {}).get("source") == record["adopted"]["source"]
        if same and source and known["run_id"] != record["run_id"] and _data_of(known) == _data_of(record):
            seed = "without a seed" if record["seed"] is None else f"with seed {record['seed']}"
            raise Refused(
                f"run {known['run_id']} is {record['method']} of {record['adopted']['source']} {seed} already, with "
                "other predictions; give another seed=N (or method= or source=) and they stand beside each other"
            )


def _data_of(record: Mapping[str, Any]) -> Any:
    return (record.get("data") or {}).get("sha256")


def _like(prefix: str, ledger: Ledger) -> Run:
    """The run that the predictions stand beside."""
    try:
        folder = ledger.find(prefix)
        record = folder.record() or {}
    except (KeyError, ValueError) as error:
        raise Refused(str(error.args[0])) from None
    run = Run(record, folder.folder)
    if not run.done:
        raise Refused(f"like={prefix}: run {folder.id} is {record.get('status')}; it must be done")
    if not run.predictions():
        raise Refused(
            f"like={prefix}: run {run.id} kept no predictions on {run.primary_split}, so nothing can be matched"
        )
    if run.record.get("adopted"):
        raise Refused(f"like={prefix}: run {run.id} was itself adopted; name a run that was made here")
    return run


def read(path: Path) -> list[dict[str, Any]]:
    """The lines of a file of predictions.

    Raises:
        Refused: it cannot be read, or a line lacks a key.
    """
    try:
        text = read_text(path)
    except DataError as error:
        raise Refused(str(error)) from None
    lines = []
    for number, line in enumerate(text.split("\n"), start=1):
        if not line.strip():
            continue
        try:
            row = json.loads(line)
        except ValueError as error:
            raise Refused(f"{path}:{number}: not JSON ({error})") from None
        lacking = [key for key in ("id", "gold", "prediction") if not isinstance(row, dict) or key not in row]
        if lacking:
            raise Refused(f'{path}:{number}: no {", ".join(lacking)}; a line is {{"id", "gold", "prediction"}}')
        lines.append(row)
    if not lines:
        raise Refused(f"{path}: no predictions in it")
    return lines


def _kept(row: Mapping[str, Any]) -> dict[str, Any]:
    """What an adopted line keeps of ours: which example it is and its gold."""
    return {key: row[key] for key in ("id", "reference", "group") if key in row}


def _metrics(rows: Sequence[Mapping[str, Any]], like: Run) -> dict[str, float]:
    """The task's metrics from the adopted predictions; those that are no function of sums are left out."""
    found = {}
    for name in dict.fromkeys([like.primary_metric, *(like.get("task.metrics") or [])]):
        sums = sums_of(
            name,
            [row["prediction"] for row in rows],
            [row["reference"] for row in rows],
            label_words(like),
            str(like.get("task.kind", "classification")),
            like.get("protocol.invalid_output"),
            [str(row.get("group") or row["id"]) for row in rows],
            like.get("task.mean_of") or (),
        )
        value = float(sums.value(sums.terms.sum(0))) if sums is not None else math.nan
        if math.isfinite(value):
            found[name] = value
    if like.primary_metric not in found:
        raise Refused(f"{like.primary_metric} cannot be computed from stored predictions, so no row can be made")
    return found


def _record(
    given: Mapping[str, str],
    like: Run,
    rows: Sequence[Mapping[str, Any]],
    metrics: Mapping[str, float],
    path: Path,
) -> dict[str, Any]:
    """The record of an adopted run: the design of the run beside it, their predictions, nothing measured."""
    method = f"{given['method']} {THEIRS}"
    answers = json.dumps([[row["id"], row["prediction"]] for row in rows], sort_keys=True)
    payload = json.dumps(
        [method, given["source"], given.get("seed"), like.get("task"), like.record.get("data"), answers]
    )
    config = {**like.config, "method": {"name": method}, "seed": int(given["seed"]) if "seed" in given else None}
    kept = ("task", "backbone", "protocol", "fidelity", "primary_metric", "primary_split", "data", "selection")
    return {
        **{key: like.record[key] for key in kept if key in like.record},
        "run_id": hashlib.sha256(payload.encode()).hexdigest()[:16],
        "status": "done",
        "reason": None,
        "method": method,
        "seed": config["seed"],
        "config": config,
        "identity": {"adopted": given["source"]},  # two sources are no seeds of each other
        "metrics": {like.primary_split: dict(metrics)},
        "trainable_parameters": int(given["parameters"]) if "parameters" in given else None,
        "adopted": {
            "source": given["source"],
            "file": path.name,
            "sha256": hashlib.sha256(path.read_bytes()).hexdigest(),
            "like": like.id,
            "answers": dict(Counter(str(row["prediction"]) for row in rows).most_common(5)),
        },
        "verdicts": [
            {
                "name": "adopted",
                "level": "note",
                "message": f"predictions of {given['source']}: training, budget and selection are not known here",
            }
        ],
    }


if __name__ == "__main__":
    raise SystemExit(main())
