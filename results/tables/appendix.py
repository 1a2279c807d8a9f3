"""`format=appendix`: the reproducibility page of a paper from the runs of a table, as Markdown.

Seeds, trials, hours, steps, rates and parameters per row, then data, versions and hardware. Only what records say:
what none of them says is a dash.
"""

from __future__ import annotations

import json
import math
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from results.identity import flatten
from results.records import Run, lookup
from results.tables.model import Table
from results.tables.state import State

HEAD = (
    "row", "tasks", "seeds", "trials", "runs tried", "steps", "selected step", "batch", "learning rates",
    "hours, shown", "hours, all trials", "trained", "stored", "deployed", "head", "backbone",
)  # fmt: skip
PACKAGES = ("python", "torch", "transformers", "peft", "accelerate", "datasets", "tokenizers", "numpy")


@dataclass(frozen=True)
class Line:
    """A row of the table: the runs that are shown, and all that were tried for it."""

    label: str
    shown: tuple[Run, ...]
    tried: tuple[Run, ...]
    trials: int


def appendix(state: State, table: Table) -> str:
    """The page of one table."""
    lines = [line for line in lines_of(state, table) if line.shown]
    title = table.title or f"{table.paper} {table.name}".strip()
    out = [f"# Reproducibility: {title}", "", *([state.layout.only, ""] if state.layout.only else [])]
    if not lines:
        return "\n".join([*out, "No run stands in this table.", ""])
    out += _table(HEAD, [_row(line) for line in lines])
    out += ["", *_explained(lines), "", *_facts(lines)]
    return "\n".join(out).rstrip() + "\n"


def lines_of(state: State, table: Table) -> list[Line]:
    """Rows with their runs, in the table's order; a run counts once however many columns read it."""
    found = []
    for index, row in enumerate(table.rows):
        cells = [filled for (place, _), filled in state.filled.items() if place == index]
        shown = {run.id: run for filled in cells for run in filled.runs}
        tried = {run.id: run for filled in cells for trial in filled.choice.trials for run in trial.runs}
        trials = max((len(filled.choice.trials) for filled in cells), default=0)
        if state.layout.rows[index].value == "score":
            found.append(Line(row.label, tuple(shown.values()), tuple((shown | tried).values()), trials))
    return found


def _row(line: Line) -> list[str]:
    runs = line.shown
    return [
        line.label,
        _values(run.get("task") for run in runs),
        _values(run.get("seed") for run in runs),
        str(line.trials),
        str(len(line.tried)),
        _span(run.record.get("steps") for run in runs),
        _span(run.record.get("selected_step") for run in runs),
        _values(run.get("runner.batch_size") for run in runs),
        _rates(runs),
        _hours(runs),
        _hours(line.tried),
        _span(run.record.get("trainable_parameters") for run in runs),
        _span(stored_parameters(run) for run in runs),
        _span(run.record.get("deployed_parameters") for run in runs),
        _span(run.record.get("head_parameters") for run in runs),
        _span(run.record.get("backbone_parameters") for run in runs),
    ]


def stored_parameters(run: Run) -> int | None:
    """Numbers in the run's saved file, by its manifest; None where no file was kept."""
    path = run.folder / "manifest.json"
    try:
        shapes = json.loads(path.read_text(encoding="utf-8")).get("shapes")
        return sum(math.prod(int(side) for side in shape) for shape in shapes.values())
    except (OSError, ValueError, AttributeError, TypeError):
        return None


def _rates(runs: Sequence[Run]) -> str:
    found: dict[str, list[Any]] = {}
    for run in runs:
        for key, value in flatten(lookup(run.config, "method.lr") or {}):
            if value is not None:
                found.setdefault(key, []).append(value)
    return "; ".join(f"{key} {_values(values)}" for key, values in sorted(found.items())) or "–"


