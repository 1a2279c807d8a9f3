"""What a user's choice of a backbone can be told, as one sentence (exit code 2), never as a traceback."""

from __future__ import annotations

from collections.abc import Sequence


class BackboneError(ValueError):
    """A backbone cannot be loaded or is not used rightly; the message says what, and what helps."""


class NoNumber(ArithmeticError):
    """What a model gives for a row is no number, so that whatever is taken for its answer is none."""

    def __init__(self, rows: Sequence[str], of: int) -> None:
        """Of the ids of these rows, and of how many there were in the batch."""
        super().__init__(
            f"the model gives no number (NaN or infinity) for {len(rows)} of {of} rows (first: {rows[0]!r}): its "
            "weights or activations leave the range of runner.precision, so nothing was scored; try "
            "runner.precision=fp32 (or bf16 instead of fp16)"
        )


def first_line(error: BaseException) -> str:
    """The first line of what a library says, for the end of a sentence of ours."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    text = lines[0] if lines else "no text"
    return f"{type(error).__name__}: {text[:300]}"
