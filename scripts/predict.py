"""Answer rows with a finished run: `python scripts/predict.py run=<run_id> [file] [to=<file>]`.

A file with columns (.csv, .tsv, .jsonl, .json, also .gz) comes back with the same rows and columns and, added to
them, `prediction` and the probability of every label (`p(<label>)`, among the labels), in the form that it had.

Anything else is text, from a .txt file or the terminal until it ends: a line is the task's text (one text column), its
columns separated by tabs in the order that the task names them, or a JSON object with the columns. Each answer is one
line: the answer in the label's own words, then the probability of every label.

Several runs on one backbone answer one file together, in the same batches: `run=<id>,<id>,... by=<column>`, where the
column (default: task) names each row's run by its task or its id.

    options: run=<ids or their beginnings>  by=<column>  to=<file>  ledger=<folder>  cache=<folder>  device=<cpu|cuda>
             force=true (a file that is there already is overwritten)
"""

from __future__ import annotations

import csv
import io
import json
import os
import string
import sys
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TextIO

ROOT = Path(__file__).resolve().parents[1]
sys.path[:] = [str(ROOT), *(p for p in sys.path if p != str(ROOT / "scripts"))]  # scripts/ names some packages

from results.command_line import command, place  # noqa: E402
from tasks.errors import DataError  # noqa: E402

OPTIONS = {
    "run": "id", "by": "column", "to": "file", "ledger": "folder", "cache": "folder", "device": "cpu|cuda",
    "force": "true",
}  # fmt: skip
TABLES = (".csv", ".tsv", ".jsonl", ".json")  # forms with named columns
BATCH = 32


@command
def main(arguments: Sequence[str]) -> int:
    """Print one answer per line; 2 where the run or the lines are wrong."""
    os.environ.setdefault("TRANSFORMERS_VERBOSITY", "error")
    if not arguments or arguments[0] in ("-h", "--help"):
        print(__doc__)
        return 0 if arguments else 2
    from results.ledger import root_of
    from runners.finished import forced, load_finished, options_of

    try:
        given, files = options_of(list(arguments), OPTIONS)
        if "run" not in given or len(files) > 1:
            raise ValueError("give run=<run_id> and at most one file; see --help")
        root = root_of(given.get("ledger"), "ledger")
        source = place(files[0]) if files else None
        rows, lines = asked(source)  # before the model: a damaged file is said at once
        ids, device, cache = given["run"].split(","), given.get("device", "cpu"), given.get("cache")
        if (len(ids) > 1 or "by" in given) and rows is None:
            raise ValueError(
                f"several runs answer a file with columns ({', '.join(TABLES)}), one of which names the run"
            )
        with _output(given.get("to"), forced(given)) as out:
            first = load_finished(root, ids[0], device, cache)
            if rows is not None and source is not None and (len(ids) > 1 or "by" in given):
                from scripts.predict_many import RunsTogether, write_together

                others = [load_finished(root, name, device, cache, beside=first) for name in ids[1:]]
                together = RunsTogether([Answerer(run) for run in (first, *others)], given.get("by", "task"))
                write_together(together, rows, source, out)
                return 0
            answerer = Answerer(first)
            if rows is not None and source is not None:
                write_table(answerer, rows, source, out)
            else:
                write_lines(answerer, lines, out)
    except ValueError as error:
        print(error, file=sys.stderr)
        return 2
    return 0


def asked(source: Path | None) -> tuple[list[dict[str, Any]] | None, Iterable[str]]:
    """The rows of a file with columns (else None), and the lines of a text, of the terminal without a file.

    Raises:
        DataError: there is no such file, it cannot be read whole, or nothing is in it.
    """
    from tasks.reading import read_text, some_rows

    if source is None:
        return None, sys.stdin
    if source.name.lower().removesuffix(".gz").endswith(TABLES):
        return some_rows(source), ()
    if source.suffix == ".parquet":
        raise DataError(f"{source}: parquet is not answered here; write its rows as one of {', '.join(TABLES)}")
    lines = list(io.StringIO(read_text(source), newline=None))
    if not any(line.strip() for line in lines):
        raise DataError(f"{source}: no line in it; is it the right file?")
    return None, lines


