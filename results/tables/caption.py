"""The sentences under a table: what was averaged, chosen, kept out, and what could be told apart."""

from __future__ import annotations

from collections import defaultdict

from results import setting
from results.equivalence import largest_spread
from results.records import UNTRAINED
from results.tables import cautions, tested
from results.tables.layout import SETTINGS
from results.tables.model import Cell, Table
from results.tables.pieces import points
from results.tables.state import Filled, State

MEASURED = ("rate", "eval_rate", "bytes", "seconds")
# where and how runs are computed: no part of their ids, but of what they take
PACE = {
    "versions.device": "devices", "processes": "numbers of processes", "runner.threads": "numbers of threads",
    "runner.micro_batch": "micro-batches", "runner.eval_batch_size": "batches of evaluation",
    "runner.sharding": "sharding", "runner.compile": "compiling",
}  # fmt: skip


def sentences(state: State, table: Table) -> list[str]:
    """The caption, one sentence per entry."""
    said = [table.title + "." if table.title and not table.title.endswith(".") else table.title]
    said += [state.layout.only, *state.layout.caption]
    said += [
        _spread(state, table),
        *_facets(state),
        *_settings(state),
        *_checkpoints(state),
        *_trials(state),
        *cautions.sentences(state),
        *tested.sentences(state, table),
    ]
    said += [*_entities(table), *_published(state, table), *_kept_out(state, table)]
    return [text for text in said if text]


def _entities(table: Table) -> list[str]:
    """Which reading of entities the F1 of tagged sentences has; the protocol chooses it, a record holds both."""
    cells = [cell for row in table.rows for cell in row.cells.values()]
    named = {cell.metric for cell in cells if cell.task.startswith("ner/") and cell.value is not None}
    if not any(name.endswith("_lenient") for name in named):
        return []  # strict IOB2, as everywhere else
    mixed = any(name and not name.endswith("_lenient") for name in named)
    text = "Entity F1 reads entities as seqeval does by default, as the authors' code does"
    return [text + ("; other rows have strict IOB2." if mixed else ".")]


def _spread(state: State, table: Table) -> str:
    """What stands after ±."""
    kinds = {
        (cell.spread_kind, cell.n > 1) for row in table.rows for cell in row.cells.values() if cell.spread is not None
    }
    parts = []
    if ("sd", True) in kinds:
        parts.append("standard deviation over seeds")
    if ("se", True) in kinds:
        parts.append("standard error over seeds")
    if ("se", False) in kinds:
        parts.append("binomial standard error of the one run")
    if state.options.cells == "all":
        return "Points; in brackets the score of every seed, in their order."
    text = f"Points; ± is the {' or the '.join(parts)}" if parts else "Points"
    return text + "; the number of runs stands in brackets."


def _facets(state: State) -> list[str]:
    """Backbone, protocol and fidelity; loudly where they are mixed."""
    said = []
    plain = []
    for name in SETTINGS:
        values = sorted({str(run.get(name)) for filled in state.filled.values() for run in filled.runs})
        if len(values) == 1 and values != ["None"]:
            plain.append(f"{name.split('.')[-1].replace('_', ' ')} {values[0]}")
        elif len(values) > 1 and name not in state.declared:
            said.append(f"Mixed {name}: {', '.join(values)}; these rows are not comparable with each other.")
    measured = [run for filled in state.filled.values() if filled.column.kind in MEASURED for run in filled.runs]
    for name, label in PACE.items():
        values = sorted({str(run.get(name)) for run in measured})
        if len(values) > 1:
            said.append(f"Mixed {label}: {', '.join(values)}; speeds and memory are not comparable.")
        elif label == "devices":
            plain += [f"device {value}" for value in values]
    lineages = {
        str(run.get("backbone.lineage"))
        for filled in state.filled.values()
        for run in filled.runs
        if run.get("backbone.lineage")
    }
    if lineages:
        plain.append("lineage " + "; ".join(sorted(lineages)))
    return (["Runs: " + ", ".join(plain) + "."] if plain else []) + said


