"""Every command in README and docs: run here, or as near to it as a test can go. The table HOW says which is which.

What a command leaves open (RUN, <run id>, DIR, rows.csv, ...) is filled from the fixture `world`: one finished run of a
tiny model, a few rows, a method, a task and a backbone of one's own. Nothing is written outside of it.
"""

from __future__ import annotations

import contextlib
import io
import os
import re
import runpy
import shlex
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
import yaml

from runners.finished import load_finished
from scripts import new
from tests.docs_commands import PAGES, ROOT, commands
from tests.ledgers import make_ledger
from tests.running import record, run_here

COMMANDS = commands()
# what starts the tests, or the tools beside them, is what runs this file
TOOLS = re.compile(r"(python3?|\S+/python3?) -m (pytest|ruff|mypy|venv|pip)\b|pip |touch |bash scripts/try_slurm")
# what needs something first that no test has says so, and starts nothing
FIRST = {
    "confirm=3": "run the sweep without confirm first",
    "experiment=dept/released": "can be scored from there",
    "rows=transfer.from": "no run has it",
    "results.analysis": "none of them stores a prompt",
    "results.ensembles": "at least two",
    "sizes": "nothing to draw for sizes",
}


@dataclass
class World:
    """Where commands run, and what stands for the words that they leave open."""

    root: Path
    run: str

    def filled(self, text: str) -> str:
        for word, value in {
            "<run id>": self.run, "run=RUN": f"run={self.run}", "<name>": "my_pt", "<file>": "pt", "FILE.csv": "f.csv",
            "<owner/name>": "owner/name", "paper=my_pt": "paper=offline_v1", "<DePT's checkpoints/>": "checkpoints",
            "list|show|verify|adopt": "list", "backbone=…": "backbone=tiny_llama", "/path/to/its/python": "python",
        }.items():  # fmt: skip
            text = text.replace(word, value)
        return re.sub(r"(experiment|task)=\.\.\. ?", "", text).replace(" ... ", " ").replace("'…'", "''")


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> World:
    root = tmp_path_factory.mktemp("world")
    assert run_here(root, "runner.max_steps=2").status == "done"
    made = World(root, record(root)["run_id"])
    (root / "checkpoints").mkdir()  # for the authors' files, which no test has
    (root / "rows.csv").write_text("question,passage\nis it so,it is so\nis it,no\n")
    (root / "rows.jsonl").write_text('{"question": "is it so", "passage": "it is so"}\n')
    make_ledger(root / "generated", runs=24, seed=0)
    loaded = load_finished(root / "runs", made.run).tuned.backbone
    loaded.model.save_pretrained(root / "model")
    loaded.tokenizer.save_pretrained(root / "model")
    mine = root / "mine"
    assert new.main(["method", "my_pt", "--config-dir", str(mine)]) == 0
    for kind, theirs, own in (
        ("task", "demo/movie_reviews", "my/reviews"), ("task", "demo/movie_reviews", "user/my_task"),
        ("backbone", "tiny_llama", "my_llama"),
    ):  # fmt: skip
        place = mine / kind / f"{own}.yaml"
        place.parent.mkdir(parents=True, exist_ok=True)
        values = yaml.safe_load((ROOT / f"conf/{kind}/{theirs}.yaml").read_text()) | {"name": own}
        place.write_text(yaml.safe_dump(values))
    for name in ("my/reviews", "user/my_task"):
        rows = root / "data" / name
        rows.mkdir(parents=True)
        for split in ("train", "validation", "test"):
            source = ROOT / "tasks/fixtures/demo/movie_reviews.jsonl"
            shutil.copy(source, rows / f"{split}.jsonl")
    return made


def inside(words: list[str], where: Path, feed: str = "") -> tuple[int, str]:
    """A python command in this process: its exit code and what it said."""
    argv, said = list(sys.argv), io.StringIO()
    code: object = 0
    try:
        with contextlib.chdir(where), contextlib.redirect_stdout(said), contextlib.redirect_stderr(said):
            stdin, sys.stdin = sys.stdin, io.StringIO(feed)
            try:
                if words[0] == "-m":
                    sys.argv = words[1:]
                    runpy.run_module(words[1], run_name="__main__", alter_sys=True)
                else:
                    sys.argv = [str(ROOT / words[0]), *words[1:]]
                    runpy.run_path(sys.argv[0], run_name="__main__")
            finally:
                sys.stdin = stdin
    except SystemExit as end:
        code = end.code or 0
    finally:
        sys.argv = argv
    return int(code) if isinstance(code, int) else 1, said.getvalue()


def values_shown(words: list[str], world: World) -> None:
    """One run of run.py: its values, composed and resolved, and its id (no training, no data of the Hub)."""
    rest = [word for word in words[1:] if word not in ("--cfg", "job")]
    chosen = [word for word in rest if not word.startswith("data=hub")]
    known = any(word.startswith("data=") for word in chosen)
    local = [] if known else ["data=local", f"data.root={world.root / 'data'}"]
    data = local if "task=my/reviews" in chosen else [] if known else ["data=fixture"]
    # without the Hub: a model of that kind on disk, as the remark beside the command says
    chosen = [f"backbone.path={world.root / 'model'}" if w.startswith("backbone.hub=") else w for w in chosen]
    ledger = f"ledger.root={world.root / 'runs'}"
    code, said = inside(["run.py", *chosen, *data, ledger, "--cfg", "job"], world.root)
    assert code == 0 and re.search(r"^# run [0-9a-f]{16}, data: ", said, re.MULTILINE), said