@contextmanager
def _output(to: str | None, force: bool) -> Iterator[TextIO]:
    """Standard output, or a file that is there only when it is whole.

    Raises:
        OSError: it cannot be written, or something stands there.
    """
    if to is None:
        yield sys.stdout
        return
    from results.files import refuse_taken, replacing

    refuse_taken(place(to), force)
    with replacing(place(to)) as temporary, open(temporary, "w", encoding="utf-8", newline="") as handle:
        yield handle


def write_table(answerer: Answerer, rows: Sequence[dict[str, Any]], source: Path, out: TextIO) -> None:
    """The rows of a file with the answers added, in its own form.

    Raises:
        ValueError: a row lacks the task's columns, or the file has columns of the names that are added.
    """
    waiting = [answerer.of_row(row, f"row {number}") for number, row in enumerate(rows, start=1)]
    writer = AnsweredTable(source, out)
    for begin in range(0, len(rows), BATCH):
        part = waiting[begin : begin + BATCH]
        for row, told in zip(rows[begin : begin + BATCH], answerer.answers(part), strict=True):
            writer.add(row, *told)
    out.flush()


class AnsweredTable:
    """Writes rows with their answers in the form of the file that they came from.

    Args:
        source: that file.
        out: where to.
        labels: columns of probabilities, where rows differ in theirs; None = those of the first row.
    """

    def __init__(self, source: Path, out: TextIO, labels: Sequence[str] | None = None) -> None:
        self.source, self.out, self.labels = source, out, labels
        self.form = next(form for form in TABLES if source.name.lower().removesuffix(".gz").endswith(form))
        self.writer: Any = None

    def add(self, row: dict[str, Any], answer: Any, chances: dict[str, float]) -> None:
        """One row more.

        Raises:
            ValueError: it has a column of a name that is added.
        """
        added = {"prediction": answer} | {f"p({word})": round(chance, 6) for word, chance in chances.items()}
        taken = sorted(set(added) & set(row))
        if taken:
            raise ValueError(f"{self.source} has a column {taken[0]!r} already; rename it, answers are added so")
        if self.form in (".jsonl", ".json"):
            self.out.write(json.dumps({**row, **added}, ensure_ascii=False) + "\n")
            return
        if self.writer is None:
            names = list(added) if self.labels is None else ["prediction", *(f"p({word})" for word in self.labels)]
            names = [*row, *names]
            if self.form == ".tsv":  # no quotes there, as it is read
                self.writer = csv.DictWriter(
                    self.out, names, delimiter="\t", lineterminator="\n", quoting=csv.QUOTE_NONE, quotechar=None
                )
            else:
                self.writer = csv.DictWriter(self.out, names, lineterminator="\n")
            self.writer.writeheader()
        self.writer.writerow({**row, **{name: as_text(value) for name, value in added.items()}})


def write_lines(answerer: Answerer, lines: Iterable[str], out: TextIO) -> None:
    """One answer a line; at the terminal each as soon as its line is there."""
    if lines is sys.stdin and sys.stdin.isatty():
        print(f"columns: {', '.join(answerer.columns)}; end with Ctrl-D", file=sys.stderr)
    for text in answerer(lines, 1 if lines is sys.stdin else BATCH):
        print(text, file=out, flush=True)


def as_text(value: Any) -> str:
    """An answer in one line."""
    if isinstance(value, list):
        return " ".join(map(str, value))
    return f"{value:.4f}" if isinstance(value, float) else " ".join(str(value).split())


