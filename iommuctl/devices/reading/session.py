# SPDX-License-Identifier: Apache-2.0
"""Session: by which of its addresses the host is reached in the ssh session of who asks."""

from pathlib import PurePosixPath

from iommuctl.devices.reading.files import Files

_PROC = PurePosixPath("/proc")
_VARIABLE = "SSH_CONNECTION="  # ssh(1): address and port of the client, then those of the server
_OWN_ADDRESS = 2
_GENERATIONS = 16  # sudo, a shell or two, the session's daemon


def read_session(files: Files) -> str | None:
    """Return the host's own address in the ssh session of this process; None where there is none, or it is not told.

    sudo takes the variable away, so the processes above are asked too, as far as their environment may be read.
    """
    process = "self"
    for _ in range(_GENERATIONS):
        for word in files.text(_PROC / process / "environ").split("\0"):
            parts = word.removeprefix(_VARIABLE).split() if word.startswith(_VARIABLE) else []
            if len(parts) > _OWN_ADDRESS:
                return parts[_OWN_ADDRESS]
        status = files.text(_PROC / process / "status").splitlines()
        process = next((line.split()[1] for line in status if line.startswith("PPid:")), "0")
        if process == "0" or not process.isdecimal():
            return None
    return None
