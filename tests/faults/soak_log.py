"""The whole order of commits, though parts of the server's log are thrown away while it is followed."""

from __future__ import annotations

from array import array
from collections.abc import Collection, Sequence

from tests.faults.binlog import committed_ids
from tests.faults.product import Product


class CommitOrder:
    """What ``mariadb-binlog -v`` (``mysqlbinlog -v``) says was committed, kept before each purge or reset."""

    def __init__(self, product: Product) -> None:
        self._product = product
        self._ids = array("q")

    def keep(self) -> None:
        """Read the log that there is; nobody may write from now until it is thrown away."""
        self._ids.extend(committed_ids(self._product))

    def differences(self, ids: Sequence[int], read: Collection[int], last: int) -> int:
        """How many of the rows up to ``last`` stand in another place than the log has them.

        Rows in ``read`` came from the table behind a gap, in the order of its key: they are left out on both sides.
        """
        logged = [number for number in self._ids if number not in read]
        end = logged.index(last) + 1
        return sum(a != b for a, b in zip(ids, logged[:end], strict=False)) + abs(len(ids) - end)
