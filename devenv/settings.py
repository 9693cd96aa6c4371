"""What the environment may say to ``./dev``, read once."""

from __future__ import annotations

import json
import os
import secrets
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from devenv.errors import Misconfigured

ROOT = Path(__file__).resolve().parent.parent

READER = "rowcast_reader"
WRITER = "rowcast_writer"
DEMO = "legacy_camera"


@dataclass(frozen=True)
class DevSettings:
    """Folder, ports and the database to use, if not a private one."""

    dev_dir: Path
    mysql_port: int
    gateway_port: int
    api_port: int
    demo_port: int
    mysql_url: str | None

    @property
    def venv(self) -> Path:
        """The virtual environment."""
        return self.dev_dir / "venv"

    @property
    def logs(self) -> Path:
        """One file for each program that ``up`` runs."""
        return self.dev_dir / "log"

    @property
    def journal(self) -> Path:
        """The journal of ``up``."""
        return Path(os.environ.get("ROWCAST_JOURNAL_PATH") or self.dev_dir / "journal.db")

    @property
    def data(self) -> Path:
        """Where the private servers' data lies."""
        return self.dev_dir / "data"

    def password(self, account: str) -> str:
        """The account's password in the private server: random, made at its first use, kept where only we read."""
        file = self.data / "passwords.json"
        known: dict[str, str] = json.loads(file.read_text()) if file.exists() else {}
        if account not in known:
            known[account] = secrets.token_urlsafe(18)
            file.parent.mkdir(parents=True, exist_ok=True)
            file.touch(mode=0o600)
            file.write_text(json.dumps(known, indent=2) + "\n")
        return known[account]

    def environment(self) -> dict[str, str]:
        """For programs run from the tree: what they would write beside their sources goes into the dev folder."""
        kept = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
        return kept | {
            "ROWCAST_DEV_DIR": str(self.dev_dir),
            "PYTHONPYCACHEPREFIX": str(self.dev_dir / "cache" / "python"),
            "HYPOTHESIS_STORAGE_DIRECTORY": str(self.dev_dir / "cache" / "hypothesis"),
        }


def read(environment: Mapping[str, str] = os.environ) -> DevSettings:
    """The settings in force; raises ``Misconfigured`` naming the variable that cannot be understood."""
    return DevSettings(
        dev_dir=(ROOT / (environment.get("ROWCAST_DEV_DIR") or ".dev")).resolve(),
        mysql_port=_port(environment, "ROWCAST_DEV_MYSQL_PORT", 3307),
        gateway_port=_port(environment, "ROWCAST_GATEWAY_PORT", 8080),
        api_port=_port(environment, "ROWCAST_API_PORT", 8000),
        demo_port=_port(environment, "ROWCAST_DEMO_PORT", 8001),
        mysql_url=environment.get("ROWCAST_MYSQL_URL") or None,
    )


def _port(environment: Mapping[str, str], variable: str, default: int) -> int:
    text = environment.get(variable) or str(default)
    if not text.isdecimal() or not 0 < int(text) < 65_536:
        raise Misconfigured(f"{variable}={text} is no port number")
    return int(text)
