"""One thing in one place: what a family can do, what a kind of task needs, a metric with its sums."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

from tasks.families import FAMILIES, family

ROOT = Path(__file__).resolve().parents[2]
OURS = ("backbones", "conf", "hydra_plugins", "methods", "results", "runners", "scripts", "tasks")


def sources() -> list[Path]:
    found = [path for folder in OURS for path in sorted((ROOT / folder).rglob("*.py"))] + [ROOT / "run.py"]
    return [path for path in found if "runs" not in path.relative_to(ROOT).parts]


def compared(path: Path, words: set[str]) -> Iterator[int]:
    """Lines that compare something with one of the words, or look for it among some of them."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Compare):
            sides = [node.left, *node.comparators]
        elif isinstance(node, ast.MatchValue):
            sides = [node.value]
        else:
            continue
        for side in sides:
            parts = side.elts if isinstance(side, ast.Tuple | ast.List | ast.Set) else [side]
            if any(isinstance(part, ast.Constant) and part.value in words for part in parts):
                yield node.lineno
                break


# not a family's name: a module, a stack of layers, the special tokens of a tokenizer, the type in a config.json
NOT_A_FAMILY = {
    "backbones/specimens.py": "model_type",
    "backbones/tiny_tokenizer.py": "face",
    "backbones/prefix.py": "stack",
}


def test_only_the_table_of_families_knows_their_names() -> None:
    found = []
    for path in sources():
        name = path.relative_to(ROOT).as_posix()
        lines = path.read_text(encoding="utf-8").splitlines()
        for number in compared(path, set(FAMILIES)):
            if "stack" not in lines[number - 1] and NOT_A_FAMILY.get(name, "\n") not in lines[number - 1]:
                found.append(f"{name}:{number}: {lines[number - 1].strip()}")
    assert not found, "\n".join(["ask tasks.families what a family can do, instead of its name:", *found])


def test_a_comparison_is_seen(tmp_path: Path) -> None:
    file = tmp_path / "x.py"
    file.write_text("if a.family == 't5':\n    pass\nb = c in ('llama', 'encoder')\nd = family.writes\n")
    assert list(compared(file, set(FAMILIES))) == [1, 3]


@pytest.mark.parametrize("name", FAMILIES)
def test_a_family_is_what_its_engine_does(name: str) -> None:
    from backbones.base import Backbone
    from backbones.load import _engine

    traits = family(name)
    engine = _engine(traits)
    for question in ("losses", "rank", "generate", "classify", "tag"):
        assert (getattr(engine, question) is not getattr(Backbone, question)) == (question in traits.asks), question
    assert traits.stack_of("encoder.block.3") in traits.stacks and traits.stack_of("x.decoder") in traits.stacks


def test_an_unknown_family_is_told() -> None:
    with pytest.raises(ValueError, match="t5, llama, encoder"):
        family("mamba")
