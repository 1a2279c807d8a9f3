"""Score a finished run on another task: `python scripts/evaluate.py run=<run_id> task=<suite>/<task>[,<task>...]`.

Any task of the run's answer form, test-only sets among them (the out-of-domain sets of MRQA). Nothing is trained; each
scoring is a record of its own in the ledger, named by the run's tensors and the target's data, and found again when
asked for twice. Labels answer with the words that the run learned (duplicate for equivalent).

    python scripts/evaluate.py run=1a2b task=mrqa/bioasq,mrqa/drop
    python scripts/evaluate.py run=1a2b,3c4d task=glue/mrpc data=local data.root=../shared/data
    python -m results.tables rows=transfer.from cols=transfer.to method=pt        the source x target map

    options: run=<ids>  task=<tasks>  ledger=<folder>  cache=<folder>  device=<cpu|cuda>, and data=, data.*, runner.*

A run scored on its own task as well (the diagonal of the map) gives its own numbers again.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path[:] = [str(ROOT), *(p for p in sys.path if p != str(ROOT / "scripts"))]  # scripts/ names some packages

from results.command_line import command  # noqa: E402
from results.files import refusal  # noqa: E402

OPTIONS = ("run", "task", "ledger", "cache", "device")
SPELLED = {"ledger.root": "ledger", "cache.root": "cache"}  # as the other commands have them


@command
def main(arguments: Sequence[str]) -> int:
    """One line per scoring; 2 where a run or a task cannot be scored (the others are), 1 where one fails."""
    os.environ.setdefault("TRANSFORMERS_VERBOSITY", "error")
    if not arguments or arguments[0] in ("-h", "--help"):
        print(__doc__)
        return 0 if arguments else 2
    from results.ledger import root_of
    from runners.finished import load_finished
    from runners.transfer import score_on

    pairs = [(SPELLED.get(key, key), value, text) for text in arguments for key, _, value in [text.partition("=")]]
    given = {key: value for key, value, _ in pairs if key in OPTIONS}
    changes = [text for key, _, text in pairs if key not in OPTIONS]
    if not given.get("run") or not given.get("task"):
        print("give run=<run_id> and task=<suite>/<task>; see --help", file=sys.stderr)
        return 2
    root = root_of(given.get("ledger"), "ledger")
    code = 0
    for prefix in given["run"].split(","):
        try:
            finished = load_finished(root, prefix, given.get("device", "cpu"), given.get("cache"))
        except (ValueError, OSError) as error:
            code = refused(f"run={prefix}", error)
            continue
        for task in given["task"].split(","):
            try:
                outcome = score_on(root, finished, task, changes, given.get("cache"))
            except (ValueError, OSError) as error:
                code = refused(f"run={prefix} task={task}", error)
                continue
            print(f"{task}: {outcome.line}{' (already)' if outcome.skipped else ''}", flush=True)
            code = max(code, outcome.exit_code)
    return code


def refused(what: str, error: Exception) -> int:
    """Say why one scoring is not made; the others are."""
    problems: Sequence[str] = getattr(error, "problems", None) or [
        refusal(error) if isinstance(error, OSError) else str(error)
    ]
    print("\n".join(f"{what}: {problem}" for problem in problems), file=sys.stderr, flush=True)
    return 2


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
