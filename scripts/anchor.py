"""The smoke anchor by length: `python scripts/anchor.py` says where the committed run of paper=smollm2 is right.

SmolLM2's card has PIQA 66.3 over all 1,838 validation rows; the package that carries PIQA without the Hub kept 1,500.
Which ones decides the score: accuracy is printed for fifths of the rows by their length, with what that says of the
rows that are not there.
"""

from __future__ import annotations

import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path[:] = [str(ROOT), *(p for p in sys.path if p != str(ROOT / "scripts"))]  # scripts/ names some packages
PUBLISHED, ROWS = 66.3, 1838
HUB_BYTES = 464_309  # of the validation split, labels and offsets included (dataset card of ybisk/piqa)
FIFTHS = 5


def main() -> int:
    """0; 2 where no such run is committed."""
    from conf.compose import compose, typed
    from results.archive import archived
    from runners.assemble import load_data

    runs = [run for run in archived("smollm2").runs if run.done]
    if not runs:
        print("no run of paper=smollm2 is committed", file=sys.stderr)
        return 2
    config = typed(compose(["task=mc/piqa", "protocol=lighteval", "method=none", "runner=paper"]))
    right = {row["id"]: row["prediction"] == row["reference"] for row in runs[0].predictions()}
    texts = {example.id: (example.source, *example.choices) for example in load_data(config).splits["test"]}
    frame = len("Question: \nAnswer:")
    rows = sorted((sum(map(len, text)) - frame, right[name]) for name, text in texts.items())
    accuracy = 100.0 * sum(hit for _, hit in rows) / len(rows)
    print(f"run {runs[0].id}: accuracy {accuracy:.1f} on {len(rows):,} rows, published {PUBLISHED} on {ROWS:,}")
    size = -(-len(rows) // FIFTHS)
    for start in range(0, len(rows), size):
        part = rows[start : start + size]
        share = 100.0 * sum(hit for _, hit in part) / len(part)
        print(f"  goal and both solutions of {part[0][0]} to {part[-1][0]} characters: {share:.1f}")
    held = sum(len("".join(text).encode()) - frame for text in texts.values())
    lacking = ROWS - len(rows)
    each = (HUB_BYTES - 20 * ROWS - held) / lacking  # a label of 8 bytes and three offsets of 4 a row
    needed = (PUBLISHED * ROWS - accuracy * len(rows)) / lacking
    print(
        f"  the {lacking} rows that are not there have about {each:.0f} bytes each, those here {held / len(rows):.0f}"
    )
    print(f"  with {needed:.1f} on them the whole split would have {PUBLISHED}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
