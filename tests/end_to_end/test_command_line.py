"""What a file system refuses every command tells in one sentence, exit code 2; what it writes, others may read."""

from __future__ import annotations

import ast
import ctypes
import importlib
import os
import resource
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.ledgers import make_ledger
from tests.running import ROOT, environment, folder, record, run_here

# module -> argument lines with a {place} that it reads, and with one that it writes
READS = {
    "scripts.predict": ("{run} {place}.csv", "{run} {place}.jsonl", "{run} {place}.txt", "run=x ledger={place}"),
    "scripts.export": ("{run} form=prompt_embeds {place}.csv", "run=x ledger={place}"),
    "scripts.evaluate": ("run=x task=glue/rte ledger={place}",),
    "scripts.nearest": ("run=x ledger={place}",),
    "scripts.check_method": ("{place}.py",),
    "scripts.new": ("task mine --file {place}.csv --config-dir {fresh}",),
    "results.adopt": (
        "{place}.jsonl like={id} method=pt source=theirs {ledger}",
        "x like=x method=x source=x ledger.root={place}",
    ),
    "results.reference.__main__": ("add {place}.csv",),
    "results.tables.__main__": ("rows=method ledger.root={place}",),
    "results.report.command": ("ledger.root={place} out={fresh}/report.html",),
    "results.plots.command": ("curves ledger.root={place} out={fresh}",),
    "results.ledger_command": ("list ledger.root={place}", "adopt from={place} {ledger}"),
    "results.analysis": ("ledger.root={place}",),
    "results.ensembles": ("ledger.root={place}",),
    "results.power": ("difference=2 paper=dept table=1 ledger.root={place}",),
    "results.publish": ("paper=dept ledger.root={place}",),
    "results.reproduction": ("paper=dept ledger.root={place}",),
    "results.audit.__main__": ("paper=pt ledger.root={place}",),
}
WRITES = {
    "scripts.predict": ("{run} {rows} to={place}",),
    "scripts.export": ("{run} to={place}", "{run} form=prompt_embeds {rows} to={place}"),
    "scripts.new": ("method mine --config-dir {place}", "task mine --file {labelled} --config-dir {place}"),
    "results.tables.__main__": ("rows=method fixtures=true {ledger} out={place}",),
    "results.report.command": ("fixtures=true {ledger} out={place}",),
    "results.plots.command": ("curves fixtures=true {ledger} out={place}",),
    "results.analysis": ("{ledger} out={place}",),
    "results.ensembles": ("{seeds} out={place}", "{seeds} figure={place}.png"),
    "results.reproduction": ("paper=dept {ledger} out={place}",),
    "results.audit.__main__": ("paper=pt out={place}",),
}
FOLDERS = ("scripts.export", "scripts.new", "results.plots.command")  # what they write may be a folder
MASKS = [(0o022, 0o644, 0o755), (0o077, 0o600, 0o700), (0o002, 0o664, 0o775)]  # umask, files, folders
# commands that read and write what the project itself holds, or take configurations of run.py alone
OTHERS = {
    "run", "scripts.anchor", "scripts.bench", "scripts.calibrate", "scripts.compare", "scripts.demo",
    "scripts.docs_tasks", "scripts.doctor", "scripts.fidelity_sizes", "scripts.held_memory",
    "scripts.lm_eval_bridge", "scripts.params", "scripts.screenshot", "scripts.ship", "scripts.split_sizes",
    "scripts.walk",
}  # fmt: skip


@dataclass
class World:
    """A finished run and a ledger of several, with rows that they answer."""

    words: dict[str, str]
    root: Path

    def line(self, text: str, place: Path, fresh: Path) -> list[str]:
        return text.format(place=place, fresh=fresh, **self.words).split()


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> World:
    root = tmp_path_factory.mktemp("world")
    assert run_here(root, "task=demo/movie_reviews", "runner.max_steps=2").status == "done"
    make_ledger(root / "seeds", runs=60)
    (root / "rows.csv").write_text("text\na fine film\n")
    lines = "".join(f"a film number {i},{'good' if i % 2 else 'bad'}\n" for i in range(40))
    (root / "labelled.csv").write_text("text,label\n" + lines)
    run_id, ledger = record(root)["run_id"], root / "runs"
    words = {"id": run_id, "run": f"run={run_id} ledger={ledger}", "ledger": f"ledger.root={ledger}"}
    words |= {"seeds": f"ledger.root={root / 'seeds'}", "rows": str(root / "rows.csv")}
    return World(words | {"labelled": str(root / "labelled.csv")}, root)


