"""What the tests of tasks share: the YAMLs as dataclasses, loaded the way a run does without Hydra."""

from __future__ import annotations

import os
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import yaml

from tasks.config import DataConfig, ProtocolConfig, TaskConfig

ROOT = Path(__file__).resolve().parent.parent
TASKS = sorted(str(p.relative_to(ROOT / "conf/task"))[:-5] for p in (ROOT / "conf/task").glob("*/*.yaml"))
PROTOCOLS = sorted(p.stem for p in (ROOT / "conf/protocol").glob("*.yaml"))
FAMILIES = ("t5", "llama", "encoder")


@cache
def _values(group: str, name: str) -> str:
    return (ROOT / "conf" / group / f"{name}.yaml").read_text(encoding="utf-8")


def task_of(name: str, **changes: Any) -> TaskConfig:
    """A task's YAML; an unknown key is an error."""
    return TaskConfig(**(yaml.safe_load(_values("task", name)) | changes))


def protocol_of(name: str, fidelity: str | None = None, **changes: Any) -> ProtocolConfig:
    """A protocol's YAML, its switches filled where a fidelity is named."""
    values = yaml.safe_load(_values("protocol", name))
    values["style"] = values["style"] or name  # where the protocol's recipe says it
    for block in values.get("recipe") or []:
        for key, value in () if block.get("when") else block["set"].items():
            group, _, field = key.partition(".")
            if group == "protocol" and values[field] is None:
                values[field] = value
    filled = values["defaults_by_fidelity"][fidelity] if fidelity else {}
    return ProtocolConfig(**(values | {k: v for k, v in filled.items() if values[k] is None} | changes))


FIXTURE = DataConfig(name="fixture", source="fixture")


def shared_data() -> Path:
    """The folder with real data that are not part of the project; the test is skipped where it is not there."""
    place = Path(os.environ.get("BENCH_SHARED", ROOT.parent / "shared")) / "data"
    if not place.is_dir():
        pytest.skip("no shared data beside the repository (set BENCH_SHARED to the folder that holds data/)")
    return place
