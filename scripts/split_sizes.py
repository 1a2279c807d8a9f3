"""Size and classes of each task's reported split, per protocol, for the audit: results/audit/sizes.yaml.

    python scripts/split_sizes.py data.root=../shared/data            write results/audit/sizes.yaml
    python scripts/split_sizes.py data.root=../shared/data --check    compare what is at hand with what is recorded

Where the data are under data.root the rows of the protocol's own split are counted; else the size follows from the
published row counts of conf/task and the classes stay unknown.
"""

from __future__ import annotations

import sys
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import yaml

ROOT = Path(__file__).resolve().parents[1]
sys.path[:] = [str(ROOT), *(p for p in sys.path if p != str(ROOT / "scripts"))]  # scripts/ names some packages

from results.command_line import command, place  # noqa: E402
from results.files import write_text  # noqa: E402
from tasks.config import ProtocolConfig, TaskConfig  # noqa: E402
from tasks.errors import DataError  # noqa: E402
from tasks.kinds import kind_of  # noqa: E402
from tasks.local import local_files  # noqa: E402
from tasks.reading import read_rows  # noqa: E402
from tasks.rows import canonical, label_column  # noqa: E402
from tasks.splits import Part, parts_of  # noqa: E402

PLACE = ROOT / "results/audit/sizes.yaml"
PROTOCOLS = ("dept", "lester", "official")
HEAD = """# Sizes of reported splits, made by `python scripts/split_sizes.py data.root=../shared/data`; do not edit.
# counted: rows of the data at hand (../shared/data, its MANIFEST names the sources); else from the published row
# counts in conf/task. classes: gold rows per class; groups: questions (MultiRC).
"""


@command
def main(arguments: Sequence[str]) -> int:
    """0 written or equal, 1 what is recorded differs from what is at hand, 2 the arguments are wrong."""
    if {"-h", "--help"} & set(arguments):
        print(__doc__)
        return 0
    check = "--check" in arguments
    given = dict(word.partition("=")[::2] for word in arguments if word != "--check")
    if set(given) != {"data.root"}:
        print(__doc__, file=sys.stderr)
        return 2
    found = sizes(place(given["data.root"]))
    if not check:
        write_text(PLACE, HEAD + text_of(found))
        print(f"wrote {PLACE.name}: {len(found)} tasks")
        return 0
    wrong = differences(found, yaml.safe_load(PLACE.read_text(encoding="utf-8")))
    print("\n".join(wrong) or "equal to what is recorded")
    return 1 if wrong else 0


def sizes(root: Path) -> dict[str, dict[str, Any]]:
    """Task -> kind and, per protocol, what its reported split holds."""
    found: dict[str, dict[str, Any]] = {}
    for path in sorted((ROOT / "conf/task").glob("*/*.yaml")):
        task = TaskConfig(**yaml.safe_load(path.read_text(encoding="utf-8")))
        rows = rows_at_hand(task, root)
        of: dict[str, Any] = {"kind": task.kind}
        for name in PROTOCOLS:
            values = yaml.safe_load((ROOT / f"conf/protocol/{name}.yaml").read_text(encoding="utf-8"))
            protocol = ProtocolConfig(**values)
            try:
                of[name] = reported(task, protocol, rows)
            except DataError:
                continue  # a protocol without a reported split of this task
        found[task.name] = of
    return found


def rows_at_hand(task: TaskConfig, root: Path) -> dict[str, list[dict[str, Any]]]:
    """Official split -> canonical rows, for the splits that are whole at hand (as many rows as were published)."""
    try:
        files = local_files(task, root)
    except DataError:
        return {}
    read = {name: canonical(task, name, read_rows(path), str(path)) for name, path in files.items() if name != "train"}
    return {name: rows for name, rows in read.items() if len(rows) == task.rows.get(name)}


def reported(task: TaskConfig, protocol: ProtocolConfig, rows: dict[str, list[dict[str, Any]]]) -> dict[str, Any]:
    """Size, and where the rows are at hand classes and groups, of the split that a protocol reports."""
    parts = parts_of(task, protocol, dict(task.rows))
    part: Part = parts.get(protocol.report_split) or parts.get("test") or parts["validation"]
    indices = part.indices(task.rows[part.split])
    made: dict[str, Any] = {"n": len(indices), "counted": part.split in rows}
    if part.split not in rows:
        return made
    held = [rows[part.split][index] for index in indices]
    column = label_column(task)
    if column and kind_of(task).closed:
        counts = Counter(str(row[column]) for row in held)
        made["classes"] = {label: counts[label] for label in task.labels}
    if task.group:
        made["groups"] = len({task.group.format(**row) for row in held})
    return made


def differences(found: dict[str, Any], recorded: dict[str, Any]) -> list[str]:
    """Sentences for what was counted at hand and is recorded otherwise (what is not at hand is let be)."""
    wrong = []
    for name, task in found.items():
        for protocol in PROTOCOLS:
            at_hand, known = task.get(protocol), recorded.get(name, {}).get(protocol)
            if at_hand is None:
                continue
            if not at_hand["counted"] and known is not None:
                at_hand, known = {"n": at_hand["n"]}, {"n": known["n"]}
            if at_hand != known:
                wrong.append(f"{name}, protocol {protocol}: at hand {at_hand}, recorded {known}")
    return wrong


def text_of(found: dict[str, Any]) -> str:
    """The YAML: a line per task and protocol."""
    lines = []
    for name, task in found.items():
        lines += [f"{name}:", f"  kind: {task['kind']}"]
        for protocol in PROTOCOLS:
            if protocol in task:
                flow = yaml.safe_dump(task[protocol], default_flow_style=True, sort_keys=False, width=10**6)
                lines.append(f"  {protocol}: {flow.strip()}")
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
