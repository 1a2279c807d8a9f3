"""The sentences under a table: what was averaged, chosen, kept out, and what could be told apart."""

from __future__ import annotations

from typing import TYPE_CHECKING

from results.tables.layout import FACETS
from results.tables.model import Table

if TYPE_CHECKING:
    from results.tables.build import State


def sentences(state: State, table: Table) -> list[str]:
    """The caption, one sentence per entry."""
    said = [table.title + "." if table.title and not table.title.endswith(".") else table.title]
    said += [text for text in state.layout.caption]
    said += [_spread(state, table), *_facets(state), *_trials(state), *_kept_out(state, table)]
    return [text for text in said if text]


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
    text = f"Points; ± is the {' or the '.join(parts)}" if parts else "Points"
    return text + "; the number of runs stands in brackets."


def _facets(state: State) -> list[str]:
    """Backbone, protocol and fidelity; loudly where they are mixed."""
    said = []
    plain = []
    for name in FACETS:
        values = sorted({str(run.get(name)) for filled in state.filled.values() for run in filled.runs})
        if len(values) == 1 and values != ["None"]:
            plain.append(f"{name.split('.')[-1].replace('_', ' ')} {values[0]}")
        elif len(values) > 1 and name not in state.declared:
            said.append(f"Mixed {name}: {', '.join(values)}; these rows are not comparable with each other.")
    lineages = {
        str(run.get("backbone.lineage"))
        for filled in state.filled.values()
        for run in filled.runs
        if run.get("backbone.lineage")
    }
    if lineages:
        plain.append("lineage " + "; ".join(sorted(lineages)))
    return (["Runs: " + ", ".join(plain) + "."] if plain else []) + said


def _trials(state: State) -> list[str]:
    """How many trials stand behind each row, and how the best was chosen."""
    counts: dict[str, set[int]] = {}
    rules = set()
    for filled in state.filled.values():
        if filled.choice.trials and filled.row.value == "score":
            counts.setdefault(filled.row.label, set()).add(len(filled.choice.trials))
            rules.add(filled.choice.rule)
    if not rules - {"only"}:
        return []
    listed = ", ".join(f"{label} {'–'.join(map(str, sorted(n)))}" for label, n in counts.items())
    chosen = (
        "the reported split itself (as asked: selection=reported; scores are optimistic)"
        if "reported" in rules
        else "the validation split"
    )
    said = [f"Best trial by {chosen}; tuning trials: {listed}."]
    if len({frozenset(n) for n in counts.values()}) > 1:
        said.append("The numbers of trials are unequal, so the comparison favours the method with more.")
    return said


def _kept_out(state: State, table: Table) -> list[str]:
    """Runs that are not in the table."""
    said = []
    if state.kept_out:
        said.append(
            f"{state.kept_out} runs on synthetic rows or random weights are kept out (fixtures=true shows them)."
        )
    if table.problems:
        said.append(f"{len(table.problems)} folders of the ledger could not be read and are left out.")
    return said
