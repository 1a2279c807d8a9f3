"""The code behind a score, told by its tokens.

The files that ship with the bench stand in `results/shipped/sources.json` with the hash of their tokens; as long as a
file is as it shipped, the integer versions in the YAMLs speak for it. Whatever differs from that list (an edited
equation, a method of one's own and the local files it imports) counts in the run's id by its tokens.
`python scripts/ship.py` renews the list once the stored numbers hold.
"""

from __future__ import annotations

import ast
import hashlib
import importlib.util
import io
import json
import sys
import sysconfig
import tokenize
from collections.abc import Iterator, Sequence
from functools import cache, lru_cache
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
SHIPPED = ROOT / "results" / "shipped" / "sources.json"
ENGINE = ("backbones", "runners", "tasks")  # with these, any method and any task are computed
LOADING = ("methods/__init__.py", "methods/base.py", "methods/load.py", "methods/released.py")
UNSEEN = (  # no score passes through these
    "runners/config.py",  # values alone, which count one by one
    # when and where a run is started, whether it is found done
    "runners/job.py", "runners/fresh.py", "runners/survey.py", "runners/sweep.py", "runners/launch.py",
    "runners/meters.py", "runners/measures.py", "runners/progress.py", "runners/tracking.py",  # time, memory, logs
    "runners/verdicts.py", "runners/outcome.py",  # notes on finished scores
    "tasks/errors.py", "tasks/fetch.py",  # what is fetched is checked by sha256
)  # fmt: skip
_LAYOUT = (tokenize.COMMENT, tokenize.NL, tokenize.ENCODING, tokenize.ENDMARKER)
_OPENERS = {"(": ")", "[": "]", "{": "}"}


def tokens_of(text: str) -> list[str]:
    """A Python file's tokens without what cannot change what it does: comments, layout, docstrings, quotes.

    The same on every version of Python (from 3.12 on, f-strings come in pieces: they are put together again).
    """
    lines = text.splitlines(keepends=True)
    found: list[str] = []
    commas: list[int] = [0]  # per open bracket, commas seen in it
    inside, begun = 0, (0, 0)  # f-strings that are open, and where the outermost began
    for token in tokenize.generate_tokens(io.StringIO(text).readline):
        kind = tokenize.tok_name[token.type]
        if kind.endswith("STRING_START"):
            inside, begun = inside + 1, begun if inside else token.start
        elif kind.endswith("STRING_END"):
            inside -= 1
            if not inside:
                found.append(f"format {_between(lines, begun, token.end)}")
        elif inside or token.type in _LAYOUT:
            continue
        elif kind == "STRING":
            found.append(_string(token.string))
        elif kind == "NEWLINE":
            _end_statement(found)
        elif kind in ("INDENT", "DEDENT"):
            found.append(kind)
        else:
            _append(found, token.string, commas)
    return found


def _string(text: str) -> str:
    """A literal by its value, so that quotes do not count; an f-string by its text."""
    prefix = text[: min(i for i in (text.find("'"), text.find('"')) if i >= 0)].lower()
    return f"format {text}" if "f" in prefix or "t" in prefix else f"literal {ast.literal_eval(text)!r}"


def _between(lines: list[str], start: tuple[int, int], end: tuple[int, int]) -> str:
    rows = lines[start[0] - 1 : end[0]]
    rows[-1] = rows[-1][: end[1]]
    rows[0] = rows[0][start[1] :]
    return "".join(rows)


def _end_statement(found: list[str]) -> None:
    """Close a statement; one that is a string alone says nothing (a docstring)."""
    if found and found[-1].startswith("literal ") and (len(found) == 1 or found[-2] in ("NEWLINE", "INDENT", "DEDENT")):
        found.pop()
        return
    found.append("NEWLINE")


def _append(found: list[str], text: str, commas: list[int]) -> None:
    """Add an operator or a name; a comma before the closing bracket after others is layout."""
    if text in _OPENERS:
        commas.append(0)
    elif text in _OPENERS.values() and len(commas) > 1:
        if commas.pop() > 1 and found and found[-1] == ",":
            found.pop()
    elif text == ",":
        commas[-1] += 1
    found.append(text)


