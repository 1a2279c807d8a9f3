"""Code is told by its tokens: what it does counts, how it looks does not."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from conf.resolve import CONF
from results.source_code import ENGINE, code_that_counts, engine_files, imported_files, source_sha256, tokens_of

ROOT = Path(__file__).resolve().parents[2]
CODE = """class Shift(Base):
    'A docstring.'
    scale = 0.5

    def offset(self, x, *, by="one"):
        '''Another.'''
        text = f"{x!r:>{8}} and {by}"
        return g(x * self.scale + 1e-3, [1, 2, 3], {"a": (1,)})
"""
SAME = {
    "comments": lambda s: s.replace("scale = 0.5", "scale = 0.5  # half") + "# the end\n",
    "docstrings": lambda s: s.replace("'A docstring.'", '"""Something\n    else."""').replace(
        "'''Another.'''\n        ", ""
    ),
    "quotes": lambda s: s.replace('"one"', "'one'").replace('"a"', "'a'"),
    "spaces": lambda s: s.replace(" * ", "*").replace(", ", ",").replace("    ", "\t"),
    "lines": lambda s: s.replace("g(x", "g(\n            x").replace("})", "},\n        )"),
    "trailing comma": lambda s: s.replace("3]", "3,]"),
    "line ends": lambda s: s.replace("\n", "\r\n"),
    "blank lines": lambda s: s.replace("\n", "\n\n"),
}
OTHER = {
    "number": lambda s: s.replace("0.5", "0.25"),
    "operator": lambda s: s.replace(" + ", " - "),
    "a tuple of one": lambda s: s.replace("(1,)", "(1)"),
    "text": lambda s: s.replace('"one"', '"two"'),
    "format": lambda s: s.replace("{8}", "{9}"),
    "nesting": lambda s: s.replace("        return", "    return"),
    "name": lambda s: s.replace("g(", "h("),
}


def told(tmp_path: Path, text: str) -> str:
    (tmp_path / "code.py").write_bytes(text.encode())
    return source_sha256(tmp_path / "code.py")


@pytest.mark.parametrize("change", SAME)
def test_what_does_the_same_is_the_same(tmp_path: Path, change: str) -> None:
    assert SAME[change](CODE) != CODE
    assert told(tmp_path, SAME[change](CODE)) == told(tmp_path, CODE)


@pytest.mark.parametrize("change", OTHER)
def test_what_does_something_else_is_another(tmp_path: Path, change: str) -> None:
    assert OTHER[change](CODE) != CODE
    assert told(tmp_path, OTHER[change](CODE)) != told(tmp_path, CODE)


def test_every_file_of_the_bench_has_tokens() -> None:
    for path in engine_files():  # a package's __init__ may say nothing but a docstring
        assert tokens_of(path.read_text(encoding="utf-8")) or path.name == "__init__.py", path


# pyenv's shims name versions that are there under its folder only
PYENV = sorted((Path.home() / ".pyenv" / "versions").glob("3.1[1-9].*/bin/python"))
PYTHONS = [str(path) for path in PYENV] or [p for n in range(11, 16) if (p := shutil.which(f"python3.{n}"))]


@pytest.mark.parametrize("python", PYTHONS, ids=lambda path: Path(path).parts[-3])
def test_the_hash_is_the_same_on_every_python_that_is_here(tmp_path: Path, python: str) -> None:
    """f-strings are one token before 3.12 and several from then on."""
    texts = [CODE, 'a = f"{x}" f\'{y["k"]}\'\nb = rf"""{f"{1}"}\n{2}"""\nc = "d" f"e"\n']
    for number, text in enumerate(texts):
        path = tmp_path / f"{number}.py"
        path.write_text(text)
        code = f"import sys; sys.path.insert(0, {str(ROOT)!r}); from results.source_code import source_sha256 as s\n"
        code += f"from pathlib import Path; print(s(Path({str(path)!r})))"
        done = subprocess.run([python, "-c", code], capture_output=True, text=True)
        assert done.stdout.strip() == source_sha256(path), done.stderr


def test_a_file_that_is_no_python_is_told_by_its_bytes(tmp_path: Path) -> None:
    assert told(tmp_path, "def (") != told(tmp_path, "def ((")
    assert sys.version_info >= (3, 11)


@pytest.mark.parametrize("name", sorted(path.stem for path in (CONF / "method").glob("*.yaml")))
def test_no_file_counts_behind_a_method_as_it_shipped(name: str) -> None:
    """Nor do the files that plan, keep and show runs, whatever the engine's files import of them."""
    target = yaml.safe_load((CONF / "method" / f"{name}.yaml").read_text()).get("target")
    assert code_that_counts(target, None) == {}


def test_an_engine_file_brings_the_engine_and_the_methods_alone() -> None:
    found = {path.relative_to(ROOT).parts[0] for path in imported_files(ROOT / "backbones/peft_methods.py")}
    assert found <= {*ENGINE, "methods"} and "backbones" in found