def planned(words: list[str], world: World) -> None:
    """A sweep or a table of run.py: its plan."""
    rest = [word for word in words[1:] if word != "plan=true"]
    data = [] if any(word.startswith("experiment=offline_v1") for word in rest) else ["data=fixture"]
    code, said = inside(["run.py", *rest, *data, "plan=true", f"ledger.root={world.root / 'none'}"], world.root)
    wanted = next((sentence for word, sentence in FIRST.items() if word in rest), None)
    assert (code == 2 and wanted in said) if wanted else (code == 0 and "missing" in said), said


def helped(words: list[str], world: World) -> None:
    """What takes minutes: it is there, and its help knows every option that is shown."""
    script = words[:2] if words[0] == "-m" else words[:1]
    subcommand = [words[1]] if words[0].endswith(("new.py", "bench.py")) else []
    code, said = inside([*script, *subcommand, "--help"], world.root)
    assert code == 0, said
    options = [word.partition("=")[0] for word in words if word.startswith("--") and word != "--help"]
    assert not [option for option in options if option not in said], said


def asked(words: list[str], world: World) -> None:
    """A command of results: as it stands, on a generated ledger, writing into the world."""
    own = {"results.power", "results.audit", "results.reference"}
    ledger = [] if words[1] in own or "--help" in words else [f"ledger.root={world.root / 'generated'}"]
    outs = {"results.plots": "figures", "results.report": "report.html", "results.audit": "docs/audit.md",
            "results.reproduction": "REPRODUCTION.md"}  # fmt: skip
    kept = [word for word in words if not word.startswith("out=")]
    out = [f"out={world.root / outs[words[1]]}"] if words[1] in outs else [w for w in words if w.startswith("out=")]
    (world.root / "docs").mkdir(exist_ok=True)
    code, said = inside([*kept, *ledger, *out], world.root)
    wanted = next((sentence for word, sentence in FIRST.items() if word in words), None)
    assert (code == 2 and wanted in said) if wanted else (code == 0 and (said.strip() or out)), said


def on_the_run(words: list[str], world: World) -> None:
    """What starts from a finished run: as it stands, with the world's run."""
    more = [f"ledger={world.root / 'runs'}", f"cache={world.root / 'cache'}"]
    if words[0].endswith("evaluate.py"):
        more += ["data=fixture"]
    code, said = inside([*words, *more], world.root, feed="is it so\tit is so\n")
    assert code == 0 and (said.strip() or any(w.startswith("to=") for w in words)), said


def started(words: list[str], world: World) -> None:
    """make: every command that it would start goes through this table."""
    made = subprocess.run(["make", "-n", *words, "PYTHON=python"], cwd=ROOT, capture_output=True, text=True, check=True)
    lines = [line.strip() for line in made.stdout.splitlines() if "-m" in line or line.startswith("python")]
    assert made.stdout.strip() or words == ["install"], made.stdout
    for line in lines:
        went(re.sub(r"^(\w+=\S+ )+", "", line), world)


def as_it_stands(words: list[str], world: World) -> None:
    """What is quick and reads only."""
    code, said = inside(words, ROOT)
    assert code == 0 and said.strip(), said


HOW: list[tuple[str, Callable[[list[str], World], None]]] = [
    (r"run\.py .*(-m |\+sweep|plan=true|experiment=(?!demo)|fair_8)", planned),
    (r"run\.py --help", helped),
    (r"run\.py", values_shown),
    (r"scripts/(predict|export|evaluate)\.py", on_the_run),
    (r"scripts/anchor\.py weights seeds", helped),
    (r"scripts/(anchor|params)\.py|-m scripts\.docs_tasks --check", as_it_stands),
    (r"-m results\.(publish|adopt|reference)", helped),
    (r"-m results\.", asked),
    (r"scripts/|-m scripts\.", helped),
]
SLOW = re.compile(
    r"audit|reproduction|report|plots|plan|calibrate|paper=|PAPER=|scripts/(evaluate|anchor)|experiment=|\+sweep|glob"
)


def went(command: str, world: World) -> None:
    if TOOLS.match(command) or not command.startswith("python"):
        return
    text = world.filled(command.removeprefix("python "))
    words = [os.path.expanduser(word) for word in shlex.split(text)]
    for pattern, how in HOW:
        if re.match(pattern, " ".join(words)):
            how(words, world)
            return
    raise AssertionError(f"{command}: no line of HOW knows it")


@pytest.fixture
def home(world: World, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setenv("HOME", str(world.root))
    monkeypatch.setenv("SOFT_PROMPT_BENCH_CONFIG", str(world.root / "mine"))
    monkeypatch.setenv("SOFT_PROMPT_BENCH_CACHE", str(world.root / "cache"))
    path = list(sys.path)
    yield
    sys.path[:] = path


@pytest.mark.filterwarnings("ignore:'results.ledger' found in sys.modules")  # as python -m would not have it
@pytest.mark.parametrize(
    "command", [pytest.param(c, marks=pytest.mark.slow if SLOW.search(c) else ()) for c in COMMANDS]
)
def test_a_command_of_the_docs_works(command: str, world: World, home: None) -> None:
    if command.startswith("make "):
        started(shlex.split(world.filled(command))[1:], world)
    elif command.startswith("export "):
        name, _, value = command.removeprefix("export ").partition("=")
        assert name == "SOFT_PROMPT_BENCH_CONFIG" and Path(value).expanduser().is_dir()
    else:
        went(command, world)


def test_no_command_is_overlooked() -> None:
    """What README shows first is found by the reader of pages, and no page is without its link's target."""
    assert {"make demo", "python run.py method=dept task=superglue/boolq"} <= set(COMMANDS) and len(COMMANDS) > 90
    dead = [
        f"{page.name}: {target}"
        for page in PAGES
        for target in re.findall(r"\]\(([^)#:]+?)(?:#[^)]*)?\)", page.read_text(encoding="utf-8"))
        if not (page.parent / target).exists()
    ]
    assert not dead
