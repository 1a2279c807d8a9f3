"""What refuses a run."""

from __future__ import annotations


class Refused(ValueError):
    """A configuration that cannot run, said before anything is trained."""
