# SPDX-License-Identifier: Apache-2.0
"""The units of a trial: systemd takes them, and none that reboots runs on a boot that is not the trial's."""

import subprocess
from pathlib import Path

import pytest
from lacking import program

from iommuctl.app.trial.units import HUNG, KEPT, NAMES, UNITS, units
from iommuctl.transaction.trial.record import ConfirmBy, OnFailure, Terms

TRIAL = "20261128-090457-ab12cd"
TOKEN = f"ConditionKernelCommandLine=iommuctl.trial={TRIAL}\n"
REBOOTS = Terms(ConfirmBy.MANUAL, 900, OnFailure.REBOOT)
STAYS = Terms(ConfirmBy.MANUAL, 900, OnFailure.STAY)


def texts(terms: Terms) -> dict[str, str]:
    return {str(path.relative_to(UNITS)): text for path, text in units(TRIAL, terms, ("/bin/true",)).items()}


def test_what_can_reboot_is_bound_to_the_trials_own_token() -> None:
    rebooting = {name: text for name, text in texts(REBOOTS).items() if "reboot" in text}
    assert set(rebooting) == {"iommuctl-trial-deadline.service", "iommuctl-trial-force.service"}
    for text in rebooting.values():
        assert TOKEN in text
        assert f"ConditionPathExists=!{KEPT}\n" in text


def test_nothing_reboots_where_a_failure_is_to_stay() -> None:
    assert "reboot" not in "".join(texts(STAYS).values())


def test_no_limit_waits_for_a_target_and_no_job_has_a_limit() -> None:
    for name, text in texts(REBOOTS).items():
        assert "JobTimeout" not in text  # it counts while a job waits, on boots that are no trial as well
        if name.endswith(".timer"):
            assert "DefaultDependencies=no\n" in text
            assert "After=" not in text


def test_the_limits_are_those_that_were_asked_for() -> None:
    found = texts(REBOOTS)
    assert "OnBootSec=900\n" in found["iommuctl-trial-deadline.timer"]
    assert "SuccessAction=reboot\n" in found["iommuctl-trial-deadline.service"]
    assert "OnBootSec=1200\n" in found["iommuctl-trial-force.timer"]
    assert "SuccessAction=reboot-force\n" in found["iommuctl-trial-force.service"]


def test_a_reboot_that_hangs_is_forced_five_minutes_after_its_order() -> None:
    found = texts(REBOOTS)
    assert "OnActiveSec=300\nUnit=iommuctl-trial-force.service\n" in found[HUNG]
    # It runs from the order on, so nothing starts it with the boot.
    assert HUNG not in found["timers.target.d/50-iommuctl-trial.conf"]
    assert HUNG in NAMES
    # What conflicts with shutdown.target is stopped, and not started any more, once a reboot is ordered.
    for name in (HUNG, "iommuctl-trial-force.service"):
        assert "DefaultDependencies=no\n" in found[name]
    assert HUNG not in texts(STAYS)


def test_a_program_of_any_name_is_called() -> None:
    made = units(TRIAL, STAYS, ('/opt/a b/$x%y"z', "-m"))[UNITS / "iommuctl-trial.service"]
    assert 'ExecStart="/opt/a b/$$x%%y\\"z" "-m" "trial" "settle"\n' in made


@pytest.mark.programs
@pytest.mark.parametrize("terms", [REBOOTS, STAYS], ids=["reboots", "stays"])
def test_systemd_has_no_complaint(terms: Terms, tmp_path: Path) -> None:
    for name, text in texts(terms).items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(text)
    names = [str(path) for path in sorted(tmp_path.glob("iommuctl-*"))]
    done = subprocess.run(
        [program("systemd-analyze"), "verify", "--man=no", *names], capture_output=True, text=True, check=False
    )
    assert (done.returncode, [line for line in done.stderr.splitlines() if "iommuctl" in line]) == (0, [])
