"""What every test stands on: the pretend device (tests/pretend.py) has to be there before a process's first backward
pass, and folders of one's own that a test uses are no later test's."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from conf import choices
from tests import pretend

pretend.register()


@pytest.fixture(autouse=True)
def _no_folders_of_earlier_tests(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setenv(choices.ENVIRONMENT, "")
    monkeypatch.setattr(choices, "GIVEN", [])
    yield
