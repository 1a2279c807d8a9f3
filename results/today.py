"""Whether a run was made by the code that is here now."""

from __future__ import annotations

from results.records import Run, lookup
from results.source_code import code_that_counts


def code_of_today(run: Run) -> bool:
    """Whether the code behind a run, as its identity noted it, is what is here now; so of a record without a note.

    Of a method of one's own that is edited again and again, the runs of its present file are those that are meant.
    """
    then = lookup(run.record, "identity.contents")
    if then is None:
        return True
    try:
        now = code_that_counts(lookup(run.config, "method.target"), lookup(run.config, "method.path"))
    except (ValueError, OSError):  # its file is not here
        return False
    return bool((then.get("source") or {}) == now)
