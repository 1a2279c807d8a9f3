"""How every command ends: a sentence and exit code 2 where the file system refuses, never a traceback."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from functools import wraps
from pathlib import Path
from typing import ParamSpec

from results.files import refusal, write_text

P = ParamSpec("P")
STOPPED = 130  # Ctrl-C, as a shell counts it


def command(main: Callable[P, int]) -> Callable[P, int]:
    """Decorator of a `main`: its exit code, also where a file cannot be read or written.

    A file that is not there, a folder in its place, no permission, a full disk: one sentence, 2. A reader who has
    enough (`| head`): 0. Ctrl-C: 130.
    """

    @wraps(main)
    def ended(*arguments: P.args, **options: P.kwargs) -> int:
        try:
            code = main(*arguments, **options)
            sys.stdout.flush()  # what cannot be written is told here, not by the interpreter at its end
            return code
        except BrokenPipeError:
            code = 0
        except OSError as error:
            print(refusal(error), file=sys.stderr)
            code = 2
        except KeyboardInterrupt:
            code = STOPPED
        _flush()
        return code

    return ended


def _flush() -> None:
    """Print what waits; what cannot be printed goes nowhere, or the interpreter would try again at its end."""
    try:
        sys.stdout.flush()
    except OSError:
        sys.stdout = open(os.devnull, "w", encoding="utf-8")  # noqa: SIM115


def place(text: str) -> Path:
    """A file or folder that an argument names (a shell leaves the ~ of `out=~/x` as it is)."""
    return Path(text).expanduser()


def deliver(text: str, out: str | None) -> int:
    """Write text into the file that `out=` names, and say so, or print it where none is named; 0."""
    if out:
        write_text(place(out), text)
        print(f"wrote {out}")
    else:
        sys.stdout.write(text)
    return 0
