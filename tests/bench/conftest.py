from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from bench.stage import Stage
from devenv.database import Server


class BorrowedStage(Stage):
    """A stage that uses the run's MariaDB and installs nothing: a bench runs here to see that it runs."""

    def __init__(self, folder: Path, server: Server) -> None:
        super().__init__(folder, quick=True)
        self._borrowed = server

    def server(self, _: object) -> Server:
        """The run's."""
        return self._borrowed


@pytest.fixture
def stage(tmp_path: Path, mariadb: Server) -> Iterator[Stage]:
    """A stage below the test's folder."""
    with BorrowedStage(tmp_path, mariadb) as borrowed:
        yield borrowed