def ended(module: str, arguments: list[str], capsys: pytest.CaptureFixture[str]) -> tuple[int, str]:
    """Exit code and standard error of a command in this process."""
    capsys.readouterr()
    code = importlib.import_module(module).main(arguments)
    return code, capsys.readouterr().err


def one_sentence(code: int, said: str, about: str) -> None:
    assert code == 2, said
    lines = [line for line in said.splitlines() if line.strip()]
    assert len(lines) == 1 and about in said, said
    assert not {"Traceback", "Errno", "Error:"} & set(said.replace("[", " ").split()), said


@contextmanager
def without_rights(place: Path) -> Iterator[None]:
    """Nobody may read, write or enter `place`; root neither: its power over permissions is laid down meanwhile."""
    libc, header = ctypes.CDLL(None, use_errno=True), (ctypes.c_uint32 * 2)(0x20080522, 0)
    held = (ctypes.c_uint32 * 6)()  # effective, permitted, inheritable; twice
    assert libc.capget(header, held) == 0
    fewer = (ctypes.c_uint32 * 6)(held[0] & ~0b110, *held[1:])  # CAP_DAC_OVERRIDE, CAP_DAC_READ_SEARCH
    place.chmod(0)
    try:
        assert libc.capset(header, fewer) == 0
        yield
    finally:
        assert libc.capset(header, held) == 0
        place.chmod(0o700)


@contextmanager
def full_disk() -> Iterator[None]:
    """No file may have more than a few bytes."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    try:
        resource.setrlimit(resource.RLIMIT_FSIZE, (8, before[1]))
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


def cases(table: dict[str, tuple[str, ...]]) -> list[tuple[str, str]]:
    return [(module, text) for module, texts in table.items() for text in texts]


def test_no_command_is_overlooked() -> None:
    """Every file that can be started has a main that ends as all others do."""
    found = set()
    for path in [ROOT / "run.py", *(ROOT / "scripts").glob("*.py"), *(ROOT / "results").rglob("*.py")]:
        tree = ast.parse(path.read_text(encoding="utf-8"))
        mains = [node for node in tree.body if isinstance(node, ast.FunctionDef) and node.name == "main"]
        for main in mains:
            name = ".".join(path.relative_to(ROOT).with_suffix("").parts)
            found.add(name)
            assert any(isinstance(d, ast.Name) and d.id == "command" for d in main.decorator_list), name
    assert found == {*READS, *WRITES, *OTHERS}


@pytest.mark.parametrize(("module", "text"), cases(READS))
def test_what_cannot_be_read(
    module: str, text: str, world: World, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    fresh, place = tmp_path / "fresh", tmp_path / "given"
    word = next(part for part in text.split() if "{place}" in part)
    read = Path(world.line(word, place, fresh)[0].partition("=")[2] or world.line(word, place, fresh)[0])
    one_sentence(*ended(module, world.line(text, place, fresh), capsys), read.name)
    if read.suffix:  # a file is wanted: a folder, one that may not be read, one with nothing in it
        read.mkdir()
        one_sentence(*ended(module, world.line(text, place, fresh), capsys), read.name)
        read.rmdir()
        read.touch()
        if read.suffix != ".py":
            one_sentence(*ended(module, world.line(text, place, fresh), capsys), read.name)
        with without_rights(read):
            one_sentence(*ended(module, world.line(text, place, fresh), capsys), read.name)
    else:
        read.touch()
        one_sentence(*ended(module, world.line(text, place, fresh), capsys), read.name)
    assert not fresh.exists()


@pytest.mark.parametrize(("module", "text"), cases(WRITES))
def test_what_cannot_be_written(
    module: str, text: str, world: World, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    place, blocked = tmp_path / "made", tmp_path / "blocked"
    name = next(part for part in text.split() if "{place}" in part).partition("{place}")[2]
    if module not in FOLDERS:
        Path(f"{place}{name}").mkdir()
        one_sentence(*ended(module, world.line(text, place, place), capsys), "made")
        Path(f"{place}{name}").rmdir()
    blocked.touch()
    one_sentence(*ended(module, world.line(text, blocked / "made", place), capsys), "blocked")
    blocked.unlink()
    blocked.mkdir()
    with without_rights(blocked):
        one_sentence(*ended(module, world.line(text, blocked / "made", place), capsys), "blocked")
    blocked.rmdir()
    with full_disk():
        code, said = ended(module, world.line(text, place, place), capsys)
    one_sentence(code, said, "")
    assert "no room" in said or "cannot be written" in said, said
    assert not [path for path in tmp_path.rglob("*") if path.is_file()]


@pytest.mark.parametrize(("mask", "file", "directory"), MASKS)
def test_what_is_written_has_the_permissions_of_the_umask(
    mask: int, file: int, directory: int, world: World, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Everything: a run's folder and cache, exports, tables, figures, pages, new methods and tasks."""
    before = os.umask(mask)
    try:
        assert run_here(tmp_path / "run", "task=demo/movie_reviews", "runner.max_steps=2").status == "done"
        for number, (module, text) in enumerate(cases(WRITES)):
            code, said = ended(module, world.line(text, tmp_path / "out" / str(number), tmp_path), capsys)
            assert code == 0, said
    finally:
        os.umask(before)
    seen = [path for path in tmp_path.rglob("*") if not path.is_symlink()]
    assert len(seen) > 60 and (folder(tmp_path / "run") / "method.safetensors") in seen
    assert {path: oct(path.stat().st_mode & 0o777) for path in seen if path.is_file()} == {
        path: oct(file) for path in seen if path.is_file()
    }
    assert {oct(path.stat().st_mode & 0o777) for path in seen if path.is_dir()} == {oct(directory)}


