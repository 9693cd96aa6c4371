"""The README is true: its commands exist, its settings load, its statements run, its example works in a browser."""

from __future__ import annotations

import re
import subprocess
import tomllib
from pathlib import Path

import pymysql
import pytest
from click.testing import CliRunner

from cdc.preflight import preflight
from devenv.database import Server
from rowcast.cli import cli
from rowcast.loading import load
from rowcast.mysql_url import MysqlUrl

ROOT = Path(__file__).resolve().parent.parent
TEXT = (ROOT / "README.md").read_text()
DOCUMENTS = sorted([ROOT / "README.md", *(ROOT / "docs").rglob("*.md")])


def blocks(language: str) -> list[str]:
    """The fenced blocks of one language."""
    return re.findall(rf"^```{language}\n(.*?)^```", TEXT, re.MULTILINE | re.DOTALL)


def commands(program: str) -> list[list[str]]:
    """The words of every line in a bash block that begins with ``program``, its comment left out."""
    lines = "\n".join(blocks("bash")).splitlines()
    return [line.split("#")[0].split() for line in lines if line.split(" ")[0] == program]


def test_every_dev_command_exists() -> None:
    """./dev knows the commands that the README types."""
    named = {words[1] for words in commands("./dev")} | set(re.findall(r"`\./dev (\w+)", TEXT))
    assert named >= {"up", "test", "sql", "reset"}
    told = subprocess.run([ROOT / "dev", "--help"], capture_output=True, text=True, check=True).stdout
    assert named <= set(re.findall(r"\./dev (\w+)", told))


def test_every_rowcast_command_exists() -> None:
    """So does the command line."""
    named = {" ".join(words[1:]) for words in commands("rowcast")} | set(re.findall(r"`rowcast ([a-z ]+)`", TEXT))
    assert named >= {"check", "serve", "journal info"}
    for name in named:
        assert CliRunner().invoke(cli, [*name.split(), "--help"]).exit_code == 0, name


def test_the_settings_load(tmp_path: Path) -> None:
    """The example of rowcast.toml is valid, and says what the text says it does."""
    (block,) = blocks("toml")
    file = tmp_path / "rowcast.toml"
    file.write_text(block)
    settings = load(file, {"ROWCAST_MYSQL_URL": "mysql://u:p@db.example:3306/shop"}).settings
    assert settings.tables == {"orders": ("shop", "orders")}
    assert settings.journal.keep_hours == tomllib.loads(block)["journal"]["keep_hours"]


def test_the_server_settings_are_those_of_my_cnf() -> None:
    """What the README asks of a server is what ours is started with."""
    (block,) = blocks("ini")
    ours = (ROOT / "my.cnf").read_text()
    for name, value in re.findall(r"^(\w+)\s*=\s*(\w+)$", block, re.MULTILINE):
        assert re.search(rf"^(loose-)?{name} = {value}$", ours, re.MULTILINE), name


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: str(path.relative_to(ROOT)))
def test_no_link_is_dead(document: Path) -> None:
    """Links to files of ours lead somewhere."""
    for target in re.findall(r"\]\(([^)#]+?)(?:#[^)]*)?\)", document.read_text()):
        if "://" not in target:
            assert (document.parent / target).exists(), target


def test_every_test_that_the_guarantees_name_exists() -> None:
    """A promise points at the test that shows it."""
    named = set(re.findall(r"`(test_\w+)`", (ROOT / "docs" / "guarantees.md").read_text()))
    there = {
        name
        for file in (ROOT / "tests").rglob("test_*.py")
        for name in re.findall(r"def (test_\w+)\(", file.read_text())
    }
    assert named
    assert named <= there


def test_the_grants_are_enough(either: Server) -> None:
    """An account made as the README says is one that check finds nothing wrong with."""
    (block,) = blocks("sql")
    either.sql("CREATE DATABASE IF NOT EXISTS shop; CREATE TABLE IF NOT EXISTS shop.orders (id INT PRIMARY KEY)")
    either.sql(block)
    url = MysqlUrl.parse(either.url("rowcast_reader", "password", "shop"))
    try:
        with pymysql.connect(**url.arguments()) as connection:
            findings = preflight(connection, [("shop", "orders")])
        assert [finding for finding in findings if finding.level == "fail"] == []
    finally:
        either.sql("DROP USER rowcast_reader@'%'; DROP DATABASE shop")
