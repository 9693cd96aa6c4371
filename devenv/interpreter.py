"""Which Python runs everything: the system's own is often much faster than one that a version manager built.

``pyenv install`` and its like compile without profile-guided optimisation unless told otherwise, and such a build takes
1.25 to 1.5 times as long for all that Rowcast does. Distributions build theirs with it.
"""

from __future__ import annotations

import os
import subprocess
import sys
import sysconfig
from collections.abc import Sequence

from devenv.errors import Misconfigured

VARIABLE = "ROWCAST_DEV_PYTHON"
_SYSTEM, _SYSTEM_PREFIX = "/usr/bin/python3", "/usr"
_CHOSEN = "this"

# the prefix shows that it belongs to the system: a link to another one does not
_LOOK = "import sys, venv{}; print('python', sys.version_info >= (3, 11), sys.base_prefix)"


def better() -> str | None:
    """The interpreter to go on with instead of this one, None to stay; raises ``Misconfigured``."""
    wish = os.environ.pop(VARIABLE, None)
    if wish == _CHOSEN:
        return None
    if wish:
        if not _says(wish).startswith("python True "):
            raise Misconfigured(f"{VARIABLE}={wish} is no Python from 3.11 on that can make a virtual environment")
        return wish
    chosen = sys.prefix != sys.base_prefix  # a virtual environment is somebody's choice
    if chosen or sys.platform != "linux" or is_optimised(sys.base_prefix, sysconfig.get_config_var("CONFIG_ARGS")):
        return None
    return _SYSTEM if _says(_SYSTEM, ", ensurepip") == f"python True {_SYSTEM_PREFIX}" else None


def is_optimised(prefix: str, options: str | None) -> bool:
    """Whether a Python below ``prefix``, configured with these options, is as fast as it can be."""
    return prefix == _SYSTEM_PREFIX or options is None or "--enable-optimizations" in options


def go_on_with(program: str, arguments: Sequence[str]) -> None:
    """Become ``program`` with these arguments; it does not choose again."""
    os.environ[VARIABLE] = _CHOSEN
    os.execvp(program, [program, *arguments])  # noqa: S606 - an argument list, no shell


def _says(program: str, more: str = "") -> str:
    try:
        done = subprocess.run([program, "-c", _LOOK.format(more)], capture_output=True, text=True, check=False)
    except OSError:
        return ""
    return done.stdout.strip() if done.returncode == 0 else ""
