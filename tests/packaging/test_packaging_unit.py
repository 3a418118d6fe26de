# SPDX-License-Identifier: Apache-2.0
"""The unit that recovers at boot: it starts only where a journal is, and may write only what it must."""

import shutil
import subprocess
from configparser import ConfigParser
from pathlib import Path

import pytest
from lacking import program
from project import PROJECT

from iommuctl.host.root import Root
from iommuctl.transaction.journal import journal_path
from iommuctl.transaction.store import STATE, Store

UNIT = PROJECT / "systemd" / "iommuctl-recover.service"
METRICS = PROJECT / "systemd" / "iommuctl-verify.service"
PRESET = PROJECT / "systemd" / "iommuctl.preset"
EXPOSURE = "30"  # tenths: `systemd-analyze security` calls up to 3.0 "OK"; what is left is CAP_SYS_ADMIN and writing


def read_unit(path: Path) -> ConfigParser:
    parser = ConfigParser(interpolation=None, delimiters=("=",), comment_prefixes=("#",))
    parser.optionxform = str  # type: ignore[method-assign, assignment] # keys keep their capitals, as its own manual says
    parser.read_string(path.read_text())
    return parser


@pytest.fixture(scope="module")
def unit() -> ConfigParser:
    return read_unit(UNIT)


def test_it_starts_only_where_a_run_was_interrupted(unit: ConfigParser) -> None:
    assert unit["Unit"]["ConditionPathExists"] == str(journal_path(Store(Root(Path("/")))))


def test_it_waits_for_what_it_reads_and_writes(unit: ConfigParser) -> None:
    assert unit["Unit"]["RequiresMountsFor"].split() == ["/boot", str(STATE)]


def test_it_recovers_once_and_does_nothing_else(unit: ConfigParser) -> None:
    programs = {key: value for key, value in unit["Service"].items() if key.startswith("Exec")}
    assert programs == {
        "ExecStart": "/usr/bin/iommuctl recover --files-only",
        # With full rights (systemd.service(5), +): what sees no device may make an image without its driver.
        "ExecStartPost": "+/usr/bin/iommuctl recover",
    }
    assert unit["Service"]["Type"] == "oneshot"
    assert "Restart" not in unit["Service"]


def test_it_may_write_where_boot_configurations_and_snapshots_are_and_nowhere_else(unit: ConfigParser) -> None:
    assert unit["Service"]["ProtectSystem"] == "strict"
    assert unit["Service"]["ReadWritePaths"].split() == ["/etc", str(STATE), "-/boot", "-/efi"]


def test_it_is_enabled_for_the_next_boot(unit: ConfigParser) -> None:
    assert dict(unit["Install"]) == {"WantedBy": "multi-user.target"}
    orders = [line for line in PRESET.read_text().splitlines() if not line.startswith("#")]
    assert orders == [f"enable {UNIT.name}"]


def test_the_one_that_tells_monitoring_writes_in_one_directory_and_only_where_it_is() -> None:
    unit = read_unit(METRICS)
    (directory,) = unit["Service"]["ReadWritePaths"].split()
    assert unit["Unit"]["ConditionPathIsDirectory"] == directory
    assert unit["Service"]["ExecStart"] == f"/usr/bin/iommuctl verify --metrics {directory}/iommuctl.prom"
    assert (unit["Service"]["ProtectSystem"], unit["Service"]["SuccessExitStatus"]) == ("strict", "1")
    assert METRICS.name not in PRESET.read_text()


def test_each_unit_is_one_without_a_script_for_another_init() -> None:
    overrides = (PROJECT / "packaging/bundled/deb/iommuctl.lintian-overrides").read_text()
    named = [line.split("/")[-1] for line in overrides.splitlines() if "no-init.d-script" in line]
    assert named == sorted(f"{path.name}]" for path in UNIT.parent.glob("*.service"))


@pytest.mark.programs
@pytest.mark.parametrize("source", [UNIT, METRICS], ids=lambda path: path.name)
def test_systemd_knows_each_of_its_settings(source: Path, tmp_path: Path) -> None:
    analyze = program("systemd-analyze")
    # On this machine the program may not be installed, and the page is in another package.
    path = shutil.copy(source, tmp_path / source.name)
    Path(path).write_text(source.read_text().replace("/usr/bin/iommuctl", shutil.which("true") or ""))
    done = subprocess.run([analyze, "verify", "--man=no", path], capture_output=True, text=True, check=False)
    ours = [line for line in done.stderr.splitlines() if source.stem in line]
    assert (done.returncode, ours) == (0, [])


@pytest.mark.programs
@pytest.mark.parametrize("source", [UNIT, METRICS], ids=lambda path: path.name)
def test_it_is_as_confined_as_its_work_allows(source: Path) -> None:
    analyze = program("systemd-analyze")
    done = subprocess.run(
        [analyze, "security", "--offline=true", f"--threshold={EXPOSURE}", "--no-pager", source],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
