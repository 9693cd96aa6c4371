"""Fetches Debian and Ubuntu packages into a private folder, without root and without changing the system.

apt is given a state, lists and cache of its own below the folder; the system's sources, keys, preferences and proxy
settings are read as they are, so whatever mirror the machine uses is used here. Packages are unpacked, never installed.
"""

from __future__ import annotations

import fcntl
import os
import re
import shutil
import subprocess
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from devenv.errors import Unavailable

KEYRING = Path("/usr/share/keyrings/debian-archive-keyring.gpg")
INSTALLED = Path("/var/lib/dpkg/status")  # what the system has, and therefore need not be fetched

# Of a whole closure (an empty package database) what a program links is kept, what only maintainer scripts need is not.
_SCRIPTS_ONLY = re.compile(
    r"(perl.*|libperl.*|debconf|cdebconf|debianutils|dpkg|tar|.*-common|adduser|passwd|systemd.*|libpam.*"
    r"|base-.*|coreutils|sysvinit.*|init-system-helpers)"
)

_CONFIGURATION = """\
Dir::State "{home}/state";
Dir::State::lists "{home}/lists";
Dir::State::status "{status}";
Dir::Cache "{home}";
Dir::Cache::archives "{home}/archives";
Dir::Cache::pkgcache "pkgcache.bin";
Dir::Cache::srcpkgcache "";
Dir::Log "{home}";
Acquire::Languages "none";
Acquire::Retries "3";
Acquire::http::Timeout "30";
APT::Sandbox::User "root";
APT::Install-Recommends "false";
Debug::NoLocking "true";
#clear APT::Update::Pre-Invoke;
#clear APT::Update::Post-Invoke;
#clear APT::Update::Post-Invoke-Success;
"""

_OTHER_SUITE = """\
Dir::Etc::sourcelist "{home}/sources.list";
Dir::Etc::sourceparts "{home}/none";
Dir::Etc::preferences "{home}/none";
Dir::Etc::preferencesparts "{home}/none";
"""


@contextmanager
def exclusive(path: Path) -> Iterator[None]:
    """Hold the lock file ``path``: of two that fetch into one folder, the second waits and finds it done."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


def have_apt() -> bool:
    """Whether this machine has apt and dpkg at all."""
    return all(shutil.which(program) for program in ("apt-get", "apt-cache", "dpkg-deb"))


class Apt:
    """A private apt in ``home``; ``suite`` names another Debian suite than the system's own (``sid``).

    With the system's own suite only what the system lacks is fetched, and programs use the system's libc. With
    another suite the whole closure is fetched, libc and its loader included.
    """

    def __init__(self, home: Path, suite: str | None = None) -> None:
        if not have_apt():
            raise Unavailable("this machine has no apt")
        self.home = home.resolve()
        self.suite = suite
        for folder in ("lists/partial", "archives/partial", "state", "none"):
            (self.home / folder).mkdir(parents=True, exist_ok=True)
        status = INSTALLED
        if suite is not None:
            status = self.home / "state" / "status"
            status.write_text("")
        self._configure(_CONFIGURATION.format(home=self.home, status=status))
        if suite is not None:
            source = f"deb [signed-by={KEYRING}] {self._mirror()} {suite} main\n"
            (self.home / "sources.list").write_text(source)
            self._configure(_CONFIGURATION.format(home=self.home, status=status) + _OTHER_SUITE.format(home=self.home))

    def _configure(self, text: str) -> None:
        (self.home / "apt.conf").write_text(text)

    def _mirror(self) -> str:
        """The address the system's own sources take Debian from."""
        if not KEYRING.exists():
            raise Unavailable("this machine is not Debian (no Debian archive keys)")
        wanted = "$(CREATED_BY) $(COMPONENT) $(SITE)"
        # without release info: no list has been fetched yet
        lines = self._run("apt-get", "--no-release-info", "indextargets", "--format", wanted).splitlines()
        sites = [line.split()[-1] for line in lines if line.startswith("Packages main ")]
        sites.sort(key=lambda site: not site.endswith("/debian"))  # other archives have a "main" too
        for site in sites:
            if "security" not in site:
                return site
        raise Unavailable("the system's apt sources name no Debian mirror")

    def update(self) -> None:
        """Read the package lists anew. A source that fails is apt's to report, the others still count."""
        self._run("apt-get", "-q", "update", check=False)

    def knows(self, package: str) -> bool:
        """Whether a version of the package can be downloaded."""
        found = self._run("apt-cache", "show", "--no-all-versions", package, check=False)
        return found.startswith("Package:")

    def closure(self, wanted: Sequence[str]) -> list[str]:
        """The names of the packages that ``wanted`` needs here, by apt's own resolver."""
        printed = self._run("apt-get", "install", "-qq", "--print-uris", *wanted)
        names = sorted(set(re.findall(r"^'[^']*' ([^_\s]+)_", printed, re.MULTILINE)))
        if self.suite is None:
            return names
        return sorted({name for name in names if not _SCRIPTS_ONLY.fullmatch(name)} | {"libc6"})

    def unpack(self, packages: Sequence[str], root: Path) -> None:
        """Download ``packages`` and unpack them into ``root``, which appears only when it is whole."""
        archives = self.home / "archives"
        for old in archives.glob("*.deb"):
            old.unlink()
        if packages:
            self._run("apt-get", "-qq", "download", *packages, cwd=archives)
        new = root.with_name(root.name + ".new")
        shutil.rmtree(new, ignore_errors=True)
        new.mkdir(parents=True)
        for archive in sorted(archives.glob("*.deb")):
            self._run("dpkg-deb", "-x", str(archive), str(new), config=False)
        for unused in ("doc", "man", "lintian", "locale", "i18n"):
            shutil.rmtree(new / "usr" / "share" / unused, ignore_errors=True)
        shutil.rmtree(root, ignore_errors=True)
        new.rename(root)

    def discard(self) -> None:
        """Remove lists and archives; they are large and soon stale."""
        shutil.rmtree(self.home, ignore_errors=True)

    def _run(self, *command: str, cwd: Path | None = None, check: bool = True, config: bool = True) -> str:
        arguments = [command[0], "-c", str(self.home / "apt.conf"), *command[1:]] if config else list(command)
        environment = os.environ | {"LC_ALL": "C"}
        done = subprocess.run(
            arguments, cwd=cwd, env=environment, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False
        )
        if check and done.returncode != 0:
            last = "\n".join((done.stderr or done.stdout).strip().splitlines()[-4:])
            raise Unavailable(f"{command[0]} {command[1]} failed: {last}")
        return done.stdout


def library_path(root: Path) -> str:
    """The folders of ``root`` that hold shared libraries, for LD_LIBRARY_PATH."""
    tops = [*root.glob("usr/lib/*-linux-gnu*"), *root.glob("lib/*-linux-gnu*"), root / "usr/lib/mysql/private"]
    # some libraries keep a private one in a folder below, named by an absolute path that is not ours
    below = [folder for top in tops for folder in top.glob("*") if folder.is_dir() and any(folder.glob("lib*.so*"))]
    return ":".join(str(folder) for folder in [*tops, *below] if folder.is_dir())


def loader(root: Path) -> Path | None:
    """The root's own dynamic loader, when it brought its libc along."""
    found = [*root.glob("usr/lib*/**/ld-linux*.so*"), *root.glob("lib*/**/ld-linux*.so*")]
    return found[0] if found else None
