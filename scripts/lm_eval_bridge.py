"""A run beside lm-evaluation-harness: `python scripts/lm_eval_bridge.py run=<run_id> [to=<folder>]`.

Needs `pip install -e '.[lm-eval]'`. The folder gets the rows that the run was scored on as a task of the harness
(the run's own texts and answers), for PIQA and BoolQ also as the harness's own task of that name, and, of a trained
run, its PEFT adapter; what PEFT cannot express is refused with the reason. The harness scores both here, without the
Hub, and the scores stand side by side, with what differs between the two: texts, answers, what is ranked, token ids.

    options: run=<id or its beginning>  to=<folder>  limit=<rows>  ledger=<folder>  cache=<folder>
"""

from __future__ import annotations

import logging
import os
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np

ROOT = Path(__file__).resolve().parents[1]
sys.path[:] = [str(ROOT), *(p for p in sys.path if p != str(ROOT / "scripts"))]  # scripts/ names some packages

from results.command_line import command, place  # noqa: E402

OPTIONS = {"run": "id", "to": "folder", "limit": "rows", "ledger": "folder", "cache": "folder"}
ABSENT = (
    "lm-evaluation-harness is not installed here: pip install -e '.[lm-eval]' brings it (it is needed by nothing else)"
)


@dataclass
class Side:
    """What one side said of every row.

    Attributes:
        said: what was scored by whom.
        chosen: (N,) index of the answered candidate.
        log_probs: (N, C) normalised as the run ranks, each row's probabilities sum to 1; None where they are not kept
            or are of other texts.
    """

    said: str
    chosen: np.ndarray
    log_probs: np.ndarray | None = None


@command
def main(arguments: Sequence[str]) -> int:
    """Print the two scores; 2 where there is nothing to compare."""
    os.environ.setdefault("TRANSFORMERS_VERBOSITY", "error")
    os.environ.setdefault("HF_DATASETS_OFFLINE", "1")  # the rows are files of ours
    if not arguments or arguments[0] in ("-h", "--help"):
        print(__doc__)
        return 0 if arguments else 2
    from results.ledger import root_of
    from runners.finished import options_of

    try:
        given, rest = options_of(list(arguments), OPTIONS)
        if "run" not in given or rest or not given.get("limit", "1").isdigit():
            raise ValueError("give run=<run_id>; see --help")
        if find_spec("lm_eval") is None:
            raise ValueError(ABSENT)
        root = root_of(given.get("ledger"), "ledger")
        limit = int(given["limit"]) if "limit" in given else None
        logging.getLogger("lm_eval").setLevel(logging.ERROR)
        print("\n".join(compare(root, given["run"], given.get("to"), given.get("cache"), limit)))
    except ValueError as error:
        print(error, file=sys.stderr)
        return 2
    return 0


def compare(root: Path, prefix: str, to: str | None, cache: str | None, limit: int | None = None) -> list[str]:
    """Score a run's rows by the harness and say what came out.

    Raises:
        ValueError: there is no such run, its answers are not ranked, or PEFT has no form for it.
    """
    from results.ledger import Ledger
    from scripts.lm_eval_rows import OURS, rows_of, write_tasks

    try:
        run = Ledger(root).find(prefix)
    except KeyError as error:
        raise ValueError(str(error.args[0])) from None
    config, record = _refuse_unranked(run)
    if cache:
        config.cache.root = cache
    folder = place(to or f"{run.id}-lm-eval")
    ours = {f"{OURS}.yaml", "adapter"}  # what an earlier call made is made anew
    if folder.is_file() or (folder.is_dir() and any(folder.iterdir()) and not ours & set(os.listdir(folder))):
        raise FileExistsError(f"{folder}: there already, and not made by this command; give another folder with to=")
    folder.mkdir(parents=True, exist_ok=True)
    model, tokenizer = _model(root, run, config, folder)
    rows = rows_of(config, tokenizer, record["primary_split"], limit)
    import lm_eval

    package = Path(str(lm_eval.__file__)).parent
    made = write_tasks(rows, record["task"], folder, package, tokenizer)
    harness, answered = _score(model, tokenizer, config, folder, list(made))
    unit = config.protocol.rank_per
    lengths = np.array([[len(text) if unit else 1 for text in example.choices] for example in rows.examples])
    record_side = _ours(run, record, rows)
    sides = [record_side, *_theirs(answered, lengths, unit, made)]
    gold = np.array([example.label for example in rows.examples])
    lines = [
        f"run {run.id}: {record['method']} on {record['task']} with {record['backbone']}, {len(gold):,} rows of "
        f"{record['primary_split']}"
    ]
    lines += [_line(side, record_side, gold) for side in sides]
    lines += ["", *differences(rows, config, harness, made, answered)]
    lines.append(f"  written: {folder} (--tasks {','.join(made)} --include_path {folder})")
    assert OURS in made
    return lines


