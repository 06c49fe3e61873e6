"""`python -m quality`: the reports on fitting and packing, printed as Markdown."""

import argparse

from quality import fitting, packing


def main() -> None:
    """Measure, and print the reports."""
    options = argparse.ArgumentParser(prog="python -m quality", description="What fitting and packing cost in quality.")
    options.add_argument("--small", action="store_true", help="a few seconds, rough figures")
    small: bool = options.parse_args().small
    for run in (fitting.run, packing.run):
        print(run(small), end="\n\n", flush=True)


if __name__ == "__main__":
    main()
