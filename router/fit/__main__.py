"""`python -m router.fit LOG --out FILE [--quality 0.95]`: what `forebay route train` runs."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from router.errors import RouterError
from router.fit.learn import learn
from router.outcomes import read_outcomes
from router.policy.learned import save


def main() -> None:
    """Learn a policy from a log and say what was found."""
    parser = argparse.ArgumentParser(prog="forebay route train")
    parser.add_argument("log", type=Path)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--quality", type=float, default=0.95)
    arguments = parser.parse_args()
    try:
        learned = learn(read_outcomes(arguments.log), arguments.quality)
        save(learned, arguments.out)
    except (RouterError, OSError) as error:
        sys.exit(f"forebay route train: {error}")
    for line in learned.said:
        sys.stdout.write(f"{line}\n")
    sys.stdout.write(
        f"decides by {learned.decides_by}; from {learned.outcomes} outcomes, in {arguments.out}\n"
    )


if __name__ == "__main__":
    main()
