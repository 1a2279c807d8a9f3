"""Numbers of every method on every tiny backbone, as they were before the one contract.

python -m tests.contract.stored write      # only when a method's version was raised, and say so
python -m tests.contract.stored            # the largest difference from the stored numbers, on this machine
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import torch

from tests.contract import rig

FILE = Path(__file__).with_name("stored_losses.json")
OPTIONS: dict[str, list[dict[str, Any]]] = {  # beside the defaults: author's alignments, no prompt, no fold
    "dept": [{"row_alignment": "right_edge"}, {"prompt_length": 0}, {"offset_scale": "none"}],
    "adept": [{"offset_generated": False}, {"prompt_length": 0}],
    "accept": [{"row_alignment": "right_edge"}, {"scpp": False}, {"scap": False}],
    "apt": [{"token_gate": "free"}, {"token_gate": "none"}, {"gate_source": "mean"}, {"layer_gate": False}],
    "prefix": [{"reparameterisation": "mlp"}, {"position_shift": True}],
}


def numbers(method: str, name: str, options: dict[str, Any]) -> dict[str, Any]:
    """Losses, the gradient's sum and norm by tensor, answers, and decoded tokens."""
    whole, examples = rig.tuned(method, name, options=options), rig.examples(name)
    losses, _ = whole.losses(rig.batch(whole, examples))
    losses.sum().backward()
    gradients = {
        n: [float(p.grad.double().sum()), float(p.grad.double().norm())]
        for n, p in sorted(rig.parameters(whole).items())
        if p.grad is not None
    }
    kept = gradients if len(gradients) <= 12 else {"all": [sum(g[i] for g in gradients.values()) for i in (0, 1)]}
    found: dict[str, Any] = {"losses": losses.tolist(), "gradients": kept}
    scores = rig.answers(whole, examples)
    found["answers"] = scores.masked_fill(scores.isinf(), 0.0).tolist()
    if name != "tiny_bert":
        found["decoded"] = whole.generate(rig.batch(whole, examples), 4)
    return found


def all_numbers() -> dict[str, Any]:
    """Every pair, and every pair with the options above."""
    return {
        key(method, name, options): numbers(method, name, options)
        for method, name in rig.pairs()
        for options in [{}, *OPTIONS.get(method, [])]
    }


def key(method: str, name: str, options: dict[str, Any]) -> str:
    return " ".join([method, name, *(f"{k}={v}" for k, v in options.items())])


def value(text: str) -> Any:
    """An option's value from a key."""
    return json.loads(text.lower()) if text in ("True", "False") or text.isdigit() else text


def flat(tree: Any) -> list[float]:
    """Every number of nested lists and mappings, in order."""
    if isinstance(tree, dict):
        return [x for k in sorted(tree) for x in flat(tree[k])]
    return [x for part in tree for x in flat(part)] if isinstance(tree, list) else [float(tree)]


def stored() -> dict[str, Any]:
    found: dict[str, Any] = json.loads(FILE.read_text())
    return found


def main(arguments: list[str]) -> int:
    torch.set_num_threads(1)
    if arguments == ["write"]:
        FILE.write_text(json.dumps(all_numbers(), separators=(",", ":")) + "\n")
        print(f"wrote {FILE} ({FILE.stat().st_size:,} bytes)")
        return 0
    worst = 0.0
    for name, old in stored().items():
        method, backbone, *options = name.split()
        new = numbers(method, backbone, {k: value(v) for k, v in (o.split("=") for o in options)})
        difference = max(abs(a - b) for a, b in zip(flat(old), flat(new), strict=True))
        worst = max(worst, difference)
        if difference:
            print(f"{name}: {difference:.3g}")
    print(f"max diff {worst:.3g} over {len(stored())} combinations")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
