# SPDX-License-Identifier: Apache-2.0
"""One step of a trial on a tree, in a process of its own that a test may kill: `STEP ROOT`."""

import sys
from pathlib import Path

import trialhosts
from trialhosts import TrialHost

from iommuctl.app.host import Host
from iommuctl.app.trial import ending, start
from iommuctl.app.trial.settle import settle_trial
from iommuctl.app.trial.start import Wishes
from iommuctl.errors import IommuctlError
from iommuctl.host.commands import SystemRunner
from iommuctl.host.root import Root
from iommuctl.transaction.trial.record import OnFailure

WISHES = Wishes(on_failure=OnFailure.STAY)  # without the units of time limits, which are files like the others


def live(host: TrialHost) -> Host:
    """Take a tree for the running system from now on, in this process."""
    Root.is_running_system = property(lambda _: True)  # type: ignore[assignment,method-assign]  # the one seam
    # Judged in two threads, each with a host of its own.
    SystemRunner.run = lambda self, command, **__: TrialHost.of(self._root.path).run(command)  # type: ignore[method-assign]
    setattr(start, "volume_of", trialhosts.on("ext4"))  # noqa: B010 - a seam that the module does not export
    return Host.open(host.path)


def step(host: TrialHost, name: str) -> None:
    """Do what a user or the unit does."""
    opened = live(host)
    match name:
        case "start":
            start.start_trial(opened, trialhosts.planned(opened, WISHES), trialhosts.FORCED)
        case "confirm":
            ending.confirm_trial(opened)
        case "cancel":
            ending.cancel_trial(opened)
        case _:
            assert name == "settle"
            settle_trial(opened)


def main() -> None:
    """Do what the arguments say."""
    name, root = sys.argv[1:]
    try:
        step(TrialHost.of(Path(root)), name)
    except IommuctlError as error:
        sys.stderr.write("\n".join((error.brief, *error.details, f"hint: {error.hint}\n")))
        sys.exit(error.code)
