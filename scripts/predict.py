"""Answer lines with a finished run: `python scripts/predict.py run=<run_id> [file]`.

A line is the task's text (one text column), its columns separated by tabs in the order that the task names them, or a
JSON object with the columns. Lines come from the file, or from the terminal until it ends. Each answer is one line:
the answer, then the probability of every label (among the labels) where the task has labels.

    options: run=<id or its beginning>  ledger=<folder>  cache=<folder>  device=<cpu|cuda>
"""

from __future__ import annotations

import json
import os
import string
import sys
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))
OPTIONS = {"run": "id", "ledger": "folder", "cache": "folder", "device": "cpu|cuda"}
BATCH = 32


def main(arguments: Sequence[str]) -> int:
    """Print one answer per line; 2 where the run or the lines are wrong."""
    os.environ.setdefault("TRANSFORMERS_VERBOSITY", "error")
    if not arguments or arguments[0] in ("-h", "--help"):
        print(__doc__)
        return 0 if arguments else 2
    from results.ledger import default_root
    from runners.finished import load_finished, options_of

    try:
        given, files = options_of(list(arguments), OPTIONS)
        if "run" not in given or len(files) > 1:
            raise ValueError("give run=<run_id> and at most one file; see --help")
        lines: Iterable[str] = sys.stdin
        if files:
            lines = Path(files[0]).read_text(encoding="utf-8").splitlines()
        root = Path(given["ledger"]).expanduser() if "ledger" in given else default_root()
        answerer = Answerer(load_finished(root, given["run"], given.get("device", "cpu"), given.get("cache")))
        if sys.stdin.isatty() and not files:
            print(f"columns: {', '.join(answerer.columns)}; end with Ctrl-D", file=sys.stderr)
        for text in answerer(lines, 1 if not files else BATCH):
            print(text, flush=True)
    except (ValueError, OSError) as error:
        print(error, file=sys.stderr)
        return 2
    return 0


class Answerer:
    """Turns lines into answers with one tuned model."""

    def __init__(self, finished: Any) -> None:
        from runners.config import RunnerConfig
        from runners.evaluate import Evaluator
        from runners.workers import Workers
        from tasks.rows import label_column
        from tasks.templates import Template

        self.config, self.tuned = finished.config, finished.tuned
        task, protocol = self.config.task, self.config.protocol
        self.template = Template(task, protocol, self.config.backbone.family)
        device = str(self.tuned.backbone.device)
        self.evaluator = Evaluator(self.tuned, task, protocol, self.config.runner, Workers(RunnerConfig(device=device)))
        self.label = label_column(task)
        texts = [self.template.text, *self.template.parts]
        named = {name.split("[")[0] for text in texts for _, name, _, _ in string.Formatter().parse(text) if name}
        self.columns = [name for name in task.columns if name != self.label and name not in ("idx", "id", "answers")]
        if named & set(self.columns):
            self.columns = [name for name in self.columns if name in named]

    def __call__(self, lines: Iterable[str], size: int) -> Iterator[str]:
        """Answers in the order of the lines; empty lines are left out."""
        waiting: list[Any] = []
        for number, line in enumerate(lines, start=1):
            if line.strip():
                waiting.append(self.example(line.rstrip("\n"), number))
            if len(waiting) == size:
                yield from self.answers(waiting)
                waiting = []
        if waiting:
            yield from self.answers(waiting)

    def example(self, line: str, number: int) -> Any:
        """The example that a line is.

        Raises:
            ValueError: it has not the task's columns.
        """
        from tasks.rows import ID

        if line.lstrip().startswith("{"):
            row = json.loads(line)
        else:
            parts = line.split("\t") if len(self.columns) > 1 else [line]
            if len(parts) != len(self.columns):
                raise ValueError(
                    f"line {number}: {len(parts)} of {len(self.columns)} columns; separate {', '.join(self.columns)} "
                    "by tabs, or write a JSON object with these keys"
                )
            row = dict(zip(self.columns, parts, strict=True))
        missing = [name for name in self.columns if name not in row]
        if missing:
            raise ValueError(f"line {number}: without {', '.join(missing)}; wanted are {', '.join(self.columns)}")
        return self.template({ID: str(number), **self._unknown(row), **row})

    def _unknown(self, row: dict[str, Any]) -> dict[str, Any]:
        """Stand-ins for what is to be answered; they reach no answer."""
        task = self.config.task
        if task.kind == "tagging":
            tokens = row["tokens"] if isinstance(row.get("tokens"), list) else str(row.get("tokens", "")).split()
            row["tokens"] = tokens
            return {"ner_tags": ["O"] * len(tokens)}
        if task.kind == "regression":
            return {"label": 0.0}
        found: dict[str, Any] = {"answers": [""]} if task.kind in ("qa", "cloze") else {}
        return found | ({self.label: task.labels[0]} if self.label and task.labels else {})

    def answers(self, examples: list[Any]) -> list[str]:
        """Answer and label probabilities of some examples."""
        import torch

        from runners.assemble import capped_length, ends_answers
        from runners.evaluate import Split
        from tasks.encode import encode
        from tasks.rows import tag_names

        task, backbone = self.config.task, self.tuned.backbone
        encoded = encode(
            examples,
            backbone.tokenizer,
            family=self.config.backbone.family,
            max_source_length=capped_length(self.config),
            answer_eos=ends_answers(self.config),
            tag_names=tag_names(task) if task.kind == "tagging" else (),
        )
        split = Split("lines", examples, encoded)  # type: ignore[arg-type]
        with torch.inference_mode():
            told = self.evaluator.answer(split, range(len(examples)))
            chances: list[list[float]] = [[] for _ in examples]
            if self.evaluator.how == "classify" and task.kind != "regression":
                logits = self.tuned.classify(backbone.collate(encoded).to(backbone.device))
                chances = logits.float().softmax(-1).tolist()
            elif all(example.choices for example in examples) and self.evaluator.how != "classify":
                scores = self.tuned.rank(backbone.collate(encoded, candidates=True).to(backbone.device))
                chances = scores.float().softmax(-1).tolist()
        return [self.line(e, answer, chance) for e, answer, chance in zip(examples, told, chances, strict=True)]

    def line(self, example: Any, answer: Any, chances: list[float]) -> str:
        text = (
            " ".join(answer) if isinstance(answer, list) else f"{answer:.3f}" if isinstance(answer, float) else answer
        )
        labels = self.config.task.labels
        names = [
            f"{labels[i]} ({choice})" if len(labels) == len(example.choices) and labels[i] != choice else choice
            for i, choice in enumerate(example.choices)
        ]
        return "\t".join([text, *(f"{name}={chance:.4f}" for name, chance in zip(names, chances, strict=False))])


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
