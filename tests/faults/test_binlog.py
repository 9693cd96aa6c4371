from __future__ import annotations

import pytest

from devenv.database import Server
from tests.faults.binlog import committed_ids, in_commit_order, inserted
from tests.faults.conftest import MakeProduct
from tests.faults.recorder import Seen

INSERT = "### INSERT INTO `a`.`t`"


def test_only_committed_rows_of_the_table_count() -> None:
    """Rows of another table, of a transaction that was rolled back, and of one cut off at a file's end do not."""
    log = f"""START TRANSACTION
{INSERT}
### SET
###   @1=1
###   @2=7
### INSERT INTO `b`.`t`
###   @1=8
COMMIT/*!*/;
BEGIN
{INSERT}
###   @1=2
ROLLBACK/*!*/;
START TRANSACTION
{INSERT}
###   @1=3
START TRANSACTION
{INSERT}
###   @1=5
{INSERT}
###   @1=4
COMMIT
/*!*/;
{INSERT}
###   @1=9
"""
    assert list(inserted(log.splitlines(), INSERT)) == [1, 5, 4]


def test_the_log_knows_the_order_of_commits(mariadb: Server, make_product: MakeProduct) -> None:
    """The order of commits, not of ids; a row in the wrong place, missing or twice is an error."""
    product = make_product(mariadb, start=False)
    row = "INSERT INTO cctv_detection_results (id, cctv_id, data, timestamp) VALUES "
    product.sql(f"{row}(9, 1, '{{}}', NOW()); {row}(2, 1, '{{}}', NOW()), (5, 1, '{{}}', NOW())")
    assert committed_ids(product) == [9, 2, 5]
    events = [Seen("e", offset, {"id": number}) for offset, number in enumerate((9, 2, 5), 1)]
    in_commit_order(product, events)
    for wrong in (events[:2], [*events, events[2]], [events[1], events[0], events[2]]):
        with pytest.raises(AssertionError, match="in the log"):
            in_commit_order(product, wrong)
