"""Make a method or a task of your own, ready to run.

    python scripts/new.py method my_pt [--form prompt|by_input|offset|prefix|weights|stages]
    python scripts/new.py task my_task --file rows.csv [--validation more.csv] [--test rest.csv] [--kind KIND]

A method becomes methods/my_pt.py, conf/method/my_pt.yaml and docs/methods/my_pt.md; it passes the contract tests as it
stands. A task is made of CSV, TSV, JSON lines, JSON (SQuAD's too), CoNLL columns or parquet and is a classification, a
regression, qa or tagging: what is seen in the file is said before anything is written. It becomes
conf/task/user/my_task.yaml, its rows go to <data-root>/user/my_task/ (git-ignored) and a few of them to tasks/fixtures/
for smoke runs. With --config-dir DIR either is made in a folder of yours, without card and fixture.
"""

from __future__ import annotations

import argparse
import keyword
import re
import shlex
import sys
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path[:] = [str(ROOT), *(p for p in sys.path if p != str(ROOT / "scripts"))]  # scripts/ names some packages

from results.command_line import command  # noqa: E402
from results.files import refusal, write_text  # noqa: E402
from scripts.new_method import FORMS, method_texts  # noqa: E402
from scripts.new_rows import KINDS  # noqa: E402
from scripts.new_task import task_files  # noqa: E402
from tasks.errors import DataError  # noqa: E402
from tasks.reading import WANTED  # noqa: E402


class Refused(ValueError):
    """What was asked for cannot be made; the message says why and what can."""


def checked_name(name: str) -> str:
    """A name that serves as a file, a config option and a Python module."""
    if not re.fullmatch(r"[a-z][a-z0-9_]*", name) or keyword.iskeyword(name):
        raise Refused(f"{name!r} is not a name: small letters, digits and _, a letter first (for example my_pt)")
    return name


def own_files(name: str, form: str = "offset") -> dict[str, str]:
    """Relative path -> text of a new method in a folder of one's own: its file, and a YAML that names the file."""
    made = method_files(name, form)
    text, target = made[f"conf/method/{name}.yaml"], f"target: methods.{name}."
    text = text.replace(f" Card: docs/methods/{name}.md", "")  # no card is made there
    lines = ["target: null" if line.startswith(target) else line for line in text.splitlines()]
    lines = [f"path: {name}.py" if line.startswith("path: null") else line for line in lines]
    return {f"{name}.py": made[f"methods/{name}.py"], f"method/{name}.yaml": "\n".join(lines) + "\n"}


def method_files(name: str, form: str = "offset") -> dict[str, str]:
    """Relative path -> text of a new method's file, YAML and card."""
    return method_texts(checked_name(name), form)


def write(files: Mapping[Path, str]) -> None:
    """Write all files, or none: where one is there already, or where one cannot be written.

    Raises:
        Refused: which file, and why; what was written until then is taken away again.
    """
    there = [str(path) for path in files if path.exists()]
    if there:
        raise Refused(f"{', '.join(there)}: there already; take another name, or delete what you no longer want")
    made: list[Path] = []  # folders and files, in the order in which they came to be
    try:
        for path, text in files.items():
            made += [folder for folder in reversed(path.parents) if not folder.exists()]
            path.parent.mkdir(parents=True, exist_ok=True)
            made.append(path)
            write_text(path, text)
    except (OSError, UnicodeError) as error:
        for path in reversed(made):
            with suppress(OSError):  # what was never made
                path.rmdir() if path.is_dir() else path.unlink(missing_ok=True)
        why = refusal(error) if isinstance(error, OSError) else f"{made[-1]}: {error}"
        raise Refused(f"{why}; nothing was written") from None


