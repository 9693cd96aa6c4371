"""A Chromium for the browser tests: on the machine, or the distribution's own unpacked into the dev folder."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path
from shlex import quote

from devenv.errors import Misconfigured, SetUpError, Unavailable
from devenv.packages import Apt, exclusive, library_path

# Besides running without a screen: nothing is asked of the network, which may be closed.
ARGUMENTS = (
    "--no-sandbox",  # the sandbox needs rights that root and containers do not have
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
)

_NAMES = ("chromium", "chromium-headless-shell", "chromium-browser", "google-chrome", "google-chrome-stable")
_APPLICATIONS = (
    "/Applications/Chromium.app/Contents/MacOS/Chromium",
    "/Applications/Google Chrome.app/Contents/MacOS/Google Chrome",
)

_LAUNCHER = """\
#!/bin/sh
LD_LIBRARY_PATH={libraries} FONTCONFIG_FILE={fonts} exec {program} "$@"
"""

_FONTS = """\
<?xml version="1.0"?>
<!DOCTYPE fontconfig SYSTEM "fonts.dtd">
<fontconfig><dir>{root}/usr/share/fonts</dir><dir>/usr/share/fonts</dir><cachedir>{cache}</cachedir></fontconfig>
"""


def find_or_fetch(dev_dir: Path) -> Path:
    """The browser's executable: CHROMIUM, else on this machine, else fetched into ``dev_dir``.

    Raises ``Unavailable`` with the reason where none can be had.
    """
    named = os.environ.get("CHROMIUM")
    if named:
        if not shutil.which(named):
            raise Misconfigured(f"CHROMIUM={named} cannot be run")
        return Path(named)
    for name in (*_NAMES, *_APPLICATIONS):
        found = shutil.which(name)
        if found and _runs(Path(found)):
            return Path(found)
    return fetch(dev_dir)


def fetch(dev_dir: Path) -> Path:
    """The browser unpacked below ``dev_dir``, downloaded when it is not there yet."""
    home = dev_dir.resolve() / "chromium"
    launcher = home / "chromium"
    with exclusive(home / "lock"):
        if launcher.exists() and _runs(launcher):
            return launcher
        try:
            _unpack(home)
            _write_launcher(home, launcher)
            if not _runs(launcher):
                raise Unavailable("the unpacked browser does not run here")
        except SetUpError as error:
            raise Unavailable(f"no Chromium was found here, and none can be fetched: {error}") from error
    return launcher


def _unpack(home: Path) -> None:
    print("dev: fetching Chromium from the system's package archive (once) ...", flush=True)
    own = ["chromium-headless-shell", "chromium-common", "fonts-dejavu-core"]
    apt = Apt(home / "apt")
    apt.update()
    apt.unpack(sorted({*apt.closure(own), *own}), home / "root")
    apt.discard()


def _write_launcher(home: Path, launcher: Path) -> None:
    root = home / "root"
    fonts = home / "fonts.conf"
    fonts.write_text(_FONTS.format(root=root, cache=home / "fonts-cache"))
    program = root / "usr" / "lib" / "chromium" / "chromium-headless-shell"
    quoted = {"libraries": quote(library_path(root)), "fonts": quote(str(fonts)), "program": quote(str(program))}
    launcher.write_text(_LAUNCHER.format(**quoted))
    launcher.chmod(0o755)


def _runs(program: Path) -> bool:
    try:
        done = subprocess.run([program, "--version"], capture_output=True, check=False, timeout=60)
    except (OSError, subprocess.TimeoutExpired):
        return False
    return done.returncode == 0
