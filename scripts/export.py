"""A finished run for others: `python scripts/export.py run=<run_id> [to=<folder>]` writes a PEFT adapter.

The folder has adapter_config.json, adapter_model.safetensors and a model card (README.md): what
`peft.PeftModel.from_pretrained(model, folder)` loads and what may be pushed to the Hub as it is. It is written only if
PEFT, on the plain model, gives the run's own log-probabilities; what PEFT cannot express is refused with the reason.
Offsets by token (ADePT) on a decoder-only model come as a folded table beside it, embed_tokens.safetensors.

    python scripts/export.py run=<run_id> form=prompt_embeds rows.csv [to=<file>]

writes, for each row of a file, what the model reads as vectors: [prompt; shifted tokens], as vLLM takes it. Lines of
JSON with `prompt_embeds` (base64 of a saved tensor) beside the row (docs/finished_runs.md sends them).

    options: run=<id or its beginning>  form=<peft|prompt_embeds>  to=<folder>  ledger=<folder>  cache=<folder>
             force=true (an export that is there already is overwritten)
"""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
sys.path[:] = [str(ROOT), *(p for p in sys.path if p != str(ROOT / "scripts"))]  # scripts/ names some packages

from results.command_line import command, place  # noqa: E402
from results.files import making, refuse_taken, write_text  # noqa: E402

OPTIONS = {
    "run": "id", "form": "peft|prompt_embeds", "to": "folder", "ledger": "folder", "cache": "folder", "force": "true",
}  # fmt: skip
LIMITS = {"float32": 5e-6, "bfloat16": 0.1, "float16": 0.01}  # of the largest log-probability (10 to 40)


@command
def main(arguments: Sequence[str]) -> int:
    """Export one run; 2 where it cannot be."""
    os.environ.setdefault("TRANSFORMERS_VERBOSITY", "error")
    if not arguments or arguments[0] in ("-h", "--help"):
        print(__doc__)
        return 0 if arguments else 2
    from results.ledger import root_of
    from runners.finished import forced, load_finished, options_of

    try:
        given, rest = options_of(list(arguments), OPTIONS)
        form = given.get("form", "peft")
        if "run" not in given or form not in ("peft", "prompt_embeds") or len(rest) != (form == "prompt_embeds"):
            raise ValueError("give run=<run_id>, and with form=prompt_embeds a file of rows; see --help")
        root, force = root_of(given.get("ledger"), "ledger"), forced(given)
        finished = load_finished(root, given["run"], cache=given.get("cache"))
        if form == "prompt_embeds":
            from scripts.prompt_embeds import write

            print(write(finished, place(rest[0]), given.get("to"), force))
            return 0
        folder = place(given.get("to") or f"{finished.run.id}-peft")
        worst = export(finished, folder, force)
    except ValueError as error:
        print(error, file=sys.stderr)
        return 2
    print(
        f"wrote {folder}: PEFT's log-probabilities differ from the run's by {worst:.1e} of the largest at most; "
        f"load it with peft.PeftModel.from_pretrained(model, {str(folder)!r})"
    )
    return 0


def export(finished: Any, folder: Path, force: bool = False) -> float:
    """Write the adapter of a finished run; the largest difference in log-probability from the run itself, as a part of
    the largest log-probability.

    Args:
        force: an adapter that stands in the folder is replaced by this one.

    Raises:
        ValueError: PEFT has no form for it, or the one written is not the run's.
        OSError: the folder cannot be written, or something stands there (with `force`: something that is no adapter).
    """
    from scripts.model_card import card
    from scripts.peft_form import difference, form_of

    refuse_taken(folder, force)
    if folder.is_file() or (
        folder.is_dir() and any(folder.iterdir()) and not (folder / "adapter_config.json").exists()
    ):
        raise FileExistsError(f"{folder}: there already and no adapter, so it stays; give another place with to=")
    form = form_of(finished)
    with making(folder) as made:
        form.config.inference_mode = True
        form.config.save_pretrained(str(made))
        _save({name: t.detach().float() for name, t in form.tensors.items()}, made / "adapter_model.safetensors")
        if form.table is not None:
            _save({"weight": form.table}, made / "embed_tokens.safetensors")
        worst = difference(finished, made)
        limit = LIMITS[str(finished.tuned.backbone.dtype).removeprefix("torch.")]
        if not worst <= limit:
            raise ValueError(
                f"PEFT on {finished.config.backbone.name} does not do what run {finished.run.id} does: "
                f"log-probabilities differ by {worst:.2g} of the largest (allowed: {limit:.0e}); nothing was "
                "written"
            )
        write_text(made / "README.md", card(finished, form, worst))
    return worst


def _save(tensors: dict[str, Any], path: Path) -> None:
    """Write tensors in safetensors' form.

    Raises:
        OSError: there is no room for them.
    """
    from safetensors import SafetensorError
    from safetensors.torch import save_file

    try:
        save_file({name: tensor.cpu().contiguous().clone() for name, tensor in tensors.items()}, path)
    except SafetensorError as error:  # it tells of the disk in an error of its own
        raise OSError(f"{path.name}: cannot be written ({error}); name a place on another disk with to=") from None


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
