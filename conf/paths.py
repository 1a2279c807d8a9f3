"""Where things are kept. Neither depends on the working directory."""

from __future__ import annotations

from pathlib import Path

from conf.schema import Config
from results.content import default_cache
from results.ledger import Ledger, default_root


def ledger_of(config: Config) -> Ledger:
    """The ledger that `ledger.root` names (default: results/runs beside run.py)."""
    return Ledger(Path(config.ledger.root).expanduser() if config.ledger.root else default_root())


def cache_root(config: Config) -> Path:
    """Models and data that were brought: `cache.root`, $SOFT_PROMPT_BENCH_CACHE, or ~/.cache/soft-prompt-bench."""
    return Path(config.cache.root).expanduser() if config.cache.root else default_cache()
