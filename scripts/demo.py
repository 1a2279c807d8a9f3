"""`make demo`: a real backbone, a real data set, PT and DePT beside the rows that give their numbers a meaning.

    python scripts/demo.py [METHODS=all] [key=value ...]

Runs are kept in the ledger: a second start trains nothing and prints the same table.
"""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
BASE = ("experiment=demo",)
ROWS: dict[str, list[str]] = {
    "majority class": ["method=majority"],
    "zero-shot, digits as labels": ["method=none"],
    "zero-shot, words as labels": ["method=none", "protocol.label_words=words", "task.decoder_cue='sentiment:'"],
    "PT": ["method=pt", "method.prompt_length=20"],
    # its untrained row is PT's: with B = 0 the offsets are zero, so it is not measured twice
    "DePT": ["method=dept", "method.prompt_length=12", "method.rank=5", "runner.evaluate_untrained=false"],
}
MORE: dict[str, list[str]] = {
    "ADePT": ["method=adept", "method.prompt_length=12", "method.rank=4", "runner.evaluate_untrained=false"],
    "ACCEPT": ["method=accept", "method.prompt_length=12", "runner.evaluate_untrained=false"],
    "prefix": ["method=prefix", "method.prefix_length=8"],
    "APT": ["method=apt", "method.prefix_length=8", "runner.evaluate_untrained=false"],
}


def main(arguments: Sequence[str]) -> int:
    """Run what is missing, then print the table and draw the learning curves; returns the exit code."""
    from conf.compose import ConfigError, compose
    from runners.job import run_point

    rows = dict(ROWS)
    if "METHODS=all" in arguments:
        rows |= MORE
    extra = [a for a in arguments if not a.startswith("METHODS=")]
    begun, trained = time.monotonic(), 0
    for number, (name, overrides) in enumerate(rows.items(), start=1):
        print(f"[{number}/{len(rows)}] {name}: python run.py {' '.join([*BASE, *overrides, *extra])}", flush=True)
        try:
            outcome = run_point(compose([*BASE, *overrides, *extra]))
        except ConfigError as error:
            print(error, file=sys.stderr)
            return 2
        if outcome.reason and outcome.status != "done":
            print(outcome.reason, file=sys.stderr)
        print(f"      {outcome.line}{' (in the ledger)' if outcome.skipped else ''}", flush=True)
        if outcome.exit_code:
            return outcome.exit_code
        trained += not outcome.skipped
    print(f"\n{trained} runs made, {len(rows) - trained} found in the ledger, {time.monotonic() - begun:.0f} s\n", flush=True)
    return show(extra)


def show(extra: Sequence[str]) -> int:
    """The table on standard output; Markdown, CSV, LaTeX and the plot under results/demo/."""
    out = ROOT / "results" / "demo"
    out.mkdir(exist_ok=True)
    ledger = [a for a in extra if a.startswith("ledger.root=")]
    tables = [sys.executable, "-m", "results.tables", "paper=demo", *ledger]
    for form, suffix in (("markdown", "md"), ("csv", "csv"), ("latex", "tex")):
        code = subprocess.run([*tables, f"format={form}", f"out={out / f'table.{suffix}'}"], cwd=ROOT).returncode
        if code:
            return code
    print((out / "table.md").read_text(encoding="utf-8"))
    plot = [sys.executable, "-m", "results.plots", "curves", "paper=demo", f"out={out}", *ledger]
    code = subprocess.run(plot, cwd=ROOT).returncode
    print("written: " + ", ".join(str(p.relative_to(ROOT)) for p in sorted(out.iterdir())))
    return code


if __name__ == "__main__":
    sys.path.insert(0, str(ROOT))
    sys.exit(main(sys.argv[1:]))
