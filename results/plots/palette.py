"""One colour and marker per method, the same in every figure and in the report.

Colours are those of Okabe and Ito (2008), told apart under the common colour-vision deficiencies; markers carry
the same distinction without colour.
"""

from __future__ import annotations

from results.standing import told

LABELS = {
    "pt": "PT", "dept": "DePT", "adept": "ADePT", "accept": "ACCEPT", "apt": "APT", "ptuning_v2": "P-tuning v2",
    "prefix": "Prefix tuning", "lora": "LoRA", "ia3": "IA3", "bitfit": "BitFit", "adapter": "Adapter",
    "full": "Full fine-tuning", "head_only": "Head only", "none": "zero-shot", "majority": "majority class",
}  # fmt: skip
COLOURS = {
    "pt": "#0072b2", "dept": "#d55e00", "adept": "#009e73", "accept": "#cc79a7", "apt": "#e69f00",
    "ptuning_v2": "#56b4e9", "prefix": "#8c6bb1", "lora": "#5b6770", "ia3": "#a6761d", "bitfit": "#7a9a01",
    "adapter": "#b2182b", "full": "#222222", "none": "#7f8a94", "majority": "#b3bcc4",
}  # fmt: skip
SPARE_COLOURS = ("#8c6bb1", "#a6761d", "#7a9a01", "#b2182b", "#1b7837", "#35618f")
MARKERS = dict(zip(COLOURS, "osD^vPXhd<>*pH", strict=True))


def label(method: str) -> str:
    """The method's name as papers write it."""
    return told(method, LABELS.get(method, method))


def colour(method: str) -> str:
    """The method's colour, the same everywhere (unknown methods: by their name, from spare colours)."""
    return COLOURS.get(method, SPARE_COLOURS[sum(method.encode()) % len(SPARE_COLOURS)])


def marker(method: str) -> str:
    return MARKERS.get(method, "o")


def order(method: str) -> tuple[int, str]:
    """Sort key: methods in the order of the table of labels, then by name."""
    names = list(LABELS)
    return (names.index(method) if method in names else len(names), method)
