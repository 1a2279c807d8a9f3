"""Every architecture x method x question against plain transformers: `python scripts/walk.py [names] [--docs]`.

Each cell takes a tiny random checkpoint (backbones/specimens.py) through a run's own path and compares it with what
transformers says of the same rows, one by one and unpadded: input-level methods by the embeddings that they make,
prefixes by the model's own eager attention with their keys and values in front, LoRA by merged weights. A cell is
admitted (equal to 1e-4 of the scale, and the method acts), refused (a sentence says why), wrong, or a traceback.
`--docs` writes docs/backbones.md. The last line is `wrong=0 traceback=0 admitted=N refused=M`; the exit code is 1 if
anything is wrong or a traceback.
"""

from __future__ import annotations

import os
import sys
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import redirect_stdout
from dataclasses import dataclass
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
sys.path[:] = [str(ROOT), *(p for p in sys.path if p != str(ROOT / "scripts"))]  # scripts/ names some packages

from results.command_line import command  # noqa: E402

os.environ.setdefault("TRANSFORMERS_VERBOSITY", "error")

METHODS = ("pt", "dept", "adept", "accept", "prefix", "apt", "lora")
TEXT, ENCODER = ("loss", "rank", "generate"), ("loss", "classify", "tag")
BOUND = 1e-4


@dataclass(frozen=True)
class Cell:
    """One outcome: `admitted` | `refused` | `wrong` | `traceback`, with a sentence where it is not admitted."""

    architecture: str
    method: str
    question: str
    outcome: str
    says: str = ""


@command
def main(arguments: Sequence[str]) -> int:
    """Walk; 1 if anything is wrong."""
    if any(argument in ("-h", "--help") for argument in arguments):
        print(__doc__)
        return 0
    from backbones.specimens import SPECIMENS

    named = [argument for argument in arguments if not argument.startswith("-")]
    unknown = [name for name in named if name not in SPECIMENS]
    if unknown:
        print(f"no specimen is called {', '.join(unknown)}; there are {', '.join(SPECIMENS)}", file=sys.stderr)
        return 2
    cells: list[Cell] = []
    for name in named or SPECIMENS:
        found = list(walk(name))
        cells += found
        print(f"{name:20s} {line_of(found)}", flush=True)
    for cell in cells:
        if cell.outcome in ("wrong", "traceback"):
            print(f"{cell.outcome}: {cell.architecture} {cell.method} {cell.question}: {cell.says}")
    bad = any(cell.outcome in ("wrong", "traceback") for cell in cells)
    if "--docs" in arguments and not named and not bad:
        from scripts.walk_docs import write

        write(cells)
    print(counted(cells))
    return int(bad)


def counted(cells: Sequence[Cell]) -> str:
    """How many cells had which outcome."""
    kinds = ("wrong", "traceback", "admitted", "refused")
    return " ".join(f"{kind}={sum(cell.outcome == kind for cell in cells)}" for kind in kinds)


def line_of(cells: Sequence[Cell]) -> str:
    """What became of each method on one architecture, in one line."""
    marks = {"admitted": "+", "refused": "-", "wrong": "WRONG", "traceback": "TRACEBACK"}
    said = []
    for method in dict.fromkeys(cell.method for cell in cells):
        kinds = [marks[cell.outcome] for cell in cells if cell.method == method]
        said.append(f"{method} {''.join(kinds)}")
    return "  ".join(said)


def walk(name: str) -> Iterator[Cell]:
    """Every method and question on one specimen."""
    from backbones.specimens import SPECIMENS, save_specimen
    from scripts.walk_sides import Sides
    from tasks.families import family

    questions = TEXT if family(SPECIMENS[name].family).writes else ENCODER
    with tempfile.TemporaryDirectory() as scratch, redirect_stdout(sys.stderr):
        folder = save_specimen(name, Path(scratch) / name)
        sides, refused = _tried(lambda: Sides(name, folder))
        for method in METHODS:
            said = refused
            if said is None:
                answered, said = _tried(lambda method=method: sides.answered(method))
            for question in questions:
                yield Cell(name, method, question, *(said or judged(answered, question)))


def judged(answered: dict[str, Any], question: str) -> tuple[str, str]:
    """`admitted` or `wrong`, by what both sides say."""
    difference, change = answered[question]
    if difference > BOUND:
        return "wrong", f"differs from plain transformers by {difference:.2g} of the scale"
    if not change > difference:
        return "wrong", f"the method does not act (the answers move by {change:.2g} of the scale)"
    if answered["idle"]:
        return "wrong", f"no gradient reaches {', '.join(answered['idle'])}"
    return "admitted", ""


def _tried(what: Any) -> tuple[Any, tuple[str, str] | None]:
    """(value, None), or (None, outcome and sentence) where it is refused or breaks."""
    import traceback

    try:
        return what(), None
    except ValueError as error:
        last = traceback.extract_tb(error.__traceback__)[-1].filename
        if str(ROOT) in last:  # a sentence of ours
            return None, ("refused", str(error))
        return None, ("traceback", f"{type(error).__name__}: {error} ({last})")
    except Exception as error:
        place = traceback.extract_tb(error.__traceback__)[-1]
        return None, ("traceback", f"{type(error).__name__}: {error} ({place.filename}:{place.lineno})")


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
