"""docker-compose.yml as Compose itself understands it; without Compose, as the text that it is."""

import functools
import json
import os
import re
import shutil
import subprocess
import tomllib
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parents[2]
OURS = ("migrate", "websocket", "api")
PASSWORDS = {
    "ROWCAST_ROOT_PASSWORD": "root-s3cret",
    "ROWCAST_READER_PASSWORD": "reader-s3cret",
    "ROWCAST_WRITER_PASSWORD": "writer-s3cret",
}


@functools.cache
def compose() -> list[str]:
    """The Compose of this machine: Debian's program, else the plugin of newer ones."""
    for name, command in (("docker-compose", []), ("docker", ["compose"])):
        program = shutil.which(name)
        if program and subprocess.run([program, *command, "version"], capture_output=True, check=False).returncode == 0:
            return [program, *command]
    pytest.skip("neither docker-compose nor `docker compose` is installed")


def config(tmp_path: Path, example: Path = ROOT / ".env.example", **values: str) -> subprocess.CompletedProcess[str]:
    """`compose config` with the example's variables and these."""
    text = example.read_text() + "".join(f"{name}={value}\n" for name, value in values.items())
    (tmp_path / "env").write_text(text)
    file = str(ROOT / "docker-compose.yml")
    command = [*compose(), "--file", file, "--env-file", str(tmp_path / "env"), "config"]
    environment = {name: value for name, value in os.environ.items() if not name.startswith("ROWCAST_")}
    return subprocess.run(command, capture_output=True, text=True, check=False, env=environment)


@pytest.fixture(scope="module")
def services(tmp_path_factory) -> dict[str, Any]:
    """The services with all variables put in."""
    done = config(tmp_path_factory.mktemp("compose"), **PASSWORDS)
    assert done.returncode == 0, done.stderr
    services: dict[str, Any] = json.loads(_json(done.stdout))["services"]
    return services


def _json(text: str) -> str:
    """Debian's Compose is written in Python, whose parser reads the YAML that it prints: we need none."""
    script = Path(compose()[0])
    first = script.read_bytes().partition(b"\n")[0]
    if not first.startswith(b"#!") or b"python" not in first:
        pytest.skip("only the output of Debian's docker-compose (1.29) is understood here")
    convert = "import json, sys, yaml; json.dump(yaml.safe_load(sys.stdin), sys.stdout)"
    interpreter = first.removeprefix(b"#!").decode().split()
    return subprocess.run([*interpreter, "-c", convert], input=text, capture_output=True, text=True, check=True).stdout


def test_compose_accepts_it(tmp_path):
    """The file is valid."""
    done = config(tmp_path, **PASSWORDS)
    assert done.returncode == 0, done.stderr


def test_its_services_are_those_of_the_documentation(services):
    """Two databases to choose from, the migration, and one for each port."""
    assert sorted(services) == sorted(["mariadb", "mysql", *OURS])
    assert services["mariadb"]["profiles"] == ["mariadb"]


def test_nothing_starts_without_passwords(tmp_path):
    """There are no default passwords: without them Compose says where to set them."""
    done = config(tmp_path)
    assert done.returncode != 0
    assert "set it in .env" in done.stderr
    text = (ROOT / "docker-compose.yml").read_text()
    for name in PASSWORDS:
        uses = re.findall(rf"\$\{{{name}([^}}]*)", text)
        assert uses == [":?set it in .env, see .env.example"] * len(uses)


def test_every_container_is_confined(services):
    """No root, no capability, no new privilege, a read-only file system, and a bounded log, everywhere."""
    for name, service in services.items():
        assert int(service["user"].partition(":")[0]) > 0, name
        assert service["read_only"] is True, name
        assert service["cap_drop"] == ["ALL"], name
        assert "cap_add" not in service, name
        assert "privileged" not in service, name
        assert service["security_opt"] == ["no-new-privileges:true"], name
        assert service["logging"]["options"]["max-size"], name