def _refuse_unranked(run: Any) -> tuple[Any, dict[str, Any]]:
    """The configuration and record of a finished run whose answers are ranked.

    Raises:
        ValueError: it is none.
    """
    from conf.compose import typed
    from runners.changed import refuse_changed
    from runners.evaluate import answering

    record = run.record()
    if record is None or record["status"] != "done":
        raise ValueError(f"run {run.id} is {record['status'] if record else 'not there'}, not done")
    if record.get("adopted") or record.get("transfer") or record["method"] == "majority":
        raise ValueError(f"run {run.id} has no model of its own that the harness could score")
    refuse_changed(run, record)
    config = typed(record["config"])
    how = answering(config.task, config.protocol, config.backbone.family)
    if how != "rank":
        raise ValueError(
            f"run {run.id} answers by {how}: the harness's multiple choice ranks given answers by their "
            "log-probability; protocol.scoring=rank makes a run that does (classification and multiple choice)"
        )
    return config, record


def _model(root: Path, run: Any, config: Any, folder: Path) -> tuple[Any, Any]:
    """The plain model, with the run's adapter on it where it was trained, and its tokenizer."""
    from backbones.load import load_backbone
    from conf.capabilities import capabilities
    from conf.paths import cache_root
    from runners.workers import DTYPES
    from scripts.export import export
    from scripts.peft_form import with_table

    adapter = folder / "adapter"
    trains = capabilities(config.method).trains
    if trains:
        from runners.finished import load_finished

        export(load_finished(root, run.id, cache=config.cache.root), adapter, force=True)
    plain = load_backbone(config.backbone, dtype=DTYPES[config.runner.precision], cache_root=cache_root(config))
    if not trains:
        return plain.model, plain.tokenizer
    from peft import PeftModel

    model = PeftModel.from_pretrained(with_table(plain.model, adapter), str(adapter)).eval()
    return model, plain.tokenizer


def _score(model: Any, tokenizer: Any, config: Any, folder: Path, names: list[str]) -> tuple[Any, dict[str, list[Any]]]:
    """The harness's model, and its samples by task in the order of the rows."""
    from lm_eval import simple_evaluate
    from lm_eval.models.huggingface import HFLM
    from lm_eval.tasks import TaskManager

    kind = "seq2seq" if config.backbone.traits.encoder_decoder else "causal"
    harness = HFLM(model, backend=kind, tokenizer=tokenizer, batch_size=config.runner.eval_batch_size, device="cpu")
    manager = TaskManager(include_path=str(folder), include_defaults=False)
    found = simple_evaluate(model=harness, tasks=names, task_manager=manager, bootstrap_iters=0, log_samples=True)
    return harness, {name: sorted(found["samples"][name], key=lambda one: one["doc_id"]) for name in names}


def _ours(run: Any, record: dict[str, Any], rows: Any) -> Side:
    """What the record holds of these rows."""
    from results.scores import NoScores, read_scores

    split = record["primary_split"]
    told = {row["id"]: row["prediction"] for row in run.predictions(split)}
    names = [list(e.names or e.choices) for e in rows.examples]
    chosen = [name.index(told[e.id]) for name, e in zip(names, rows.examples, strict=True)]
    try:
        kept = read_scores(run.folder, split)
        place = {name: i for i, name in enumerate(kept.ids)}
        logs = kept.log_probs[[place[e.id] for e in rows.examples]]
    except NoScores:
        logs = None
    return Side("the run's record", np.array(chosen), logs)


