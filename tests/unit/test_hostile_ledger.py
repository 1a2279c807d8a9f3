"""Records that nobody should have written: the report, tables and figures name them, skip them and go on."""

from __future__ import annotations

import copy
import csv
import io
import json
import random
import re
import shutil
import warnings
from pathlib import Path
from typing import Any

import pytest

from results.records import read_runs
from results.report.command import write as write_report
from results.tables.__main__ import main as tables
from results.tables.model import Cell, Column, Row, Table
from results.tables.render import render
from tests.ledgers import make_ledger
from tests.unit.results_fixtures import write_run

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


LABEL = 'a|b\\c%\n\\input{x} [t] = 5 & 你 <b onload="x">'


def labelled(text: str) -> Table:
    cell = Cell(
        value=81.25, n=3, task=text, metric=text, backbone=text, run_ids=["r"], provenance=text, verdict_why=text
    )
    columns = [Column(key="c", label=text, group=text)]
    return Table(
        paper="p",
        name=text,
        title=text,
        columns=columns,
        rows=[Row(label=text, method="m", cells={"c": cell})],
        caption=[text],
    )


def test_renderings_escape_whatever_a_label_is() -> None:
    table = labelled(LABEL)
    grid = [line for line in render(table, "markdown").split("\n") if line.startswith("|")]
    assert len(grid) == 3 and all(len(re.findall(r"(?<!\\)(?:\\\\)*\|", line)) == 3 for line in grid), grid
    assert "<b" not in render(table, "markdown") and "<b " not in render(table, "html")
    tex = render(table, "latex")
    assert r"\input" not in "\n".join(line for line in tex.split("\n") if not line.startswith("%"))
    lines = tex.split("\n")
    assert [line for line in lines if line.startswith("% a|b")] and not any(
        line.startswith("\\input") for line in lines
    )
    assert all(ord(c) < 0x180 for line in lines if not line.startswith("%") for c in line)


@pytest.mark.parametrize("start", ["=", "+", "-", "@", "\t=", "\r="])
def test_no_text_of_a_csv_is_a_formula(start: str) -> None:
    rows = list(csv.reader(io.StringIO(render(labelled(f'{start}HYPERLINK("x")'), "csv"))))
    assert len(rows) == 2 and len(rows[0]) == len(rows[1])
    assert not any(cell.strip().startswith(("=", "+", "@")) for cell in rows[1])
    assert not any(cell.startswith("-") and not re.fullmatch(r"-?[\d.]+", cell) for cell in rows[1])


def test_a_caption_names_the_ceiling_of_what_it_shows(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for seed in (1, 2):
        write_run(tmp_path / "runs", seed=seed, metric="f1", task="mrqa/squad", ceiling={"test": {"f1": 0.9696}})
    assert tables([f"ledger.root={tmp_path / 'runs'}", "rows=method", "cols=task", "fixtures=true"]) == 0
    assert "a perfect answer scores 97.0 f1 on mrqa/squad" in capsys.readouterr().out


def test_a_run_that_mixes_others_is_read_and_a_source_that_is_no_name_is_not(tmp_path: Path) -> None:
    """SESoM and ATTEMPT hold the runs that they start from by name: a mapping, where other options are plain."""
    sources = {"boolq": "0123456789abcdef", "piqa": "fedcba9876543210"}
    write_run(tmp_path, "sesom", seed=1, test=0.6, config={"method": {"name": "sesom", "sources": sources}})
    write_run(tmp_path, "sesom", seed=2, test=0.6, config={"method": {"name": "sesom", "sources": {"boolq": {"a": 1}}}})
    reading = read_runs(tmp_path)
    assert [run.get("seed") for run in reading.runs] == [1] and reading.runs[0].get("method.sources") == sources
    assert len(reading.problems) == 1 and "config.method.sources" in reading.problems[0]
