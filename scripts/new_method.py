"""The forms in which `scripts/new.py method` makes a method: module, YAML and card of each, from scripts/templates/."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from string import Template

TEMPLATES = Path(__file__).resolve().parent / "templates"
START = """init: null                 # uniform | sampled_vocabulary | class_labels | text | normal
init_text: null
init_text_eos: null"""
TEXTS = """defaults_by_fidelity:
  author: {init_text: "Classify this text is postive or not:", init_text_eos: true}
  corrected: {init_text: "Classify this text as positive or not:", init_text_eos: false}"""


@dataclass(frozen=True)
class Form:
    """One form.

    Attributes:
        about: what it is, for the command line's help.
        groups: parameter groups, as under `method.lr`, with a rate for T5 and one for the others.
        capabilities: as conf/capabilities.py reads them.
        length: the option that is a length, its default, or None.
        equation: for the card.
        trained: for the card.
    """

    about: str
    groups: dict[str, tuple[float, float]]
    capabilities: str
    length: tuple[str, int] | None
    equation: str
    trained: str

    @property
    def starts_from_rows(self) -> bool:
        return self.length is not None and self.length[0] == "prompt_length"


PROMPT, PACKS = {"prompt": (0.3, 0.01)}, "{length: prompt_length, packs: true}"
M20 = ("prompt_length", 20)
FORMS = {
    "prompt": Form("one prompt for all examples", PROMPT, PACKS, M20, "`[P; X]` with P (m, d)", "`prompt` (P); m d"),
    "by_input": Form(
        "a prompt that depends on the example", PROMPT | {"network": (0.001, 0.001)}, PACKS, M20,
        "`[P + W s; X]` with P (m, d), W (d, d) and s (d) the mean of the example's token embeddings",
        "`prompt` (P), `network` (W); m d + d d",
    ),
    "offset": Form(
        "a prompt and an offset on the tokens", PROMPT | {"offset": (0.0005, 0.001)}, PACKS, M20,
        "`[P; X + v]` with P (m, d) and v (d)", "`prompt` (P), `offset` (v); m d + d",
    ),
    "prefix": Form(
        "keys and values in front of every layer's", {"prefix": (0.01, 0.01)}, "{length: prefix_length}",
        ("prefix_length", 8), "keys and values `[K_P; K]`, `[V_P; V]` in every self-attention", "`prefix`; 2 L l H d_h",
    ),
    "weights": Form(
        "changed projections inside the model", {"weights": (0.001, 0.001)}, "{}", None,
        "`y (.) (1 + g)` at every q and v", "`weights` (g); one per output",
    ),
    "stages": Form(
        "an earlier run's prompt, masked and trained on", PROMPT, "{length: prompt_length}", M20,
        "`[P (.) M; X]`, M found before training from the gradients of the training examples", "`prompt` (P); m d",
    ),
}  # fmt: skip


def words(name: str, form: Form) -> dict[str, str]:
    """What the templates say of a form."""
    rates = ", ".join(f"{group}: null" for group in (*form.groups, "head"))

    def block(place: int, init: str, head: str = "") -> str:
        given = [f"init: {init}"] if form.starts_from_rows else []
        given += [f"lr.{group}: {rate[place]}" for group, rate in form.groups.items()]
        return "{" + ", ".join([*given, *([head] if head else [])]) + "}"

    length = "" if form.length is None else f"{form.length[0]}: {form.length[1]}\n"
    options = length + (START if form.starts_from_rows else "" if length else "start: 0.0")
    ranges = f"ranges: {{{form.length[0]}: integer >= 1}}     # conf/check.py has the notation" if form.length else ""
    choices = "choices:\n  init: [uniform, sampled_vocabulary, class_labels, text, normal]\n" + TEXTS
    families = "\n".join([
        "defaults_by_family:        # a backbone's name may refine its family",
        f"  t5: {block(0, 'sampled_vocabulary')}",
        f"  llama: {block(1, 'text')}",
        f"  encoder: {block(1, 'sampled_vocabulary', 'lr.head: 0.001')}",
        f"  default: {block(1, 'sampled_vocabulary')}",
    ])  # fmt: skip
    space = ", ".join(f"lr.{g}: [{r[1] / 3:.2g}, {r[1]}, {r[1] * 3:.2g}]" for g, r in form.groups.items())
    blocks = [ranges, choices if form.starts_from_rows else "", families]
    return {
        "name": name,
        "class_name": "".join(part.capitalize() for part in name.split("_")),
        "capabilities": form.capabilities,
        "options": options.rstrip(),
        "rates": f"{{{rates}}}",
        "blocks": "\n".join(part for part in blocks if part),
        "space": f"{{{space}}}",
        "equation": form.equation,
        "trained": form.trained,
    }


def method_texts(name: str, kind: str) -> dict[str, str]:
    """Relative path -> text of a new method's file, YAML and card."""
    parts = {
        f"methods/{name}.py": f"method_{kind}.py.txt",
        f"conf/method/{name}.yaml": "method.yaml.txt",
        f"docs/methods/{name}.md": "method.md.txt",
    }
    said = words(name, FORMS[kind])
    texts = {path: (TEMPLATES / template).read_text(encoding="utf-8") for path, template in parts.items()}
    return {path: Template(text).substitute(said) for path, text in texts.items()}
