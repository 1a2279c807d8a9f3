"""Tasks: what an example looks like as text, how it is split, how it is scored."""
