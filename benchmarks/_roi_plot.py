"""Draws the figures of the `roi` benchmark, with matplotlib in an environment of its own."""

from __future__ import annotations

import json
import subprocess
import tempfile
from pathlib import Path

from benchmarks import environments
from benchmarks._roi_print import Found

MATPLOTLIB = "matplotlib==3.11.2"


def draw(found: Found, picture: Path) -> None:
    """Write a .png or .svg. Raises PeerUnavailable."""
    python = environments.python_with([MATPLOTLIB])
    script = Path(__file__).parent / "peers" / "draw_roi.py"
    with tempfile.TemporaryDirectory() as folder:
        figures = Path(folder) / "figures.json"
        figures.write_text(json.dumps(found))
        command = [str(python), str(script), str(figures), str(picture.absolute())]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise environments.PeerUnavailable(f"matplotlib could not draw:\n{done.stderr[-2000:]}")
    print(f"drawn: {picture}")
