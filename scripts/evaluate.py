"""Score a finished run on another task: `python scripts/evaluate.py run=<run_id> task=<suite>/<task>[,<task>...]`.

Any task of the run's answer form, test-only sets among them (the out-of-domain sets of MRQA). Nothing is trained; each
scoring is a record of its own in the ledger, named by the run's tensors and the target's data, and found again when
asked for twice. Labels answer with the words that the run learned (duplicate for equivalent).

    python scripts/evaluate.py run=1a2b task=mrqa/bioasq,mrqa/drop
    python scripts/evaluate.py run=1a2b,3c4d task=glue/mrpc data=local data.root=../shared/data
    python -m results.tables rows=transfer.from cols=transfer.to method=pt        the source x target map

    options: run=<ids>  task=<tasks>  ledger=<folder>  cache=<folder>  device=<cpu|cuda>, and data=, data.*, runner.*
"""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path[:] = [str(ROOT), *(p for p in sys.path if p != str(ROOT / "scripts"))]  # scripts/ names some packages
OPTIONS = ("run", "task", "ledger", "cache", "device")


def main(arguments: Sequence[str]) -> int:
    """One line per scoring; 2 where a run or a task cannot be scored, 1 where one fails."""
    os.environ.setdefault("TRANSFORMERS_VERBOSITY", "error")
    if not arguments or arguments[0] in ("-h", "--help"):
        print(__doc__)
        return 0 if arguments else 2
    from conf.resolve import ConfigError
    from results.ledger import default_root
    from runners.transfer import score_on

    given = {key: value for key, _, value in (text.partition("=") for text in arguments) if key in OPTIONS}
    changes = [text for text in arguments if text.partition("=")[0] not in OPTIONS]
    root = Path(given["ledger"]).expanduser() if "ledger" in given else default_root()
    code = 0
    try:
        if not given.get("run") or not given.get("task"):
            raise ValueError("give run=<run_id> and task=<suite>/<task>; see --help")
        for prefix in given["run"].split(","):
            for task in given["task"].split(","):
                outcome = score_on(root, prefix, task, changes, given.get("device", "cpu"), given.get("cache"))
                print(f"{task}: {outcome.line}{' (already)' if outcome.skipped else ''}", flush=True)
                code = max(code, outcome.exit_code)
    except ConfigError as error:
        print("\n".join(error.problems), file=sys.stderr)
        return 2
    except (ValueError, OSError) as error:
        print(error, file=sys.stderr)
        return 2
    return code


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
