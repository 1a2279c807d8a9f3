"""``python -m results.report [key=value ...] [out=FILE] [ledger.root=DIR] [title=TEXT]``."""

from __future__ import annotations

import sys

from results.report.command import main

if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