def new_method(name: str, root: Path, own: Path | None = None, form: str = "offset") -> list[str]:
    """Make a method, in the tree or in a folder of one's own; returns what to say."""
    if own is not None:
        made = {own / path: text for path, text in own_files(name, form).items()}
        write(made)
        return [
            *(f"wrote {path}" for path in made),
            f"try:   python run.py{_config_dir(own)} method={name} data=fixture runner=smoke backbone=tiny_llama",
            f"check: python scripts/check_method.py {shlex.quote(str(own / f'{name}.py'))}",
            f"table: python scripts/compare.py METHOD={name}{_config_dir(own)}",
        ]
    files = {root / path: text for path, text in method_files(name, form).items()}
    write(files)
    return [
        *(f"wrote {path.relative_to(root)}" for path in files),
        f"try:   python run.py method={name} data=fixture runner=smoke backbone=tiny_llama",
        f"check: python scripts/check_method.py methods/{name}.py",
        f"test:  python -m pytest tests/contract -k {name}",
        f"table: make compare METHOD={name}",
    ]


def new_task(options: argparse.Namespace, root: Path) -> list[str]:
    """Make a task; returns what to say."""
    name, own = checked_name(options.name), options.config_dir
    data_root = (options.data_root or (own or root) / "data").resolve()
    files = {"train": options.file, "validation": options.validation, "test": options.test}
    given = {split: path for split, path in files.items() if path}
    made = task_files(name, given, label=options.label, kind=options.kind, fixture_rows=options.fixture_rows)
    folders = {"config": root / "conf" / "task", "data": data_root, "fixture": root / "tasks" / "fixtures"}
    if own is not None:
        folders = {"config": own / "task", "data": data_root}  # fixtures stand in the tree
    written = {folders[kind] / path: text for (kind, path), text in made.texts.items() if kind in folders}
    print("\n".join(made.notes), flush=True)  # before anything is written
    write(written)
    shown = [str(path.relative_to(root)) if path.is_relative_to(root) else str(path) for path in written]
    run = f"python run.py{_config_dir(own)}"
    rows = f"data=local {shlex.quote(f'data.root={data_root}')}"
    smoke = "data=fixture" if own is None and options.fixture_rows else rows
    return [
        *(f"wrote {path}" for path in shown),
        f"try: {run} method=pt task=user/{name} {smoke} runner=smoke backbone=tiny_llama",
        f"run: {run} method=dept task=user/{name} {rows}",
    ]


def _config_dir(own: Path | None) -> str:
    """The flag that names a folder of one's own, for a command to be typed."""
    return f" --config-dir {shlex.quote(str(own.resolve()))}" if own else ""


def parser() -> argparse.ArgumentParser:
    """The command line."""
    top = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    top.add_argument("--root", type=Path, default=ROOT, help="the project's folder (default: this one)")
    kinds = top.add_subparsers(dest="what", required=True)
    method = kinds.add_parser("method", help="a method: module, YAML and card")
    method.add_argument("name")
    forms = "; ".join(f"{name}: {form.about}" for name, form in FORMS.items())
    method.add_argument("--form", choices=list(FORMS), default="offset", help=f"{forms} (default: offset)")
    task = kinds.add_parser("task", help="a task from a file of rows")
    for kind in (method, task):
        kind.add_argument("--config-dir", type=Path, help="a folder of yours outside the tree (docs/own_folders.md)")
    task.add_argument("name")
    task.add_argument("--file", type=Path, required=True, help=f"the training rows: {WANTED}")
    task.add_argument("--validation", type=Path, help="validation rows (default: carved from the training rows)")
    task.add_argument("--test", type=Path, help="test rows (default: carved from the training rows)")
    task.add_argument("--label", help="the column with the answer (default: label, target, answer(s), else the last)")
    task.add_argument("--kind", choices=KINDS, help="default: seen from the answers, and asked for where unclear")
    task.add_argument(
        "--data-root", type=Path, help="where the rows go (default: data/ in the project, or in your folder)"
    )
    task.add_argument("--fixture-rows", type=int, default=48, help="rows for smoke runs, 0 = none (default: 48)")
    return top


@command
def main(arguments: list[str] | None = None) -> int:
    """Exit code 0, or 2 where nothing was written."""
    options = parser().parse_args(arguments)
    try:
        made_method = options.what == "method"
        root = options.root
        if made_method:
            said = new_method(options.name, root, options.config_dir, options.form)
        else:
            said = new_task(options, root)
    except (Refused, DataError) as error:
        print(f"new.py: {error}", file=sys.stderr)
        return 2
    print("\n".join(said))
    return 0


if __name__ == "__main__":
    sys.exit(main())
