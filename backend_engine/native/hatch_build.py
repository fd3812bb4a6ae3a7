"""Puts the compiled kernels into a wheel, which is then one for this platform.

hatchling loads this file by its path. Without a compiler the wheel carries the sources alone, fits every
platform, and the build says so; such a wheel compiles its kernels where it is used, or leaves them to torch.
"""

from __future__ import annotations

import re
import shutil
import sys
import sysconfig
import tempfile
from pathlib import Path
from typing import Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface


class KernelsHook(BuildHookInterface[Any]):
    """Compiles the library while a wheel is built; an editable install compiles its own at set-up."""

    PLUGIN_NAME = "custom"
    _folder: Path | None = None

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        if version == "editable":
            return
        # The package that is being built, whatever else is installed.
        sys.path.insert(0, self.root)
        from backend_engine.native import build

        self._folder = Path(tempfile.mkdtemp())
        library = self._folder / build.shipped_name()
        try:
            build.build_shipped(library)
        except build.BuildError as error:
            self.app.display_warning(f"This wheel has no compiled kernels: {error}")
            return
        finally:
            sys.path.remove(self.root)
        inside = build.SHIPPED.relative_to(build.SHIPPED.parents[2]) / library.name
        build_data["force_include"][str(library)] = inside.as_posix()
        build_data["pure_python"] = False
        build_data["tag"] = f"py3-none-{platform_tag(library.read_bytes())}"

    def finalize(self, version: str, build_data: dict[str, Any], artifact_path: str) -> None:
        if self._folder is not None:
            shutil.rmtree(self._folder)


def platform_tag(library: bytes) -> str:
    """Return the platform tag of a wheel that carries `library`, which links the C library alone.

    Against glibc that is the newest version whose symbols it asks for (PEP 600), and any Linux otherwise.
    """
    platform = re.sub(r"[-.]", "_", sysconfig.get_platform())
    versions = [int(minor) for minor in re.findall(rb"\0GLIBC_2\.(\d+)", library)]
    if not versions or not platform.startswith("linux_"):
        return platform
    # Older machines than this are none that Python 3.11 wheels are made for.
    return platform.replace("linux", f"manylinux_2_{max(17, *versions)}", 1)
