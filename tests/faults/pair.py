"""Two servers, one the other's replica by GTID, and what operators do with them: switch over, fail over.

Both are of the test's own. The replica's account travels in the log like everything else.
"""

from __future__ import annotations

from devenv.database import Server
from tests.conftest import MakeServer

_FOLLOW = {
    "mariadb": "CHANGE MASTER TO master_host = '127.0.0.1', master_port = {port}, master_user = 'replica',"
    " master_password = 'replica-secret', master_use_gtid = slave_pos, master_connect_retry = 1; START SLAVE",
    "mysql": "CHANGE REPLICATION SOURCE TO source_host = '127.0.0.1', source_port = {port}, source_user = 'replica',"
    " source_password = 'replica-secret', source_auto_position = 1, get_source_public_key = 1,"
    " source_connect_retry = 1; START REPLICA",
}
_EXECUTED = {"mariadb": "SELECT @@gtid_binlog_pos", "mysql": "SELECT @@gtid_executed"}
_WAIT = {"mariadb": "SELECT MASTER_GTID_WAIT('{}', 20)", "mysql": "SELECT WAIT_FOR_EXECUTED_GTID_SET('{}', 20)"}
_DETACH = {"mariadb": "STOP SLAVE IO_THREAD", "mysql": "STOP REPLICA IO_THREAD"}
_ATTACH = {"mariadb": "START SLAVE IO_THREAD", "mysql": "START REPLICA IO_THREAD"}
_PROMOTE = {"mariadb": "STOP SLAVE; RESET SLAVE ALL", "mysql": "STOP REPLICA; RESET REPLICA ALL"}


class Pair:
    """A primary and its replica, which changes roles with it at ``promote``."""

    def __init__(self, primary: Server, replica: Server) -> None:
        self.primary, self.replica = primary, replica
        self._flavour = primary.installation.flavour
        primary.sql("CREATE USER replica@'%' IDENTIFIED BY 'replica-secret'")
        primary.sql("GRANT REPLICATION SLAVE ON *.* TO replica@'%'")
        replica.sql(_FOLLOW[self._flavour].format(port=primary.port))
        self.caught_up()

    def executed(self, server: Server) -> str:
        """The GTIDs in a server's log."""
        return server.sql(_EXECUTED[self._flavour]).replace("\\n", "")  # the client escapes line ends

    def caught_up(self) -> None:
        """Return once the replica has everything that the primary has now."""
        waited = self.replica.sql(_WAIT[self._flavour].format(self.executed(self.primary)))
        assert waited == "0", f"the replica is behind: {self.executed(self.replica)}"

    def detach(self) -> None:
        """The replica receives nothing more of what the primary commits."""
        self.replica.sql(_DETACH[self._flavour])

    def attach(self) -> None:
        """The replica receives again, and what it missed first."""
        self.replica.sql(_ATTACH[self._flavour])

    def promote(self) -> None:
        """The replica becomes a primary of its own; the old one is left to itself."""
        self.replica.sql(_PROMOTE[self._flavour])
        self.primary, self.replica = self.replica, self.primary


def make_pair(make_server: MakeServer, flavour: str) -> Pair:
    """Two servers of the test's own, replicating."""
    return Pair(make_server(flavour), make_server(flavour, extra=["--server-id=2"]))
