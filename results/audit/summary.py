"""The audit of quoted claims as one HTML table, for the report page."""

from __future__ import annotations

import html
from collections import Counter

from results.audit.claims import Assessed, assess, read
from results.audit.pairs import MEANINGS

HEAD = ("claim, read on", "cells", "R", "U", "N", "told apart after Holm")


def summary_table() -> str:
    """A `<table>` with a row per claim and table; its caption says what is assumed and where the whole page is."""
    found = [assessed for claim in read()[0] for assessed in assess(claim) if assessed.family is not None]
    meanings = "; ".join(f"{letter}: {said}" for letter, said in MEANINGS.items())
    caption = (
        "Audit: what the test sets of quoted claims can carry, from published numbers alone (docs/audit.md, "
        f"`make audit`). {meanings}. N holds for single runs. That two numbers cannot be told apart is no evidence "
        "that they are equal."
    )
    heads = "".join(f'<th scope="col">{html.escape(text)}</th>' for text in HEAD)
    rows = "\n".join(_row(assessed) for assessed in found)
    return (
        f'<table class="paper" id="audit"><caption>{html.escape(caption)}</caption>\n'
        f"<thead><tr>{heads}</tr></thead>\n<tbody>\n{rows}\n</tbody></table>\n"
    )


def _row(found: Assessed) -> str:
    counts = Counter(pair.verdict.letter for pair in found.judged if pair.verdict)
    claim = found.claim
    name = f"{claim.method} less {claim.comparator}, {found.table}, {found.reading}"
    numbers = "".join(f'<td data-value="{n}">{n}</td>' for n in (len(found.judged), *(counts[x] for x in "RUN")))
    words = found.family.words if found.family else ""
    title = html.escape(f'"{claim.quote}" ({claim.place})', quote=True)
    return f'<tr><th scope="row" title="{title}">{html.escape(name)}</th>{numbers}<td>{html.escape(words)}</td></tr>'
