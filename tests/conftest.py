"""The pretend device has to be there before a process's first backward pass (tests/pretend.py)."""

from __future__ import annotations

from tests import pretend

pretend.register()