def _theirs(answered: dict[str, list[Any]], lengths: np.ndarray, unit: str | None, made: dict[str, Any]) -> list[Side]:
    """The harness's answers: to our texts ranked as the run does, to its own by every metric that it has."""
    from lm_eval import __version__ as version

    from scripts.lm_eval_rows import OURS

    sides = []
    for name, samples in answered.items():
        logs = np.array([[float(one[0]) for one in sample["filtered_resps"]] for sample in samples])
        if name == OURS:
            ranked = logs / lengths
            said = f"lm-eval {version}, the run's texts, {'acc_norm' if unit else 'acc'}"
            sides.append(Side(said, ranked.argmax(1), _normalised(ranked)))
            continue
        own = f"lm-eval {version}, its own {name.removeprefix('bench_')}"
        sides.append(Side(f"{own}, acc", logs.argmax(1)))
        if "acc_norm" in samples[0]:
            characters = np.array([[len(made[name][i][key]) for key in ("sol1", "sol2")] for i in range(len(samples))])
            sides.append(Side(f"{own}, acc_norm", (logs / characters).argmax(1)))
    return sides


def _normalised(values: np.ndarray) -> np.ndarray:
    values = values - values.max(1, keepdims=True)
    return np.asarray(values - np.log(np.exp(values).sum(1, keepdims=True)))


def _line(side: Side, ours: Side, gold: np.ndarray) -> str:
    text = f"  {side.said:<42} accuracy {100 * float(np.mean(side.chosen == gold)):5.1f}"
    if side is ours:
        return text
    text += f", {int((side.chosen == ours.chosen).sum()):,} of {len(gold):,} answers the run's"
    if side.log_probs is not None and ours.log_probs is not None:
        text += f", log-probabilities within {float(np.abs(side.log_probs - ours.log_probs).max()):.0e}"
    return text


def differences(
    rows: Any, config: Any, harness: Any, made: dict[str, list[dict[str, Any]]], answered: dict[str, list[Any]]
) -> list[str]:
    """What the harness was given otherwise than the run, in sentences."""
    from scripts.lm_eval_rows import OURS

    unit, cut = config.protocol.rank_per, sum(encoded.truncated for encoded in rows.encoded)
    own = made[OURS]
    pairs = [
        harness._encode_pair(row["text"], rows.delimiter + choice) == (encoded.source, ids)
        for row, encoded in zip(own, rows.encoded, strict=True)
        for choice, ids in zip(row["choices"], encoded.choices, strict=True)
    ]
    ranked = "log-probability per character" if unit else "whole log-probability"
    ending = f" and end with {rows.ending}" if rows.ending else ", without an end token"
    said = [
        f"  the run's texts: token ids are the run's in {sum(pairs):,} of {len(pairs):,} candidates; answers begin "
        f"with {rows.delimiter!r}{ending}; ranked by {ranked}; {cut} texts cut to the run's length"
    ]
    for name in (name for name in made if name != OURS):
        said.append(f"  its own {name.removeprefix('bench_')}: {_beside(answered[name], own, rows.delimiter)}")
    said.append("  acc ranks by log-probability, acc_norm by log-probability per character; neither adds an end token")
    return said


def _beside(samples: list[Any], own: list[dict[str, Any]], delimiter: str) -> str:
    """In how many rows the harness's own task gave the model the run's text and answers, with an example."""
    pairs = {
        "text": [(sample["arguments"][0][0], row["text"]) for sample, row in zip(samples, own, strict=True)],
        "answers": [
            ([answer for _, answer in sample["arguments"]], [delimiter + choice for choice in row["choices"]])
            for sample, row in zip(samples, own, strict=True)
        ],
    }
    told = []
    for what, found in pairs.items():
        other = [pair for pair in found if pair[0] != pair[1]]
        shown = ""
        if other:
            theirs, ours = (part[-40:] if what == "text" else part for part in other[0])
            shown = f" ({theirs!r} for {ours!r})"
        told.append(f"the run's {what} in {len(found) - len(other):,} of {len(found):,} rows{shown}")
    return ", ".join(told)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
