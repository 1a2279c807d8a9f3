"""Errors of the data side. Each message is one sentence or two: what was wrong, the value seen, the way on."""

LONGEST = 1500


def brief(message: str) -> str:
    """A message whose lines can be read: of one that quotes a whole file the middle is left out, the way on is kept."""
    lines = message.split("\n")
    return "\n".join(
        line if len(line) <= LONGEST else f"{line[:900]} […{len(line) - 1400} characters more…] {line[-500:]}"
        for line in lines
    )


class DataError(ValueError):
    """The data cannot be used as they are (nothing has been started yet)."""

    def __init__(self, message: str) -> None:
        super().__init__(brief(message))


class SourceUnavailable(DataError):
    """No source of a task's rows can be reached from here; the message names the ways on."""
