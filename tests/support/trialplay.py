# SPDX-License-Identifier: Apache-2.0
"""A host for trials as a playbook sees it: its iommuctl, and what systemd, the loader and the network do meanwhile.

`HOST WORD...`: the program with these words; `HOST reboot`: a reboot. Next to the tree of the host are its facts:
`.checks` the checks with their last words, `.ticks` how often `trial status` is answered before systemd settles again,
`.down` how many connections find nobody, `.weak` where the kernel does not do what it is told, `.fades` where it stops
doing so when it is asked by somebody.
"""

import json
import shutil
import sys
from dataclasses import replace
from pathlib import Path

import trial_driver
import trialhosts
from kernelhosts import INTEL, started
from trialhosts import RELEASE, TrialHost

import iommuctl.cli
from iommuctl.app.host import Host
from iommuctl.app.trial.settle import settle_trial
from iommuctl.host.commands import SystemRunner

CHECK = "10-reach-the-world"
LOST = 2  # connections that find nobody while a host reboots by itself


class PlayedHost:
    """A host, and what goes on in it between two commands."""

    def __init__(self, path: Path) -> None:
        self.path = path
        boot = path / "proc/sys/kernel/random/boot_id"
        self.host = TrialHost.of(path, boots=int(boot.read_text().rpartition("-")[2]) if boot.exists() else 1)

    @classmethod
    def build(cls, path: Path) -> "PlayedHost":
        """Make a Debian host with GRUB, one check, and the kernel that runs."""
        trialhosts.grub_host(path)
        made = cls(path)
        made.host.write(f"etc/iommuctl/confirm.d/{CHECK}", "#!/bin/sh\n", 0o755)
        made.beside("checks").write_text(json.dumps({CHECK: "it answers\n"}))
        made._show_kernel()
        return made

    def fail_check(self) -> None:
        self.beside("checks").write_text(json.dumps({CHECK: None}))

    def beside(self, what: str) -> Path:
        return self.path.with_name(f"{self.path.name}.{what}")

    def take_over(self) -> None:
        """Take the tree for the running system in this process; programs of the host act on this very host."""
        trial_driver.live(self.host)
        SystemRunner.run = lambda _, command, **__: self.host.run(command)  # type: ignore[method-assign]
        self.host.checks = json.loads(self.beside("checks").read_text())

    def reboot(self) -> None:
        """Boot as the loader does; systemd settles a trial some time later."""
        self.host.reboot(uptime=400.0)
        self._show_kernel()
        self.beside("ticks").write_text("1")

    def tick(self) -> None:
        """Let time pass: what systemd does at last, and the reboot that comes of it."""
        ticks = self.beside("ticks")
        if not ticks.exists():
            return
        if (left := int(ticks.read_text())) > 0:
            ticks.write_text(str(left - 1))
            return
        ticks.unlink()
        self.host.ran.clear()
        settle_trial(Host.open(self.path))
        if self.host.ordered_reboot():
            self.reboot()
            self.beside("ticks").write_text("0")
            self.beside("down").write_text(str(LOST))
            sys.exit("the connection is closed")

    def _show_kernel(self) -> None:
        line = self.host.read("proc/cmdline").strip()
        shown = started(line, RELEASE)
        if self.beside("weak").exists():
            shown = replace(shown, types=dict.fromkeys(INTEL.types, "DMA"))
        shutil.rmtree(self.path / "sys", ignore_errors=True)
        shown.write(self.path)


def main() -> None:
    """Do what the arguments say."""
    host = PlayedHost(Path(sys.argv[1]))
    host.take_over()
    words = sys.argv[2:]
    if words == ["reboot"]:
        host.reboot()
        return
    if words[:2] == ["trial", "status"]:
        host.tick()
    if words[0] == "verify" and host.beside("fades").exists():
        for kind in (host.path / "sys/kernel/iommu_groups").glob("*/type"):
            kind.write_text("DMA\n")
    sys.argv = ["iommuctl", *words, "--root", str(host.path)]
    iommuctl.cli.main()


if __name__ == "__main__":
    main()
