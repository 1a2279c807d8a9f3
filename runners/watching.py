"""What a method tells of itself as it trains (APT's gates): diagnostics/over_training.jsonl, a line per evaluation."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from methods.base import Method
from results.files import append_line, read_lines, write_lines
from results.ledger import RunFolder
from runners.evaluate import Evaluator, Split

NAME = "over_training.jsonl"
DIGITS = 4
EXAMPLES = 32  # of the selection split


class Watch:
    """Asks a method what it tells, on a few examples, at each evaluation; silent for methods that tell nothing.

    No random number is drawn and nothing is trained by it. The main process alone watches.
    """

    def __init__(self, run: RunFolder, method: Any, evaluator: Evaluator, split: Split, main: bool) -> None:
        self.path = run / "diagnostics" / NAME
        tells = isinstance(method, Method) and type(method).watch is not Method.watch
        self.method: Any = method if tells and main else None
        self.evaluator, self.split = evaluator, split

    def begin(self, step: int) -> None:
        """Start anew, or keep what was noted up to the step from which a run goes on."""
        with self.evaluator.tuned.backbone.in_step():
            if self.method is None:
                return
            known = read_lines(self.path) if step and self.path.exists() else []
            kept = [row for row in known if row.get("step", 0) <= step]
            if self.path.exists():
                write_lines(self.path, kept)
            if not kept:
                self._note(step)

    def note(self, step: int) -> None:
        """Append what the method tells at a step; every process calls it."""
        with self.evaluator.tuned.backbone.in_step():
            if self.method is not None:
                self._note(step)

    def _note(self, step: int) -> None:
        self.evaluator.tuned.eval()
        self.method.watch()
        self.evaluator.answer(self.split, list(range(min(EXAMPLES, len(self.split.examples)))))
        seen = self.method.diagnostics()
        if seen:
            self.path.parent.mkdir(exist_ok=True)
            append_line(self.path, {"step": step, **rounded(seen)})


def rounded(value: Any) -> Any:
    """The same with its fractions to four digits."""
    if isinstance(value, float):
        return round(value, DIGITS)
    if isinstance(value, list):
        return [rounded(inner) for inner in value]
    if isinstance(value, Mapping):
        return {key: rounded(inner) for key, inner in value.items()}
    return value
