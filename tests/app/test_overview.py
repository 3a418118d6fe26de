# SPDX-License-Identifier: Apache-2.0
"""Overview: a bare command says in five lines how the host is, whatever state it is in, and what to type next."""

from pathlib import Path

import pytest
from console import code_of, in_process

from iommuctl.app.host import Host
from iommuctl.app.look import overview
from iommuctl.app.look.overview import Overview, read_overview
from iommuctl.app.look.status import Drift, Status, read_status
from iommuctl.cli.output.overview import overview_text
from iommuctl.errors import UnavailableError
from iommuctl.findings import Finding, Rule, Severity

DRIFT = Drift("/etc/default/grub", "iommu=pt", "none")
CUT_OFF = Finding(Rule.INTERRUPTED_RUN, Severity.WARNING, "a run was cut off")


def test_a_bare_command_prints_five_lines_and_ends_well() -> None:
    done = in_process()
    assert (done.returncode, done.stderr) == (0, "")
    assert [line.split()[0] for line in done.stdout.splitlines()] == list(Overview._fields)


def test_a_host_that_nothing_was_applied_to(sample_host: Path) -> None:
    found = read_overview(Host.open(sample_host))
    assert found == Overview(
        bootloader="grub2, by /boot/grub/grub.cfg: holds menu entries",
        profile="none applied",
        effective="not looked at: no kernel runs in that tree",
        waiting="nothing",
        next="iommuctl check",
    )


def test_a_profile_with_what_is_next_to_it_and_since_when(sample_host: Path) -> None:
    words = ("apply", "passthrough-perf", "--add", "nosmt", "--root", str(sample_host), "--regenerate", "never")
    assert code_of(*words) == 0
    found = read_overview(Host.open(sample_host))
    (name,) = (one.name for one in (sample_host / "var/lib/iommuctl/snapshots").iterdir())
    assert found.profile.startswith("passthrough-perf since 20")
    assert found.profile.endswith(f"Z ({name.rpartition('-')[2]}); beside it nosmt")
    assert found.waiting == "drift in 1 place"
    assert found.next == f"iommuctl apply passthrough-perf --dry-run --root {sample_host}"


@pytest.mark.parametrize(
    ("changed", "waiting", "then"),
    [
        ({}, "nothing", "iommuctl status"),
        ({"reboot_required": True}, "a reboot", "sudo systemctl reboot"),
        ({"reboot_required": True, "drift": (DRIFT, DRIFT)}, "drift in 2 places, a reboot", "in step"),
        ({"drift": (DRIFT,), "findings": (CUT_OFF,)}, "an interrupted run, drift in 1 place", "sudo iommuctl recover"),
    ],
)
def test_the_most_pressing_decides_what_to_type_next(
    changed: dict[str, object],
    waiting: str,
    then: str,
    sample_host: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def status(host: Host, **_: object) -> Status:
        plain = read_status(host, platform=None, backend=None)
        plain = plain._replace(profile="passthrough-perf", way_in_step="in step")
        return plain._replace(**changed)  # type: ignore[arg-type] # fields by name

    monkeypatch.setattr(overview, "read_status", status)
    found = read_overview(Host.open(sample_host))
    assert (found.waiting, found.next) == (waiting, then)


def test_a_bootloader_that_cannot_be_told_is_said_in_its_line(
    sample_host: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def status(*_: object, **__: object) -> Status:
        raise UnavailableError("two bootloaders and no proof", hint="iommuctl status --backend NAME")

    monkeypatch.setattr(overview, "read_status", status)
    found = read_overview(Host.open(sample_host))
    assert (found.bootloader, found.next) == (
        "not told: two bootloaders and no proof",
        "iommuctl status --backend NAME",
    )


def test_what_a_file_says_cannot_make_a_line_of_its_own() -> None:
    text = overview_text(Overview("a\nb", "\x1b[2J", "c", "d", "e"), colour=False)
    assert text.splitlines()[:2] == ["bootloader  a\\nb", "profile     \\x1b[2J"]
