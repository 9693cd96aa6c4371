"""A disk of its own for a journal, small enough to be filled. Mounting one takes root."""

from __future__ import annotations

import contextlib
import shutil
import subprocess
from pathlib import Path
from types import TracebackType


class SmallDisk:
    """A tmpfs of ``size`` bytes at ``folder`` where we may mount one, else only the folder; a context manager.

    What lies on it is copied to ``kept`` when it is left, for whoever looks into an unclean run.
    """

    def __init__(self, folder: Path, kept: Path, size: int) -> None:
        self.folder = folder
        self._kept = kept
        self._size = size
        self._filler = folder / "filler"
        self.small = False

    def __enter__(self) -> SmallDisk:
        self.folder.mkdir()
        command = ["mount", "-t", "tmpfs", "-o", f"size={self._size}", "tmpfs", str(self.folder)]
        self.small = subprocess.run(command, check=False, capture_output=True).returncode == 0
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self.small:
            self._filler.unlink(missing_ok=True)
            shutil.copytree(self.folder, self._kept)
            subprocess.run(["umount", "--lazy", str(self.folder)], check=True)

    def fill(self, leaving: int = 0) -> None:
        """Take all the room that is left, but for about so many bytes."""
        with self._filler.open("wb", buffering=0) as filler:
            for size in (1 << 20, 4096):
                with contextlib.suppress(OSError):
                    while filler.write(b"\0" * size) == size:
                        pass
            filler.truncate(max(0, filler.tell() - leaving))

    def free(self) -> None:
        """Give it back."""
        self._filler.unlink()
