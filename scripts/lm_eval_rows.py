"""A finished run's rows as tasks of lm-evaluation-harness: its own texts and answers, and the raw rows for the
harness's own PIQA or BoolQ."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from results.files import write_lines, write_text
from tasks.encode import AnswerEncoder, Encoded
from tasks.examples import Example

OURS = "bench_rows"  # the task that holds the run's own texts
# the harness's own tasks on rows that we have too: its file, and a canonical row in its columns
THEIRS = {
    "mc/piqa": ("piqa/piqa.yaml", lambda row: {"goal": row["question"], **_solutions(row)}),
    "superglue/boolq": (
        "super_glue/boolq/default.yaml",
        lambda row: {"passage": row["passage"], "question": row["question"]},
    ),
}


def _solutions(row: dict[str, Any]) -> dict[str, str]:
    return {"sol1": row["choices"][0], "sol2": row["choices"][1]}


@dataclass
class Rows:
    """The scored rows of a run.

    Attributes:
        examples, encoded: as the run read them.
        raw: canonical rows, in the same order.
        delimiter: what stands between a text and its answer (token ids are of `delimiter + answer`).
        ending: the text of EOS, where answers end with it.
    """

    examples: Sequence[Example]
    encoded: Sequence[Encoded]
    raw: Sequence[dict[str, Any]]
    delimiter: str
    ending: str


def rows_of(config: Any, tokenizer: Any, split: str, limit: int | None = None) -> Rows:
    """The rows that a run was scored on, loaded and encoded as it did it."""
    from runners.data import encode_splits, ends_answers, load_data

    data = load_data(config)
    made = encode_splits(config, data, tokenizer)[split]
    count = min(limit or len(made.examples), len(made.examples))
    source = data.splits[split]
    ended = ends_answers(config)
    examples = [made.examples[i] for i in range(count)]
    spaced = examples[0].suffix.endswith(" ")
    lead = AnswerEncoder(tokenizer, config.backbone.family, ended, spaced=spaced).lead
    return Rows(
        examples,
        [made.encoded[i] for i in range(count)],
        [source.rows[row] for row, _ in source.items[:count]],
        lead,
        tokenizer.eos_token if ended else "",
    )


def write_tasks(rows: Rows, task: str, folder: Path, package: Path, tokenizer: Any) -> dict[str, list[dict[str, Any]]]:
    """Write the tasks into `folder`; task name -> its rows.

    Args:
        package: the installed harness's folder.
    """
    own = [
        {
            "id": example.id,
            "text": example.source if not encoded.truncated else tokenizer.decode(_bare(encoded.source, tokenizer)),
            "choices": [text + rows.ending for text in example.choices],
            "label": example.label,
        }
        for example, encoded in zip(rows.examples, rows.encoded, strict=True)
    ]
    settings: dict[str, Any] = {
        "output_type": "multiple_choice",
        "doc_to_text": "text",
        "doc_to_target": "label",
        "doc_to_choice": "choices",
        "target_delimiter": rows.delimiter,
        "metric_list": [_metric("acc"), _metric("acc_norm")],
    }
    made = {OURS: own}
    _write(folder, OURS, settings, own)
    if task in THEIRS:
        file, columns = THEIRS[task]
        name = f"bench_{task.split('/')[1]}"
        theirs = yaml.safe_load((package / "tasks" / file).read_text(encoding="utf-8"))
        made[name] = [
            {**columns(row), "label": example.label} for row, example in zip(rows.raw, rows.examples, strict=True)
        ]
        _write(folder, name, {key: value for key, value in theirs.items() if key != "tag"}, made[name])
    return made


def _bare(ids: Sequence[int], tokenizer: Any) -> list[int]:
    """Token ids without those that the tokenizer puts around every text."""
    return [token for token in ids if token not in (tokenizer.bos_token_id, tokenizer.eos_token_id)]


def _metric(name: str) -> dict[str, Any]:
    return {"metric": name, "aggregation": "mean", "higher_is_better": True}


def _write(folder: Path, name: str, settings: dict[str, Any], rows: Sequence[dict[str, Any]]) -> None:
    path = folder / f"{name}.jsonl"
    write_lines(path, rows)
    changed = {
        "task": name,
        "dataset_path": "json",
        "dataset_name": None,
        "dataset_kwargs": {"data_files": {"validation": str(path.resolve())}},
        "training_split": None,
        "validation_split": "validation",
        "test_split": None,
    }
    write_text(folder / f"{name}.yaml", yaml.safe_dump(settings | changed, sort_keys=False))
