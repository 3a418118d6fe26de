# SPDX-License-Identifier: Apache-2.0
"""Caller: who runs this program, behind sudo too."""

import os
import pwd
from pathlib import Path

_LOGIN_UID = Path("/proc/self/loginuid")  # proc_pid_loginuid(5): who logged in, whatever was become since
_NOBODY_LOGGED_IN = 2**32 - 1
_SAID_BY = ("SUDO_USER", "DOAS_USER")


def login_user() -> str:
    """Return the name of who logged in, where the kernel or sudo knows; else of whom this process runs as."""
    try:
        number = int(_LOGIN_UID.read_bytes())
    except (OSError, ValueError):
        number = _NOBODY_LOGGED_IN
    if number != _NOBODY_LOGGED_IN:
        return _name(number)
    return next((name for one in _SAID_BY if (name := os.environ.get(one))), None) or _name(os.geteuid())


def _name(number: int) -> str:
    try:
        return pwd.getpwuid(number).pw_name
    except KeyError:
        return str(number)
