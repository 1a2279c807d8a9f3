"""What scripts/bench.py measures: one file for each bench."""

from pathlib import Path

BENCH = Path(__file__).resolve().parents[1] / "bench.py"  # what an arm's own process is started with
