"""Where things are kept. Neither depends on the working directory."""

from __future__ import annotations

import os
from pathlib import Path

from conf.schema import Config
from results.ledger import Ledger, default_root


def ledger_of(config: Config) -> Ledger:
    """The ledger that `ledger.root` names (default: results/runs beside run.py)."""
    return Ledger(Path(config.ledger.root).expanduser() if config.ledger.root else default_root())


def cache_root(config: Config) -> Path:
    """Models and data that were brought: `cache.root`, $SOFT_PROMPT_BENCH_CACHE, or ~/.cache/soft-prompt-bench."""
    chosen = config.cache.root or os.environ.get("SOFT_PROMPT_BENCH_CACHE")
    return Path(chosen).expanduser() if chosen else Path.home() / ".cache" / "soft-prompt-bench"
