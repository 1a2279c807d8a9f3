"""What a user's choice of a backbone can be told, as one sentence (exit code 2), never as a traceback."""

from __future__ import annotations


class BackboneError(ValueError):
    """A backbone cannot be loaded or is not used rightly; the message says what, and what helps."""


def first_line(error: BaseException) -> str:
    """The first line of what a library says, for the end of a sentence of ours."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    text = lines[0] if lines else "no text"
    return f"{type(error).__name__}: {text[:300]}"
