"""The claims of a page: quotes, their cells, and what the cells can carry."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence

from results.audit.claims import Assessed, Claim, assess
from results.audit.judge import Judged
from tasks.metrics import of_nature


def claims_text(claims: Sequence[Claim]) -> list[str]:
    """The quoted claims with their cells; a claim without cells on file is named and not judged."""
    if not claims:
        return ["### Claims\n", "No sentence of this paper is on file: the columns above are descriptive.\n"]
    out = ["### Claims\n"]
    for number, claim in enumerate(claims, start=1):
        named = "named in the sentence" if claim.names else "not named in the sentence"
        chosen = f"; {claim.chosen}" if claim.chosen else ""
        out.append(f'{number}. "{claim.quote}" ({claim.place}). Comparator: {claim.comparator} ({named}{chosen}).\n')
        found = assess(claim)
        if not found:
            out.append("Not judged: none of the cells that it is about is on file.\n")
        for assessed in found:
            out += _assessed(assessed)
    return out


def _assessed(found: Assessed) -> list[str]:
    where = f"{found.table}, {'each task' if found.reading == 'tasks' else 'averages alone'}"
    where += "" if found.paper == found.claim.paper else f" (as transcribed in {found.paper}'s table)"
    if found.family is None:
        return [f"{where}: not judged.\n"]
    head = (
        "task",
        "metric",
        found.claim.method,
        found.claim.comparator,
        "difference",
        "SE",
        "p unpaired",
        "examples",
        "verdict",
    )
    lines = [row(head), row(["---", "---", *["---:"] * 6, "---"])]
    lines += [row(_pair(pair)) for pair in found.pairs]
    notes = Counter(note for pair in found.judged for note in pair.notes)
    said = "; ".join(note if count == len(found.judged) else f"{note} ({count})" for note, count in notes.items())
    left = [f"{pair.task} {pair.a.metric}: {pair.why_not}" for pair in found.pairs if pair.verdict is None]
    text = f"{where}: after Holm {found.family.words}."
    text += f" {said[:1].upper() + said[1:]}." if said else ""
    text += f" Not audited: {'; '.join(left)}." if left else ""
    return [text + "\n", *lines, ""]


def _pair(pair: Judged) -> list[str]:
    a, b = pair.a, pair.b
    d = f"{100 * pair.d.value:+.{a.decimals}f} ± {100 * pair.d.width:.{max(a.decimals, 1) + (a.derived or b.derived)}f}"
    numbers = [f"{cell.value:.{cell.decimals}f}" for cell in (a, b)]
    if pair.verdict is None or pair.error is None:
        return [pair.task, a.metric, *numbers, d, "–", "–", "–", f"not audited: {pair.why_not}"]
    scale = " (z)" if a.metric in of_nature("correlation") else ""
    error = f"{pair.error.high:.3f}{scale}" if scale else span(pair.error.low, pair.error.high)
    items = "–" if pair.verdict.items is None else f"≤ {pair.verdict.items}"
    return [pair.task, a.metric, *numbers, d, error, _p(pair.verdict.p_unpaired), items, verdict_cell(pair)]


def _p(value: float) -> str:
    return "< 0.001" if value < 0.001 else f"{value:.3f}"


def verdict_cell(pair: Judged) -> str:
    """The letter, with what it hangs on."""
    verdict = pair.verdict
    if verdict is None:
        return "–"
    if verdict.letter == "N" and verdict.assumes_single:
        return "N if single runs"
    return verdict.letter + (" (rounding could undo it)" if verdict.rounding_decides else "")


def span(low: float, high: float) -> str:
    """A standard error in points, as a range where it is one."""
    first, second = f"{100 * low:.1f}", f"{100 * high:.1f}"
    return second if first == second else f"{first}–{second}"


def row(cells: Iterable[str]) -> str:
    """One line of a Markdown table."""
    return "| " + " | ".join(str(cell).replace("|", "\\|") for cell in cells) + " |"
