"""How a run ended, and what is said of it."""

from __future__ import annotations

import traceback
from dataclasses import dataclass
from typing import Any

EXIT = {"done": 0, "failed": 1, "refused": 2, "held": 3, "stopped": 75, "interrupted": 130}


@dataclass
class Outcome:
    """How a run ended, and the line that says so.

    Attributes:
        status: done | failed | refused | held | stopped | interrupted.
        skipped: it was in the ledger already; found: when and with which code it was made.
        warnings: what the guard rails found (the record's `verdicts`), and where there is signal if there was none.
    """

    status: str
    run_id: str | None = None
    metric: str | None = None
    value: float | None = None
    reason: str | None = None
    skipped: bool = False
    warnings: tuple[str, ...] = ()
    found: str | None = None

    @property
    def exit_code(self) -> int:
        return EXIT[self.status]

    @property
    def line(self) -> str:
        """The last line of run.py."""
        if self.run_id is None:
            return self.reason or self.status
        score = f" {self.metric}={self.value:.4f}" if self.metric and self.value is not None else ""
        return f"run {self.run_id} {self.status}{score}"


def told(outcome: Outcome, label: str) -> str:
    """One run of several that has ended, as it is said while the others go on."""
    reason = f"  {outcome.reason.splitlines()[0]}" if outcome.reason and outcome.status != "done" else ""
    return f"{outcome.line}  {label}{reason}"


# what README shows of the demo carries this: single runs, above the majority class and the untrained prompt alike
NEXT = "where a short run does show more: make demo (PT and DePT on an easier task, movie reviews; some minutes)"


def outcome_of(record: dict[str, Any], **more: Any) -> Outcome:
    """The outcome that a record tells."""
    metric, split = record.get("primary_metric"), record.get("primary_split")
    value = ((record.get("metrics") or {}).get(split) or {}).get(metric)
    warnings = [v["message"] for v in record.get("verdicts") or [] if v["level"] == "warning" and v["name"] != "data"]
    # one answer for everything can be "above" the training rows' majority, where the reported rows have another
    silent = ("above_majority", "constant_predictions")
    if any(v["name"] in silent and v["level"] == "warning" for v in record.get("verdicts") or []):
        warnings.append(f"{_budget(record)}nothing is seen here that the majority class would not score; {NEXT}")
    return Outcome(
        record["status"], record["run_id"], metric, value, record.get("reason"), warnings=tuple(warnings), **more
    )


def _budget(record: dict[str, Any]) -> str:
    """How little a run was trained, where that may be why."""
    runner = (record.get("config") or {}).get("runner") or {}
    steps, batch = runner.get("max_steps"), runner.get("batch_size")
    return f"after {steps:,} steps of {batch} examples " if steps and batch and record.get("steps") else ""


def describe(error: BaseException) -> str:
    """A failure as a reason for the record: what, in one line, and where."""
    last = traceback.extract_tb(error.__traceback__)[-1] if error.__traceback__ else None
    where = f" ({last.filename.rsplit('/', 1)[-1]}:{last.lineno})" if last else ""
    text = str(error).strip() or type(error).__name__
    return f"{type(error).__name__}: {text}{where}"