def source_sha256(path: Path) -> str:
    """Hash of a file's tokens; of its bytes where it is no Python that can be read."""
    content = path.read_bytes()
    if path.suffix != ".py":
        return hashlib.sha256(content).hexdigest()
    try:
        text = "\0".join(tokens_of(io.TextIOWrapper(io.BytesIO(content), encoding="utf-8").read()))
    except (tokenize.TokenError, SyntaxError, ValueError):
        return hashlib.sha256(content).hexdigest()
    return hashlib.sha256(text.encode()).hexdigest()


def engine_files(root: Path = ROOT) -> list[Path]:
    """The files through which every score passes."""
    found = [path for folder in ENGINE for path in (root / folder).rglob("*.py")] + [root / name for name in LOADING]
    return sorted(path for path in found if path.relative_to(root).as_posix() not in UNSEEN and path.exists())


def _top(file: Path, root: Path) -> str:
    """The folder of the tree that a file lies in; nothing elsewhere."""
    return file.relative_to(root).parts[0] if file.is_relative_to(root) else ""


def imported_files(path: Path, root: Path = ROOT) -> list[Path]:
    """A file, the local files it imports, those that they import, and files that they name in a string.

    Local is what lies in the tree or beside the file or elsewhere on sys.path, but not among installed packages. Of
    what the engine's files import only the engine and the methods are followed: how runs are planned, kept and shown
    is no part of a method.
    """
    kept = [place for place in dict.fromkeys([path.parent, root]) if not _is_installed(place)]
    kept += [place for place in _search_path(tuple(sys.path), Path.cwd()) if place not in kept]
    found: dict[Path, None] = {}
    todo = [path.resolve()]
    while todo:
        file = todo.pop()
        if file in found:
            continue
        found[file] = None
        if file.suffix == ".py":
            others = _named_files(file, tuple(kept))
            if _top(file, root) in ENGINE:
                others = [other for other in others if _top(other, root) in (*ENGINE, "methods")]
            todo += [other for other in others if other not in found]
    return sorted(found)


@lru_cache(maxsize=16)
def _search_path(written: tuple[str, ...], here: Path) -> tuple[Path, ...]:
    """The folders of sys.path that are no installed packages', resolved (once: a plan asks for every point)."""
    places = dict.fromkeys((here / place).resolve() for place in written)
    return tuple(place for place in places if not _is_installed(place))


@cache
def _is_installed(place: Path) -> bool:
    roots = {sysconfig.get_paths()[name] for name in ("stdlib", "platstdlib", "purelib", "platlib")}
    if {"site-packages", "dist-packages"} & set(place.parts):
        return True
    return any(place == Path(root).resolve() or Path(root).resolve() in place.parents for root in roots)


def _named_files(file: Path, places: tuple[Path, ...]) -> list[Path]:
    seen = file.stat()
    return _named(file, places, (seen.st_mtime_ns, seen.st_ctime_ns, seen.st_size))


@lru_cache(maxsize=512)
def _named(file: Path, places: tuple[Path, ...], state: tuple[int, ...]) -> list[Path]:
    try:
        tree = ast.parse(file.read_bytes())
    except (SyntaxError, ValueError):
        return []
    return list(_named_in(tree, file, places))


def _named_in(tree: ast.Module, file: Path, places: tuple[Path, ...]) -> Iterator[Path]:
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            names, levels = [alias.name for alias in node.names], 0
        elif isinstance(node, ast.ImportFrom):
            stem = f"{node.module}." if node.module else ""
            names, levels = [node.module or "", *(f"{stem}{alias.name}" for alias in node.names)], node.level
        elif isinstance(node, ast.Constant) and isinstance(node.value, str) and 0 < len(node.value) < 200:
            yield from _named_in_string(node.value, file, places)
            continue
        else:
            continue
        above = [file.parents[levels - 1]] if 0 < levels <= len(file.parents) else []
        for name in names:
            yield from _module_files(name, above if levels else places)


def _named_in_string(text: str, file: Path, places: Sequence[Path]) -> Iterator[Path]:
    """A table that a method reads, or a module that it imports by name."""
    if "\n" in text or "\0" in text:
        return
    if "." in text and not text.startswith("."):
        try:
            beside = file.parent / text
            if beside.is_file():
                yield beside.resolve()
        except OSError:
            return
    if all(part.isidentifier() for part in text.split(".")) and "." in text:
        yield from _module_files(text, places)