class Answerer:
    """Turns lines into answers with one tuned model."""

    def __init__(self, finished: Any) -> None:
        from runners.config import RunnerConfig
        from runners.evaluate import Evaluator
        from runners.workers import Workers
        from tasks.kinds import kind_of
        from tasks.rows import label_column
        from tasks.templates import Template

        self.config, self.tuned = finished.config, finished.tuned
        self.run, self.task = finished.run.id, finished.config.task.name
        task, protocol = self.config.task, self.config.protocol
        self.template = Template(task, protocol, self.config.backbone.family)
        device = str(self.tuned.backbone.device)
        self.evaluator = Evaluator(self.tuned, task, protocol, self.config.runner, Workers(RunnerConfig(device=device)))
        self.label, self.kind = label_column(task), kind_of(task)
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
                waiting.append(self.of_line(line.rstrip("\r\n"), number))
            if len(waiting) == size:
                yield from map(self.line, self.answers(waiting))
                waiting = []
        if waiting:
            yield from map(self.line, self.answers(waiting))

    def of_line(self, line: str, number: int) -> Any:
        """The example that a line is.

        Raises:
            ValueError: it has not the task's columns.
        """
        from tasks.reading import parsed

        if line.lstrip().startswith("{"):
            row = parsed(line, f"line {number}", "a JSON object with the task's columns")
        else:
            parts = line.split("\t") if len(self.columns) > 1 else [line]
            if len(parts) != len(self.columns):
                raise ValueError(
                    f"line {number}: {len(parts)} of {len(self.columns)} columns; separate {', '.join(self.columns)} "
                    "by tabs, or write a JSON object with these keys"
                )
            row = dict(zip(self.columns, parts, strict=True))
        return self.of_row(row, f"line {number}")

    def of_row(self, row: dict[str, Any], where: str) -> Any:
        """The example that a row is.

        Raises:
            ValueError: it has not the task's columns.
        """
        from scripts.new_rows import with_fields
        from tasks.rows import ID

        row = with_fields(row, self.columns)
        missing = [name for name in self.columns if row.get(name) is None]
        if missing:
            wanted = f"wanted are {', '.join(self.columns)} (there are {', '.join(row)})"
            raise ValueError(f"{where}: without {', '.join(missing)}; {wanted}")
        gold = (self.label, "answers", "ner_tags", "idx", "id")  # what is asked for reaches no answer
        chosen = {name: value for name, value in row.items() if name in self.config.task.columns and name not in gold}
        return self.template({**chosen, ID: where, **self._unknown(chosen)})

    def _unknown(self, row: dict[str, Any]) -> dict[str, Any]:
        """Stand-ins for what is to be answered; they reach no answer."""
        return self.kind.unknown(self.config.task, row, self.label)

    def encoded(self, examples: Sequence[Any]) -> list[Any]:
        """Examples as the model reads them."""
        from runners.data import capped_length, ends_answers
        from tasks.encode import encode

        return encode(
            examples,
            self.tuned.backbone.tokenizer,
            family=self.config.backbone.family,
            max_source_length=capped_length(self.config),
            answer_eos=ends_answers(self.config),
            tag_names=self.kind.tag_names(self.config.task),
        )

    def answers(self, examples: Sequence[Any]) -> list[tuple[Any, dict[str, float]]]:
        """Answer and label probabilities (by the label's own word) of some examples."""
        import torch

        from runners.evaluate import Split, per_unit

        backbone = self.tuned.backbone
        encoded = self.encoded(examples)
        split = Split("lines", examples, encoded)  # type: ignore[arg-type]
        with torch.inference_mode():
            told = self.evaluator.answer(split, range(len(examples)))
            chances: list[list[float]] = [[] for _ in examples]
            if self.evaluator.how == "classify" and not self.kind.numbers:
                logits = self.tuned.classify(backbone.collate(encoded).to(backbone.device))
                chances = logits.float().softmax(-1).tolist()
            elif all(example.choices for example in examples) and self.evaluator.how != "classify":
                scores = self.tuned.rank(backbone.collate(encoded, candidates=True).to(backbone.device))
                unit = self.config.protocol.rank_per if self.evaluator.how == "rank" else None
                chances = per_unit(scores.cpu(), examples, unit).float().softmax(-1).tolist()  # by what is compared
        return [self.told(e, answer, chance) for e, (answer, _), chance in zip(examples, told, chances, strict=True)]

    def told(self, example: Any, answer: Any, chance: Sequence[float]) -> tuple[Any, dict[str, float]]:
        """An answer and the probability of every label, by the label's own word."""
        return self.own_words(example, answer), dict(zip(self.words(example), chance, strict=False))

    def words(self, example: Any) -> list[str]:
        """What its candidates are called: the labels' own names, or for open choices their texts."""
        labels = self.config.task.labels
        return list(labels if len(labels) == len(example.choices) else example.choices)

    def own_words(self, example: Any, answer: Any) -> Any:
        """An answer under its label's own name; other answers as they are."""
        names = dict(zip(example.choices, self.words(example), strict=True))
        return names.get(answer, answer) if isinstance(answer, str) else answer

    def line(self, told: tuple[Any, dict[str, float]]) -> str:
        """An answer and its probabilities, divided by tabs."""
        answer, chances = told
        return "\t".join([as_text(answer), *(f"{word}={chance:.4f}" for word, chance in chances.items())])


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
