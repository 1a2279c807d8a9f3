"""Who may import whom (docs/architecture.md), and what a name or a table may not cost."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
OURS = {"conf", "methods", "tasks", "backbones", "runners", "results", "scripts", "run"}
ALLOWED = {
    "methods": {"methods"},
    "tasks": {"tasks", "results.content", "results.files", "results.source_code"},  # hashes and atomic writing, no more
    # fetching and the sources' errors are shared; a method is known by its contract alone
    "backbones": {
        "backbones",
        "methods.base",
        "methods.source",
        "methods.shapes",
        "tasks.fetch",
        "tasks.errors",
        "tasks.families",
        "tasks.sources",
        "results.content",
        "results.files",
    },
    # rows of local files are read where other people's predictions are matched by content (results.adopt)
    "results": {"results", "conf"}
    | {
        f"tasks.{name}"
        for name in ("scoring", "config", "errors", "local", "reading", "rows", "kinds", "metrics", "sums")
    },
    "runners": {"runners", "methods", "tasks", "backbones", "results", "conf", "hydra_plugins"},
    # the schema of the runner stands beside what reads it
    "conf": {"conf", "results", "tasks", "backbones.config", "runners.config"},
}


def imported(path: Path) -> set[str]:
    """Dotted names of every import of a file, wherever it stands."""
    names: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module and node.level == 0:
            whole = node.module in OURS  # `from tasks import scoring` imports tasks.scoring
            names |= {f"{node.module}.{alias.name}" for alias in node.names} if whole else {node.module}
    return names


def files(package: str) -> list[Path]:
    return [p for p in sorted((ROOT / package).rglob("*.py")) if "runs" not in p.relative_to(ROOT).parts]


@pytest.mark.parametrize("package", sorted(ALLOWED))
def test_a_package_imports_what_it_may(package: str) -> None:
    found = files(package)
    assert found
    for path in found:
        for name in imported(path):
            if name.split(".")[0] not in OURS:
                continue
            allowed = any(name == stem or name.startswith(stem + ".") for stem in ALLOWED[package])
            assert allowed, f"{path.relative_to(ROOT)} imports {name}"


@pytest.mark.parametrize("package", ["methods", "tasks", "backbones", "results"])
def test_only_the_entry_points_know_hydra(package: str) -> None:
    for path in files(package):
        assert not any(name.split(".")[0] in ("hydra", "omegaconf") for name in imported(path)), path


def test_wandb_is_imported_in_one_file() -> None:
    users = [p for package in ALLOWED for p in files(package) if any(n.split(".")[0] == "wandb" for n in imported(p))]
    assert users == [ROOT / "runners" / "tracking.py"]


def test_methods_import_torch_and_nothing_heavier() -> None:
    heavy = {"transformers", "datasets", "accelerate", "peft", "numpy", "hydra"}
    for path in files("methods"):
        assert not {name.split(".")[0] for name in imported(path)} & heavy, path


@pytest.mark.parametrize(
    "code",
    [
        "from conf.compose import compose, typed, name_run; r = compose(['data=fixture']); name_run(r, typed(r))",
        "from results.ledger import Ledger, default_root; Ledger(default_root()).records()",
        "import results.tables",
    ],
    ids=["name a run", "read the ledger", "tables"],
)
def test_naming_finding_and_tables_need_no_torch(code: str) -> None:
    check = f"import sys; {code}; sys.exit(1 if {{'torch', 'transformers'}} & set(sys.modules) else 0)"
    assert subprocess.run([sys.executable, "-c", check], cwd=ROOT).returncode == 0


def test_a_name_is_imported_from_the_file_that_makes_it() -> None:
    """A name that is passed on has two addresses: whoever moves or patches it finds one of them."""
    made: dict[str, set[str]] = {}
    trees: dict[Path, ast.Module] = {}
    for path in [p for package in (*OURS - {"run"}, "hydra_plugins", "tests") for p in files(package)] + [
        ROOT / "run.py"
    ]:
        tree = trees[path] = ast.parse(path.read_text(encoding="utf-8"))
        place = path.relative_to(ROOT).with_suffix("").parts
        names = {n.name for n in ast.walk(tree) if isinstance(n, ast.FunctionDef | ast.ClassDef)}
        names |= {n.id for n in ast.walk(tree) if isinstance(n, ast.Name) and isinstance(n.ctx, ast.Store)}
        made[".".join(place[:-1] if place[-1] == "__init__" else place)] = names
    passed_on = [
        f"{path.relative_to(ROOT)}: {alias.name} is not of {node.module}"
        for path, tree in trees.items()
        for node in ast.walk(tree)
        if isinstance(node, ast.ImportFrom) and node.level == 0 and node.module in made
        for alias in node.names
        if alias.name not in made[node.module] and f"{node.module}.{alias.name}" not in made
    ]
    assert not passed_on, "\n".join(passed_on)
