"""docs/tasks.md is what the YAMLs say."""

from __future__ import annotations

import pytest

from scripts import docs_tasks
from tests.tasks_rig import PROTOCOLS, TASKS


def test_the_page_is_up_to_date(capsys: pytest.CaptureFixture[str]) -> None:
    assert docs_tasks.main(["--check"]) == 0, capsys.readouterr().out


def test_every_task_and_protocol_is_on_it() -> None:
    page = docs_tasks.PLACE.read_text(encoding="utf-8")
    assert all(f"[`{name}`](" in page for name in TASKS) and all(f"| `{name}` |" in page for name in PROTOCOLS)
    assert "author {" not in page and "repeat_option: True" in page