def _hours(runs: Sequence[Run]) -> str:
    """Hours of all runs that were timed; `+` where some were not."""
    seconds = [run.record.get("wall_seconds") for run in runs]
    known = [value for value in seconds if isinstance(value, int | float)]
    if not known:
        return "–"
    return f"{sum(known) / 3600:.2f}" + ("+" if len(known) < len(seconds) else "")


def _explained(lines: Sequence[Line]) -> list[str]:
    packed = sum(run.packed for line in lines for run in line.shown)
    return [
        "Trials: configurations apart from their seed, the greatest number behind one cell of the row; runs tried: "
        "with all their seeds. Hours: wall time of single runs, summed (+: some were not timed"
        + (f"; {packed} shared their passes with others, so their time is not their own" if packed else "")
        + "). Parameters: trained (the method's own), stored (in its saved file, a head with them), deployed "
        "(beside the backbone where it answers, without the head: prompts, prefixes and tables of offsets folded, "
        "else as stored), the head, the frozen backbone.",
    ]


def _facts(lines: Sequence[Line]) -> list[str]:
    """Data, selection, versions and hardware of the shown runs."""
    runs = list({run.id: run for line in lines for run in line.shown}.values())
    out = ["## Data", ""]
    data: dict[str, None] = {}
    for run in runs:
        sizes = lookup(run.record, "data.used_rows") or lookup(run.record, "data.rows") or {}
        rows = ", ".join(f"{name} {count:,}" for name, count in sizes.items() if isinstance(count, int))
        said = f"{lookup(run.record, 'data.revision') or 'revision unknown'}; protocol {run.get('protocol')}; {rows}"
        data.setdefault(f"- {run.get('task')}: {said}", None)
    out += [*data, "", "## Selection", ""]
    rules = Counter((run.selection_metric, run.selection_split) for run in runs)
    out += [f"- checkpoint by {metric} on {split} ({count} runs)" for (metric, split), count in rules.most_common()]
    out += ["", "## Versions and hardware", ""]
    hubs = Counter(
        f"{lookup(run.config, 'backbone.hub')} at commit {lookup(run.record, 'backbone_content.commit') or 'not noted'}"
        for run in runs
        if run.backbone_content
    )
    out += [f"- backbone {name} ({count} runs)" for name, count in hubs.most_common()]
    for name in PACKAGES:
        seen = Counter(str(value) for run in runs if (value := lookup(run.record, f"versions.{name}")))
        if seen:
            out.append(f"- {name} {', '.join(f'{value} ({count} runs)' for value, count in seen.most_common())}")
    for name, label in (("versions.device", "device"), ("versions.commit", "commit")):
        seen = Counter(str(lookup(run.record, name) or "unknown") for run in runs)
        out.append(f"- {label}: {', '.join(f'{value} ({count} runs)' for value, count in seen.most_common())}")
    processes = Counter(str(run.record.get("processes") or "unknown") for run in runs)
    out.append(f"- processes: {', '.join(f'{value} ({count} runs)' for value, count in processes.most_common())}")
    adopted = [run for run in runs if run.record.get("adopted")]
    out += [f"- {run.get('method')}: {lookup(run.record, 'adopted.source')}, not run here" for run in adopted]
    return out


def _values(values: Iterable[Any]) -> str:
    """Distinct values, numbers in their order."""
    seen = list(dict.fromkeys(value for value in values if value is not None))
    seen.sort(key=lambda value: (isinstance(value, str), value))
    return ", ".join(f"{value:g}" if isinstance(value, float) else str(value) for value in seen) or "–"


def _span(values: Iterable[Any]) -> str:
    """A number, or the least and the greatest one."""
    seen = [value for value in values if isinstance(value, int | float)]
    if not seen:
        return "–"
    low, high = min(seen), max(seen)
    return f"{low:,}" if low == high else f"{low:,} to {high:,}"


def _table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> list[str]:
    text = [[cell.replace("|", "\\|") for cell in row] for row in rows]
    return [f"| {' | '.join(head)} |", "|" + " --- |" * len(head), *(f"| {' | '.join(row)} |" for row in text)]
