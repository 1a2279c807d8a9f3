"""Errors of the data side. Each message is one sentence or two: what was wrong, the value seen, the way on."""


class DataError(ValueError):
    """The data cannot be used as they are (nothing has been started yet)."""


class SourceUnavailable(DataError):
    """No source of a task's rows can be reached from here; the message names the ways on."""