def test_ports_are_published_on_loopback_only(services):
    """Nothing in the stack can be reached from another machine; the database not even from this one."""
    published = {name: service["ports"] for name, service in services.items() if "ports" in service}
    assert published == {"websocket": ["127.0.0.1:8080:8080/tcp"], "api": ["127.0.0.1:8000:8000/tcp"]}


def test_each_role_gets_the_secrets_it_needs_and_no_more(services):
    """The API never sees the account that reads everything, and nobody but the migration the administrator's."""

    def secrets(name: str) -> set[str]:
        return {secret for secret in PASSWORDS.values() if secret in json.dumps(services[name]["environment"])}

    assert secrets("mysql") == {"root-s3cret"}
    assert secrets("migrate") == set(PASSWORDS.values())
    assert secrets("websocket") == {"reader-s3cret"}
    assert secrets("api") == {"writer-s3cret"}


def test_services_start_in_order(services):
    """The migration waits for the database and is done before anything serves."""

    def after(name: str) -> dict[str, str]:
        return {other: how["condition"] for other, how in services[name].get("depends_on", {}).items()}

    assert after("migrate") == {}
    assert services["migrate"]["command"] == ["migrate", "--wait", "180"]
    assert after("websocket") == after("api") == {"migrate": "service_completed_successfully"}
    assert all(services[name]["healthcheck"]["test"] for name in ("mysql", "websocket", "api"))


def test_our_environment_is_accepted_by_the_settings(services):
    """Every variable that the file sets is a setting, and together they are enough for their command."""
    from rowcast.loading import load

    needs = {"migrate": "mysql.url", "websocket": "mysql.url", "api": "api.mysql_url"}
    for name, need in needs.items():
        settings = load(None, services[name]["environment"], needs=[need]).settings
        if name != "migrate":
            assert str(settings.journal.path).startswith("/var/lib/rowcast/")
            assert any(volume.startswith("journal:/var/lib/rowcast") for volume in services[name]["volumes"])


def test_the_page_looks_for_the_gateway_where_it_is_published(tmp_path):
    """Publishing the gateway on another port tells the API so, whose page connects to it."""
    done = config(tmp_path, **PASSWORDS, ROWCAST_GATEWAY_PORT="9090")
    found = json.loads(_json(done.stdout))["services"]
    assert found["websocket"]["ports"] == ["127.0.0.1:9090:8080/tcp"]
    assert found["api"]["environment"]["ROWCAST_GATEWAY_PORT"] == "9090"


def test_the_database_can_be_swapped(tmp_path):
    """MariaDB has a profile, a volume of its own and the same configuration; one variable sends everybody there."""
    text = (ROOT / "docker-compose.yml").read_text()
    assert re.search(r"^  mariadb:\n    <<: \*database\n    profiles: \[\"mariadb\"\]", text, re.MULTILINE)
    done = config(tmp_path, **PASSWORDS, ROWCAST_DATABASE_HOST="mariadb", COMPOSE_PROFILES="mariadb")
    found = json.loads(_json(done.stdout))["services"]
    urls = [
        value
        for name in OURS
        for variable, value in found[name]["environment"].items()
        if variable.endswith("MYSQL_URL") and value
    ]
    assert len(urls) == 4
    assert all("@mariadb:3306/" in url for url in urls)


def test_images_are_pinned(services):
    """Every image has a version; ours is the project's."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    assert {services[name]["image"] for name in OURS} == {f"rowcast:{project['version']}"}
    assert re.fullmatch(r"mysql:\d+\.\d+(\.\d+)?", services["mysql"]["image"])


def test_no_secret_is_committed():
    """The example names the variables and leaves the passwords empty; .env itself is ignored."""
    example = dict(re.findall(r"^(ROWCAST_\w+)=(.*)$", (ROOT / ".env.example").read_text(), re.MULTILINE))
    assert {name: example[name] for name in PASSWORDS} == dict.fromkeys(PASSWORDS, "")
    used = set(re.findall(r"\$\{(ROWCAST_\w+)", (ROOT / "docker-compose.yml").read_text()))
    assert used == set(example)
    assert ".env" in (ROOT / ".gitignore").read_text().splitlines()
