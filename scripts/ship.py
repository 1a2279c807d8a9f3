"""Take the code as it stands as the shipped one, once the stored numbers hold.

    python scripts/ship.py            # measure, compare, and renew results/shipped/
    python scripts/ship.py --check    # say what differs, write nothing (exit code 1 where something does)

A run's id counts the tokens of every file that is not as it shipped. This command renews the list of shipped files, so
that a change which moves no number renames no run. Where a number has moved, it asks for a raised version: of the
method, the task, the protocol or the backbone in its YAML; then the new numbers are stored beside the new version.
"""

from __future__ import annotations

import hashlib
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
sys.path[:] = [str(ROOT), *(p for p in sys.path if p != str(ROOT / "scripts"))]  # scripts/ names some packages

from results.command_line import command  # noqa: E402
from results.files import write_text  # noqa: E402
from results.source_code import SHIPPED, engine_files, source_sha256  # noqa: E402
from scripts.stored_numbers import Entry, differs, entries, verdict  # noqa: E402

NUMBERS = SHIPPED.with_name("numbers.json")


def sources() -> dict[str, dict[str, str]]:
    """The hashes of every tracked file of the engine and of every tracked method."""
    tracked = subprocess.run(["git", "ls-files", "*.py"], cwd=ROOT, capture_output=True, text=True, check=True).stdout
    files = {path.relative_to(ROOT).as_posix(): path for path in [*engine_files(), *(ROOT / "methods").glob("*.py")]}
    return {
        name: {"bytes": hashlib.sha256(files[name].read_bytes()).hexdigest(), "tokens": source_sha256(files[name])}
        for name in sorted(set(tracked.split()) & set(files))
    }


def measured() -> dict[str, Entry]:
    """Every stored name with what it gives now."""
    found = {name: measure() for name, measure in entries()}
    return {name: entry for name, entry in found.items() if entry is not None}


def _write(path: Path, value: Any) -> None:
    write_text(path, json.dumps(value, indent=1, sort_keys=True) + "\n")


@command
def main(arguments: list[str]) -> int:
    """0 where all is as stored or was renewed; 1 where a number moved without a version (or, --check, differs)."""
    if {"-h", "--help"} & set(arguments):
        print(__doc__)
        return 0
    if unknown := [word for word in arguments if word != "--check"]:
        print(f"{unknown[0]}: --check is the one option", file=sys.stderr)
        return 2
    stored = json.loads(NUMBERS.read_text(encoding="utf-8")) if NUMBERS.exists() else {}
    now = measured()
    wrong = [f"{name}: {why}" for name, entry in now.items() if (why := verdict(stored.get(name), entry))]
    if wrong:
        print("\n".join(wrong), file=sys.stderr)
        return 1
    if "--check" in arguments:
        same = json.loads(SHIPPED.read_text(encoding="utf-8")) == sources() and set(stored) == set(now)
        print("as shipped" if same else "no number has moved; python scripts/ship.py takes the code as it is")
        return 0 if same else 1
    # what has not moved keeps its stored digits, whatever the machine
    kept = {name: stored[name] if _as_stored(stored.get(name), entry) else entry for name, entry in now.items()}
    _write(NUMBERS, kept)
    files = sources()
    _write(SHIPPED, files)
    print(f"results/shipped/: {len(files)} files, {len(kept)} numbers")
    return 0


def _as_stored(stored: Entry | None, now: Entry) -> bool:
    return stored is not None and stored["versions"] == now["versions"] and not differs(stored["values"], now["values"])


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
