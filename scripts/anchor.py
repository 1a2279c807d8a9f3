"""The smoke anchor taken apart: what of its distance to the published score comes from where.

SmolLM2's card has PIQA 66.3 over all 1,838 validation rows; the committed run of paper=smollm2 scored the 1,500 that a
package kept, with weights that were rounded to 4 bits.

    python scripts/anchor.py              where that run is right, for fifths of the rows by their length, with what
                                          that says of the rows that are not there, and what chance alone may do
    python scripts/anchor.py weights      what one rounding of the weights more costs, from the scorings that are kept
    python scripts/anchor.py weights seeds=4
                                          makes those that are lacking (4.6 minutes each on one core)
"""

from __future__ import annotations

import math
import sys
from collections.abc import Sequence
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path[:] = [str(ROOT), *(p for p in sys.path if p != str(ROOT / "scripts"))]  # scripts/ names some packages

from results.command_line import command  # noqa: E402

PUBLISHED, ROWS = 66.3, 1838
HUB_BYTES = 464_309  # of the validation split, labels and offsets included (dataset card of ybisk/piqa)
FIFTHS = 5


@command
def main(arguments: Sequence[str]) -> int:
    """0; 2 where the words are wrong, or no such run is committed."""
    if not arguments:
        return rows_there()
    seeds = arguments[1].removeprefix("seeds=") if len(arguments) == 2 else "0"
    if arguments[0] != "weights" or len(arguments) > 2 or not seeds.isdigit():
        print(__doc__)
        return 0 if set(arguments) & {"-h", "--help"} else 2
    from scripts.anchor_weights import fill, told, wanted

    fill(wanted(int(seeds)))
    print("\n".join(told()))
    return 0


def rows_there() -> int:
    """Accuracy by length, and what the rows that are not there would have to score."""
    from conf.compose import compose, typed
    from results.archive import archived
    from runners.data import load_data

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
    spread = 196 * math.sqrt(accuracy / 100 * (1 - accuracy / 100) / len(rows))
    whole = 196 * math.sqrt(PUBLISHED / 100 * (1 - PUBLISHED / 100) / ROWS)
    print(
        f"  binomial 95% intervals: {accuracy:.1f} ± {spread:.1f} on {len(rows):,} rows, {PUBLISHED} ± {whole:.1f} on "
        f"{ROWS:,}; most rows are the same, so chance explains less of the difference than these two"
    )
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
