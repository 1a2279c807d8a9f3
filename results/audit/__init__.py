"""What a published table could show, from its cells, test sizes and protocols alone: `python -m results.audit`."""
