"""What a sweep shows while it runs: on a terminal a bar for each run, in a log lines, and each result as it comes."""

from __future__ import annotations

import fcntl
import os
import pty
import re
import struct
import subprocess
import sys
import termios
from pathlib import Path

import pytest

from tests.running import ROOT, environment, overrides

# lines come at once, so that a short sweep has some
HURRIED = (
    "import sys; sys.argv[0] = 'run.py'; import runners.progress as p; p.SECONDS = 0.0; "
    "import run; sys.exit(run.main(sys.argv[1:]))"
)


def sweep(root: Path, *more: str) -> list[str]:
    grid = ["-m", *overrides(root, "runner.max_steps=6", "method.lr.prompt=0.1,0.3"), *more]
    return [sys.executable, "-c", HURRIED, *grid]


def on_a_terminal(command: list[str]) -> str:
    ours, theirs = pty.openpty()
    fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 40, 200, 0, 0))
    alone = {name: value for name, value in environment().items() if name != "TQDM_DISABLE"}  # run.py sets it in a log
    process = subprocess.Popen(command, stdin=theirs, stdout=theirs, stderr=theirs, env=alone, cwd=ROOT)
    os.close(theirs)
    said = b""
    while True:
        try:
            part = os.read(ours, 65536)
        except OSError:  # the other side is gone
            break
        if not part:
            break
        said += part
    os.close(ours)
    assert process.wait(timeout=60) == 0, said.decode(errors="replace")
    return said.decode(errors="replace")


@pytest.mark.parametrize("launcher", ["packed", "basic"])
def test_a_log_has_lines_of_every_run_and_its_result(launcher: str, tmp_path: Path) -> None:
    done = subprocess.run(
        sweep(tmp_path, f"hydra/launcher={launcher}"), capture_output=True, text=True, env=environment(), cwd=ROOT
    )
    assert done.returncode == 0 and "\r" not in done.stderr, done.stderr
    lines = done.stderr.splitlines()
    for rate in ("0.1", "0.3"):
        if launcher == "packed":
            steps = [line for line in lines if re.match(rf"lr.prompt={rate}: step \d of 6, loss \d.*, \S+ left", line)]
            assert len(steps) == 6, done.stderr
            assert [line for line in lines if re.match(rf"run \w+ done accuracy=\S+  lr.prompt={rate}$", line)]
    if launcher == "basic":
        assert len([line for line in lines if re.match(r"  run \w+ done accuracy=", line)]) == 2, done.stderr


def test_a_terminal_has_a_bar_for_every_run_and_keeps_its_result(tmp_path: Path) -> None:
    said = on_a_terminal(sweep(tmp_path, "hydra/launcher=packed"))
    for rate in ("0.1", "0.3"):
        assert re.search(rf"lr.prompt={rate}: +\d+%\|.*\d/6 .*loss=", said), said
        assert re.search(rf"run \w+ done accuracy=\S+  lr.prompt={rate}", said), said


def test_processes_side_by_side_say_whose_lines_are_whose(tmp_path: Path) -> None:
    """joblib: every line begins with its run, and what varies is said once for each of them."""
    pytest.importorskip("hydra_plugins.hydra_joblib_launcher")
    (tmp_path / "sitecustomize.py").write_text("import runners.progress\nrunners.progress.SECONDS = 0.0\n")
    grid = [*overrides(tmp_path, "runner.max_steps=6"), "method.lr.prompt=0.1,0.3"]
    words = [sys.executable, "run.py", "-m", *grid, "hydra/launcher=joblib", "hydra.launcher.n_jobs=2"]
    done = subprocess.run(
        words, capture_output=True, text=True, cwd=ROOT,
        env=environment(PYTHONPATH=f"{ROOT}{os.pathsep}{tmp_path}"),
    )  # fmt: skip
    assert done.returncode == 0 and "\r" not in done.stderr, done.stderr
    lines = done.stderr.splitlines()
    for run_id in (path.name for path in (tmp_path / "runs").iterdir() if not path.name.startswith(".")):
        own = [line for line in lines if run_id in line]
        steps = [line for line in own if re.search(r": step \d of 6, .*\S+ left$", line)]
        assert len(steps) == 6, done.stderr
        assert len([line for line in own if re.match(rf"run {run_id} done accuracy=\S+$", line)]) == 1, done.stderr
        assert len([line for line in own if re.match(rf"run {run_id}: lr.prompt=0.[13]$", line)]) == 1, done.stderr
    assert all(re.match(r"run [0-9a-f]{16}[: ]", line) for line in lines[1:]), done.stderr  # the first is the plan's
