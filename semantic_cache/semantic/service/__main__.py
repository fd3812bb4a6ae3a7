"""`python -m semantic_cache.semantic.service SOCKET`: one semantic process, for a parent that started it."""

from __future__ import annotations

import os
import sys
from pathlib import Path

from semantic_cache.semantic.launcher import EXIT_UNUSABLE, REFUSED, missing
from semantic_cache.semantic.service.options import read_options
from telemetry.logs import configure_logs


def main() -> int:
    """Run a process and return its exit status."""
    try:
        options = read_options()
    except ValueError as error:
        sys.stdout.write(f"{REFUSED}{error}\n")
        return EXIT_UNUSABLE
    configure_logs(options.log_level)
    # Before numpy and torch load their libraries. What is computed here is small, and the cores are others'.
    for name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
        os.environ.setdefault(name, "1")
    try:
        from semantic_cache.semantic.service.parts import build
        from semantic_cache.semantic.service.process import run
    except ImportError as error:
        sys.stdout.write(f"{REFUSED}{missing(error.name)}\n")
        return EXIT_UNUSABLE
    return run(Path(sys.argv[1]), options, build)


if __name__ == "__main__":
    sys.exit(main())
