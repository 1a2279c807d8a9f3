"""``python -m results.plots KIND [key=value ...] [out=DIR] [ledger.root=DIR]``."""

from __future__ import annotations

import sys

from results.plots.command import main

if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
