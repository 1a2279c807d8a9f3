"""Running run.py from tests: in this process (fast), or as a command (signals, exit codes, several processes)."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import torch

from conf.compose import compose
from results.ledger import Ledger
from runners.job import run_point
from runners.outcome import Outcome

ROOT = Path(__file__).resolve().parents[1]
SMOKE = ("data=fixture", "runner=smoke", "runner.device=cpu")


def overrides(root: Path, *more: str) -> list[str]:
    """A small run on fixture rows with its own ledger and cache; `more` wins."""
    chosen = ["method=pt", "task=superglue/boolq", "backbone=tiny_llama", *SMOKE]
    keys = {text.split("=", 1)[0] for text in more}
    return [c for c in chosen if c.split("=", 1)[0] not in keys] + [
        f"ledger.root={root / 'runs'}",
        f"cache.root={root / 'cache'}",
        *more,
    ]


def run_here(root: Path, *more: str) -> Outcome:
    """One run in this process."""
    torch.set_num_threads(1)
    return run_point(compose(overrides(root, *more)))


def environment(**more: str) -> dict[str, str]:
    return os.environ | {"OMP_NUM_THREADS": "1", "HF_HUB_OFFLINE": "1", "PYTHONPATH": str(ROOT)} | more


def command(root: Path, *more: str) -> list[str]:
    return [sys.executable, str(ROOT / "run.py"), *overrides(root, *more)]


def start(root: Path, *more: str, **options: Any) -> subprocess.Popen[str]:
    """run.py as a process of its own."""
    return subprocess.Popen(
        command(root, *more), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environment(), **options
    )


def finish(process: subprocess.Popen[str], timeout: float = 180) -> tuple[int, str, str]:
    """(exit code, last line, standard error) of a process."""
    out, err = process.communicate(timeout=timeout)
    return process.returncode, out.strip().splitlines()[-1] if out.strip() else "", err


def record(root: Path) -> dict[str, Any]:
    """The one record of a test's ledger."""
    (found,) = Ledger(root / "runs").records()
    return found


def folder(root: Path) -> Path:
    """The one run folder of a test's ledger."""
    (found,) = [path for path in (root / "runs").iterdir() if path.is_dir()]
    return found


def log_without_times(path: Path) -> list[dict[str, Any]]:
    """metrics.jsonl without what depends on the clock."""
    from results.files import read_lines

    return [
        {key: value for key, value in row.items() if key != "examples_per_second"}
        for row in read_lines(path / "metrics.jsonl")
    ]
