"""What fitting and packing do to the prompts they change, measured: `python -m quality`."""
