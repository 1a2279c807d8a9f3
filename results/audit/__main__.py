"""`python -m results.audit`: what published tables (and this project's own) could show, from their test sets.

    python -m results.audit                      print the page for every paper on file
    python -m results.audit paper=dept,accept    for these papers
    python -m results.audit out=docs/audit.md    write it, with its two figures beside it
    python -m results.audit ledger.root=DIR      our own tables from a ledger too, not from the committed runs alone

No GPU, no predictions of others: printed values, sizes of test sets, formulas. Nothing here says whether a claim holds.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence

from results.audit.page import page
from results.command_line import command, deliver, place
from results.ledger import root_of
from results.reference import papers

KEYS = ("paper", "out", "ledger.root")
# the papers whose methods are built here come first, in the order in which they appeared
ORDER = ("pt", "ptuning_v2", "apt", "dept", "accept", "adept")


@command
def main(arguments: Sequence[str] | None = None) -> int:
    """0 when the page was made, 2 when the arguments are wrong."""
    arguments = sys.argv[1:] if arguments is None else arguments
    if any(word in ("-h", "--help", "help") for word in arguments):
        print(__doc__)
        return 0
    given = dict(word.partition("=")[::2] for word in arguments)
    wrong = [word for word in given if word not in KEYS]
    wanted = [name for name in given.get("paper", "all").split(",") if name]
    known = in_order()
    unknown = [name for name in wanted if name not in (*known, "all")]
    if wrong or unknown or not wanted:
        said = f"{', '.join(wrong)}: unknown; the keys are {', '.join(KEYS)}" if wrong else ""
        said = said or f"paper={','.join(unknown)}: not on file; paper=all or some of {', '.join(known)}"
        print(said, file=sys.stderr)
        return 2
    chosen = known if "all" in wanted else wanted
    out = place(given["out"]) if given.get("out") else None
    said = "python -m results.audit" + "".join(f" {key}={given[key]}" for key in KEYS if key in given)
    ledger = str(root_of(given["ledger.root"])) if given.get("ledger.root") else None
    text = page(chosen, said, ledger, figures=out is not None)
    if out is None:
        return deliver(text, None)
    from results.audit.figures import draw

    deliver(text, str(out))
    paths = draw(out.parent, chosen)
    print(f"and beside it {', '.join(path.name for path in paths)}")
    return 0


def in_order() -> list[str]:
    """Every paper on file, those of the methods built here first."""
    return sorted(papers(), key=lambda name: (ORDER.index(name) if name in ORDER else len(ORDER), name))


if __name__ == "__main__":
    raise SystemExit(main())