def _settings(state: State) -> list[str]:
    """What the cells of a column differ in although no method is tuned by it, but for what the layout's rows name."""
    found: dict[str, set[str]] = {}
    columns: dict[str, list[Filled]] = defaultdict(list)
    for filled in state.filled.values():
        if filled.column.kind == "score" and filled.runs and filled.cell.value is not None:
            columns[filled.column.key].append(filled)
    for cells in columns.values():
        differing = setting.between([filled.runs[0] for filled in cells])
        names = sorted({filled.cell.metric for filled in cells})
        differing |= {"metric": names} if len(names) > 1 else {}
        for key, values in setting.condensed(differing).items():
            if key not in state.declared and key not in SETTINGS:
                found.setdefault(key, set()).update(values)
    if not found:
        return []
    said = setting.told({key: sorted(values) for key, values in found.items()})
    return [f"Not the same in all rows of a column: {said}."]


def _checkpoints(state: State) -> list[str]:
    """Say where runs chose their checkpoint on the very split that is reported, as some papers do."""
    tasks = {
        str(run.get("task"))
        for filled in state.filled.values()
        for run in filled.runs
        if run.trained and run.selection_split == run.primary_split and filled.column.kind == "score"
    }
    if not tasks:
        return []
    return [f"Checkpoints were chosen on the reported split itself (optimistic): {', '.join(sorted(tasks))}."]


def _trials(state: State) -> list[str]:
    """How many trials stand behind each row, and how the best was chosen."""
    counts: dict[str, set[int]] = {}
    rules = set()
    for filled in state.filled.values():
        tuned = filled.row.method not in UNTRAINED
        if tuned and filled.choice.runs and filled.row.value == "score":
            counts.setdefault(filled.row.label, set()).add(len(filled.choice.trials))
            rules.add(filled.choice.rule)
    if not rules - {"only"}:
        return []
    listed = ", ".join(f"{label} {'–'.join(map(str, sorted(n)))}" for label, n in counts.items())
    chosen = (
        "the reported split itself (as asked: selection=reported; scores are optimistic)"
        if "reported" in rules
        else "the validation split, among those with the most seeds"
    )
    cells = [filled for filled in state.filled.values() if filled.choice.rule == "validation"]
    same = {filled.cell.task for filled in cells if any(r.primary_split == "validation" for r in filled.runs)}
    if same:
        chosen += f", which is the reported split itself of {', '.join(sorted(same))} (scores are optimistic)"
    said = [f"Best trial by {chosen}; tuning trials: {listed}."]
    if len({frozenset(n) for n in counts.values()}) > 1:
        said.append("The numbers of trials are unequal, so the comparison favours the method with more.")
    return said


def _published(state: State, table: Table) -> list[str]:
    """Where the published values are from, and what `reproduced` means here."""
    cells = [cell for row in table.rows for cell in row.cells.values()]
    if not state.layout.reference:
        return []
    said = []
    sources = {
        cell.published_note.split(";")[0] for cell in cells if cell.published is not None and cell.published_note
    }
    if sources:
        said.append(f"Published values {'; '.join(sorted(sources))}.")
    if any(cell.published is None and cell.published_note for cell in cells):
        said.append("Cells without a published value: not on file.")
    if any(cell.verdict for cell in cells):
        said.append(
            f"Reproduced: equivalent within {points(state.options.margin)}, a margin declared beforehand "
            "(two one-sided tests, 95%, over the noise of seeds alone: both sides saw the same rows); one run is never "
            "enough, and what is not known of split or seeds leaves it open."
        )
        said += _reach(state, cells)
    whys = sorted({cell.verdict_why for cell in cells if cell.verdict == "not comparable"})
    if whys:
        said.append(f"Not comparable: {'; '.join(whys)}.")
    return said


def _reach(state: State, cells: list[Cell]) -> list[str]:
    """What so many seeds can reproduce at all."""
    counts = sorted({cell.n for cell in cells if cell.verdict and cell.n > 1})
    if not counts:
        return []
    most = counts[-1]
    alone, three = (largest_spread(most, published, state.options.margin) for published in (1, 3))
    return [
        f"With {most} seeds only cells whose seeds spread by less than {alone:.2f} points can be called reproduced "
        f"against one published run ({three:.2f} against three)."
    ]


def _kept_out(state: State, table: Table) -> list[str]:
    """Runs that are not in the table."""
    said = []
    if not table.rows:
        said.append("No run of the ledger matches.")
    if state.kept_out:
        said.append(f"Kept out (fixtures=true shows them): {state.kept_out} on synthetic rows or random weights.")
    if table.problems:
        said.append(f"Folders of the ledger that could not be read and are left out: {len(table.problems)}.")
    return said
