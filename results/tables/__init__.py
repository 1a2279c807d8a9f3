"""Paper-style tables from the ledger: `python -m results.tables paper=demo`."""
