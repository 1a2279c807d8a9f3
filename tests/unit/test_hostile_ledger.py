"""Records that nobody should have written: the report, tables and figures name them, skip them and go on."""

from __future__ import annotations

import copy
import json
import random
import shutil
import warnings
from pathlib import Path
from typing import Any

import pytest

from results.records import read_runs
from results.report.command import write as write_report
from results.tables.__main__ import main as tables
from tests.ledgers import make_ledger

HOSTILE: list[Any] = [
    None, "", "abc", "a\nb", "\\end{document}%", "=HYPERLINK(\"x\")", "<script>alert(1)</script>", "a|b", "\ud800",
    "\x00", "x" * 100_000, True, 0, -1, 10**40, 10**400, 1e308, -1e308, float("nan"), float("inf"), float("-inf"), 0.5,
    [], [None], ["a", 1, {}], {}, {"a": {"b": []}}, {"": None}, {"\ud800": 1}, {"a\nb": "c\nd"},
]  # fmt: skip
LINES = [
    b"\n",
    b"{",
    b"[]\n",
    b"null\n",
    b'{"step": "x"}\n',
    b"\xff\xfe\n",
    b"[" * 5000 + b"\n",
    b'{"step": NaN, "loss": 1}\n',
]


def tower(depth: int) -> Any:
    value: Any = 1
    for _ in range(depth):
        value = [value]
    return value


def places(tree: Any, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    """Every place of a tree of mappings and lists."""
    found = [path] if path else []
    inner = tree.items() if isinstance(tree, dict) else enumerate(tree) if isinstance(tree, list) else ()
    for key, value in inner:
        found += places(value, (*path, key))
    return found


def mutated(record: dict[str, Any], draw: random.Random) -> str:
    """The text of a record with one to three places changed, taken away or renamed."""
    made = copy.deepcopy(record)
    for _ in range(draw.randint(1, 3)):
        *way, last = draw.choice(places(made))
        node: Any = made
        for key in way:
            node = node[key]
        do = draw.random()
        if do < 0.2:
            del node[last]
        elif do < 0.3 and isinstance(node, dict):
            node[draw.choice(["", "a\nb", "\ud800", "x" * 5000])] = node.pop(last)
        elif do < 0.33:
            node[last] = tower(100)
        else:
            node[last] = draw.choice(HOSTILE)
    return json.dumps(made)


def hostile_ledger(root: Path, count: int, seed: int = 0) -> list[str]:
    """A ledger of `count` mutated runs beside the good ones; returns the ids of the good ones."""
    make_ledger(root, runs=40, seed=3)
    good = sorted(folder.name for folder in root.iterdir())
    draw = random.Random(seed)
    for number in range(count):
        source = root / draw.choice(good)
        folder = root / f"hostile{number:04d}"
        shutil.copytree(source, folder)
        record = json.loads((folder / "record.json").read_text(encoding="utf-8")) | {"run_id": folder.name}
        text = mutated(record, draw)
        if number % 25 == 0:
            text = draw.choice(["", "{", "null", "[]", '"x"', "1", "[" * 100_000, "9" * 6000, text[: len(text) // 2]])
        (folder / "record.json").write_text(text, encoding="utf-8")
        for path in folder.rglob("*.json*"):
            if path.name != "record.json" and draw.random() < 0.3:
                path.write_bytes(path.read_bytes()[: draw.randint(0, 400)] + draw.choice(LINES))
    return good


@pytest.fixture(scope="module")
def ledger(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, list[str]]:
    root = tmp_path_factory.mktemp("hostile") / "runs"
    return root, hostile_ledger(root, 500)


def test_500_hostile_records_are_named_or_read(ledger: tuple[Path, list[str]]) -> None:
    root, good = ledger
    reading = read_runs(root)
    read = {run.id for run in reading.runs}
    named = {problem.split(":")[0] for problem in reading.problems}
    assert set(good) <= read and not read & named
    assert {f"hostile{n:04d}" for n in range(500)} <= read | named
    assert len(named) > 150 and all(p.isprintable() and p.endswith("(skipped)") for p in reading.problems)
    assert all(len(problem) < 500 for problem in reading.problems)


def test_the_report_survives_500_hostile_records(ledger: tuple[Path, list[str]], tmp_path: Path) -> None:
    root, good = ledger
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # broken logs are said as warnings
        count = write_report(root, tmp_path / "report.html")
    page = (tmp_path / "report.html").read_text(encoding="utf-8")
    assert count >= len(good) and "hostile" in page and "<script>alert" not in page


@pytest.mark.parametrize("form", ["markdown", "csv", "latex", "html"])
def test_tables_survive_500_hostile_records(
    form: str, ledger: tuple[Path, list[str]], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    root, _ = ledger
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        code = tables([f"ledger.root={root}", "rows=method", "cols=task", f"format={form}", "fixtures=true"])
    assert code == 0, capsys.readouterr().err
    said = capsys.readouterr()
    assert "hostile" in said.err + said.out or "could not be read" in said.out + said.err


@pytest.mark.slow
def test_figures_survive_hostile_records(ledger: tuple[Path, list[str]], tmp_path: Path) -> None:
    from results.plots.command import main as plots

    root, _ = ledger
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for kind in ("curves", "sensitivity", "pareto", "gates"):
            assert plots([kind, f"ledger.root={root}", f"out={tmp_path}", "task=demo/movie_reviews"]) in (0, 1)
    assert list(tmp_path.glob("*.png"))
