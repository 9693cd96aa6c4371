from __future__ import annotations

import pytest

from devenv.database import MY_CNF, Server

# what my.cnf promises to a reader, by the name that both servers show it under
BOTH = {
    "log_bin": "ON",
    "server_id": "1",
    "binlog_format": "ROW",
    "binlog_row_image": "FULL",
    "binlog_row_metadata": "FULL",
    "binlog_expire_logs_seconds": "604800",
    "max_binlog_size": "268435456",
    "log_slave_updates": "ON",
    "sync_binlog": "1",
    "innodb_flush_log_at_trx_commit": "1",
    "character_set_server": "utf8mb4",
    "collation_server": "utf8mb4_unicode_ci",
    "time_zone": "+00:00",
    "max_allowed_packet": "67108864",
    "skip_name_resolve": "ON",
}
OWN = {
    "mariadb": {"log_bin_compress": "OFF", "gtid_strict_mode": "ON"},
    "mysql": {"gtid_mode": "ON", "enforce_gtid_consistency": "ON", "binlog_transaction_compression": "OFF"},
}


def test_every_value_is_in_force(either: Server) -> None:
    """Both servers run with what my.cnf says, under their own names for it."""
    lines = either.sql("SHOW GLOBAL VARIABLES").splitlines()
    shown = dict(line.split("\t", 1) for line in lines if "\t" in line)
    wanted = BOTH | OWN[either.installation.flavour]
    assert {name: shown.get(name) for name in wanted} == wanted


def test_no_line_is_an_error(either: Server) -> None:
    """Neither server logs an error about the file."""
    assert either.errors() == []


@pytest.mark.parametrize("line", [line for line in MY_CNF.read_text().splitlines() if " = " in line])
def test_each_line_has_its_reason(line: str) -> None:
    """The line above a setting, or above the setting that shares its reason, is a comment."""
    lines = MY_CNF.read_text().splitlines()
    above = lines[: lines.index(line)]
    while above and " = " in above[-1]:
        above.pop()
    assert above[-1].startswith("# ")
    assert not above[-1].startswith("# --")