@pytest.mark.parametrize("module", ["scripts.predict", "scripts.export"])
def test_what_is_there_already_is_not_overwritten_unasked(
    module: str, world: World, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for text in WRITES[module]:
        place = tmp_path / "mine"
        place.write_text("weeks of work")
        one_sentence(*ended(module, world.line(text, place, tmp_path), capsys), "force=true")
        assert place.read_text() == "weeks of work"
        place.unlink()
        assert ended(module, world.line(text, place, tmp_path), capsys)[0] == 0
        kept = {path: path.stat().st_ino for path in [place, *place.rglob("*")]}
        one_sentence(*ended(module, world.line(text, place, tmp_path), capsys), "force=true")
        assert {path: path.stat().st_ino for path in [place, *place.rglob("*")]} == kept
        assert ended(module, [*world.line(text, place, tmp_path), "force=true"], capsys)[0] == 0
        assert all(path.stat().st_ino != kept[path] for path in [place, *place.rglob("*")])
        if place.is_dir():
            for path in place.iterdir():
                path.unlink()
            (place / "notes.txt").write_text("weeks of work")
            one_sentence(*ended(module, [*world.line(text, place, tmp_path), "force=true"], capsys), "no adapter")
            assert (place / "notes.txt").read_text() == "weeks of work"
            (place / "notes.txt").unlink()
            place.rmdir()
        else:
            place.unlink()


def test_a_home_is_a_home_wherever_it_is_written(
    world: World, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A shell leaves ~ in `out=~/x` as it is."""
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.chdir(tmp_path)
    wanted = [(module, text) for module, text in cases(WRITES) if "to=" in text or "out=" in text or "figure=" in text]
    for number, (module, text) in enumerate(wanted):
        code, said = ended(module, world.line(text, Path(f"~/{number}"), tmp_path), capsys)
        assert code == 0, said
    assert [path.name for path in tmp_path.iterdir()] == ["home"]
    assert len(list((tmp_path / "home").iterdir())) >= len(wanted)


def test_a_full_disk_behind_standard_output_is_told(world: World) -> None:
    """The interpreter would print `Exception ignored` and end with 120."""
    words = [sys.executable, "-m", "results.tables", "paper=offline_v1", "table=reviews"]
    with open("/dev/full", "w") as full:
        done = subprocess.run(
            words, cwd=ROOT, env=environment(), stdout=full, stderr=subprocess.PIPE, text=True, timeout=120
        )
    one_sentence(done.returncode, done.stderr, "no room is left")


def test_a_device_is_written_to_and_never_replaced(world: World, capfd: pytest.CaptureFixture[str]) -> None:
    code = importlib.import_module("results.tables.__main__").main(
        ["rows=method", "fixtures=true", world.words["ledger"], "out=/dev/stderr"]
    )
    assert code == 0 and "| pt" in capfd.readouterr().err and Path("/dev/stderr").is_symlink()