def _module_files(name: str, places: Sequence[Path]) -> Iterator[Path]:
    """The files that `import name` reads: the packages above it, and the module itself."""
    parts = [part for part in name.split(".") if part]
    for place in places:
        if parts and not ((place / parts[0]).is_dir() or (place / f"{parts[0]}.py").is_file()):
            continue
        for end in range(len(parts) + 1):
            stem = place.joinpath(*parts[:end])
            whole = [stem / "__init__.py"] if end or name == "" else []
            if end:
                whole.append(stem.with_suffix(".py"))
            yield from (path.resolve() for path in whole if path.is_file())
        return


def code_that_counts(target: str | None, path: str | None) -> dict[str, str]:
    """Name -> hash of every file behind a method's runs that is not as it shipped; {} in an untouched tree.

    Args:
        target: the method's dotted class, `methods.pt.PT`.
        path: a Python file that holds the method instead.

    Raises:
        ValueError: there is no such file.
    """
    if path:
        own: Path | None = Path(path).expanduser()
        if own is not None and not own.is_file():
            raise ValueError(
                f"method.path={path}: there is no such file. Give the path of a Python file with one method"
            )
    else:
        own = _target_file((target or "").rpartition(".")[0])
    found = dict(_engine())
    own = own.resolve() if own else None
    for file in imported_files(own) if own else []:
        is_own = file == own
        # a user's file is read anew for every run, modules are imported once: what is told is what is computed with
        told = source_sha256(file) if is_own and path else told_sha256(file)
        name = "own" if is_own else _short(file, own)
        if _place(file) not in UNSEEN and shipped_sources().get(_place(file)) != told:
            found[name] = told
    return found


def _target_file(module: str) -> Path | None:
    """The file of a dotted module: in the tree, or found (not imported) elsewhere on sys.path."""
    inside = [path for path in _module_files(module, [ROOT]) if path.with_suffix("").parts[-1] == module.split(".")[-1]]
    if inside or not module:
        return inside[0] if inside else None
    try:
        spec = importlib.util.find_spec(module)
    except (ImportError, ValueError):
        return None
    return Path(spec.origin) if spec and spec.origin and Path(spec.origin).is_file() else None


@cache
def _engine() -> dict[str, str]:
    """The engine's files that are not as they shipped, and shipped ones that are gone."""
    files = {_place(file): told_sha256(file) for file in engine_files()}
    shipped = {name: told for name, told in shipped_sources().items() if not name.startswith("methods/")}
    differing = {name: told for name, told in files.items() if shipped_sources().get(name) != told}
    return differing | {name: "gone" for name in shipped if name not in files}


def _place(file: Path) -> str:
    """A file's place in the tree; elsewhere its whole path, which names no shipped file."""
    return file.relative_to(ROOT).as_posix() if file.is_relative_to(ROOT) else file.as_posix()


def _short(file: Path, own: Path | None) -> str:
    """A file's place told from the tree or from the method, so that a moved folder keeps its name."""
    for base in (ROOT, own.parent if own else ROOT):
        if file.is_relative_to(base):
            return file.relative_to(base).as_posix()
    return file.name


@cache
def told_sha256(file: Path) -> str:
    """As `source_sha256`, once per process; a file that is as it shipped is not read token by token."""
    raw = hashlib.sha256(file.read_bytes()).hexdigest()
    return _by_bytes().get(raw) or source_sha256(file)


@cache
def _listed() -> dict[str, dict[str, str]]:
    return dict(json.loads(SHIPPED.read_text(encoding="utf-8")))


@cache
def shipped_sources() -> dict[str, str]:
    """File -> hash of its tokens, as shipped."""
    return {name: entry["tokens"] for name, entry in _listed().items()}


@cache
def _by_bytes() -> dict[str, str]:
    """Hash of bytes -> of tokens: a file that is as shipped to the byte need not be read again."""
    return {entry["bytes"]: entry["tokens"] for entry in _listed().values()}
