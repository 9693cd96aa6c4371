import re
import tomllib
from pathlib import Path

from rowcast.loading import load
from rowcast.settings import settings_keys
from rowcast.show import effective, table

DOCUMENT = (Path(__file__).parents[2] / "docs" / "settings.md").read_text("utf-8")


def test_every_setting_stands_in_the_documentation():
    """docs/settings.md has key, variable and default of each setting, as `rowcast config --table` prints them."""
    rows = table().splitlines()
    assert len(rows) == 2 + len(list(settings_keys(["NAME"])))
    missing = [row for row in rows if row not in DOCUMENT]
    assert not missing, "\n".join(["paste these into docs/settings.md:", *missing])
    documented = re.findall(r"^\| `([\w.]+)` \|", DOCUMENT, re.MULTILINE)
    assert documented == [key.name for key in settings_keys(["NAME"])]


def test_the_example_in_the_documentation_is_valid(tmp_path):
    """The TOML in docs/settings.md loads without a problem."""
    (example,) = re.findall(r"```toml\n(.*?)```", DOCUMENT, re.DOTALL)
    (tmp_path / "rowcast.toml").write_text(example)
    settings = load(tmp_path / "rowcast.toml", {}).settings
    assert settings.reader.password == "pass/word"
    assert settings.tables == {"orders": ("shop", "orders")}


def test_effective_settings_are_toml_with_origins_and_without_secrets(tmp_path):
    """The lines of `rowcast config` are TOML; each says where it comes from; secrets are masked."""
    file = tmp_path / "rowcast.toml"
    file.write_text('[api]\nkeys = ["k3y"]\n')
    loaded = load(file, {"ROWCAST_MYSQL_URL": "mysql://u:s3cret@h/d"}, ["gateway.port=9000"])
    lines = list(effective(loaded))
    text = "\n".join(lines)
    assert "s3cret" not in text
    assert "k3y" not in text
    values = tomllib.loads(text)
    assert values["gateway"]["port"] == 9000
    assert values["mysql"] == {"url": "mysql://u:***@h:3306/d", "server_id": loaded.settings.server_id}
    assert values["channels"]["cctv_updates"]["table"] == "cctv_detection_results"
    assert "gateway.port = 9000  # --set gateway.port" in lines
    assert f'api.keys = ["***"]  # {file}:2' in lines
    assert "# api.mysql_url is not set: mysql.url is used" in lines
