# SPDX-License-Identifier: Apache-2.0
"""Packages agree with the project: one version, the same libraries, scripts that leave the boot configuration alone.

That they build, and what they do on a host, is for scripts/package-test, which needs clean trees.
"""

import os
import re
import shutil
import subprocess
import tomllib
from pathlib import Path

import pytest
from lacking import program
from project import PROJECT

import iommuctl
from iommuctl.host.root import Root
from iommuctl.transaction.journal import journal_path
from iommuctl.transaction.store import STATE, Store

DEB = PROJECT / "packaging" / "deb"
BUNDLED = PROJECT / "packaging" / "bundled"
SPEC = PROJECT / "packaging" / "rpm" / "iommuctl.spec"
PRERM, POSTRM = DEB / "iommuctl.prerm", DEB / "iommuctl.postrm"
JOURNAL = journal_path(Store(Root(Path("/"))))
DEPENDENCY = re.compile(r"^([a-z-]+)>=([0-9.]+)")
# What decides how a host boots, and what changes it.
BOOT = re.compile(r"/boot|/etc/(?:default|kernel)|grub|kernel|efi|apply|rollback|\biommuctl recover$", re.MULTILINE)


def required() -> dict[str, str]:
    """Each library of the project with the oldest version that will do."""
    project = tomllib.loads((PROJECT / "pyproject.toml").read_text())["project"]
    matches = [DEPENDENCY.match(dependency) for dependency in project["dependencies"]]
    return {match[1]: match[2] for match in matches if match}


def pinned(name: str) -> dict[str, str]:
    """Each library of a list of pins with its version."""
    return dict(re.findall(r"^([a-z0-9-]+)==([0-9.]+) ", (BUNDLED / name).read_text(), re.MULTILINE))


def numbers(version: str) -> tuple[int, ...]:
    return tuple(map(int, version.split(".")))


def spec_values(tag: str) -> list[str]:
    return re.findall(rf"^{tag}: +(.+)$", SPEC.read_text(), re.MULTILINE)


def run(script: Path, *arguments: str, root: Path) -> subprocess.CompletedProcess[str]:
    """Run a maintainer script as dpkg does on a host that lies in another root."""
    environment = {"PATH": os.environ["PATH"], "DPKG_ROOT": str(root)}
    return subprocess.run(
        ["sh", script, *arguments], env=environment, capture_output=True, text=True, timeout=60, check=False
    )


@pytest.fixture
def host(tmp_path: Path) -> Path:
    """A host with a snapshot and a profile of its own."""
    (tmp_path / STATE.relative_to("/") / "snapshots").mkdir(parents=True)
    profiles = tmp_path / "etc/iommuctl/profiles.d"
    profiles.mkdir(parents=True)
    (profiles / "mine.toml").write_text("")
    return tmp_path


def interrupt(host: Path) -> None:
    (host / JOURNAL.relative_to("/")).write_text("{}")


def test_packages_have_the_version_of_the_project() -> None:
    changelog = (DEB / "changelog").read_text()
    assert changelog.startswith(f"iommuctl ({iommuctl.__version__}) ")
    assert spec_values("Version") == [iommuctl.__version__]
    first = SPEC.read_text().split("%changelog\n")[1].splitlines()[0]
    assert first.endswith(f" - {iommuctl.__version__}-1")


def test_the_native_package_asks_for_the_libraries_that_the_project_asks_for() -> None:
    control = (DEB / "control").read_text()
    asked = dict(re.findall(r"^ python3-([a-z]+) \(>= ([0-9.]+)\)", control, re.MULTILINE))
    wanted = {name.removeprefix("python-"): version for name, version in required().items()}
    assert {name: asked.get(name) for name in wanted} == wanted


def test_which_variant_a_release_needs_depends_on_the_same_libraries() -> None:
    text = (PROJECT / "packaging" / "variant").read_text()
    asked = dict(re.findall(r"has python3-([a-z]+) ([0-9.]+)", text))
    assert asked == {name.removeprefix("python-"): version for name, version in required().items()}


@pytest.mark.programs
def test_a_bundled_package_gives_way_to_the_native_one_of_the_next_release() -> None:
    order = ("--compare-versions", f"{iommuctl.__version__}~debian12", "lt", iommuctl.__version__)
    assert subprocess.run([program("dpkg"), *order], check=False).returncode == 0


@pytest.mark.parametrize("name", ["run.txt", "build.txt"])
def test_every_pinned_library_has_hashes(name: str) -> None:
    entries = re.split(r"^(?=[a-z])", (BUNDLED / name).read_text(), flags=re.MULTILINE)[1:]
    assert [entry.split("==")[0] for entry in entries if "--hash=sha256:" not in entry] == []
    assert len(entries) == len(pinned(name))


def test_pinned_libraries_are_new_enough_for_the_project() -> None:
    pins = pinned("run.txt")
    assert {name for name, oldest in required().items() if numbers(pins[name]) < numbers(oldest)} == set()


def test_what_builds_has_the_same_pins_as_what_runs() -> None:
    runs, builds = pinned("run.txt"), pinned("build.txt")
    assert {name for name in runs.keys() & builds if runs[name] != builds[name]} == set()
    assert "hatchling" in builds


def test_the_bundled_rpm_names_what_it_carries() -> None:
    carried = re.findall(r"^Provides: +bundled\(python3dist\((.+)\)\) = (.+)$", SPEC.read_text(), re.MULTILINE)
    assert dict(carried) == pinned("run.txt")


def test_the_licences_of_what_a_bundled_package_carries_are_named() -> None:
    text = " ".join((BUNDLED / "deb" / "copyright").read_text().lower().split())
    assert [name for name in pinned("run.txt") if name not in text] == []


def test_both_variants_have_one_description_and_one_maintainer() -> None:
    native, bundled = (DEB / "control").read_text(), (BUNDLED / "deb" / "control").read_text()
    assert bundled.split("Description:")[1].startswith(native.split("Description:")[1].rstrip("\n"))
    assert re.findall("^Maintainer: .*", native, re.MULTILINE) == re.findall("^Maintainer: .*", bundled, re.MULTILINE)


@pytest.mark.parametrize("script", [PRERM, POSTRM], ids=lambda path: path.suffix)
def test_no_maintainer_script_touches_the_boot_configuration(script: Path) -> None:
    orders = [line for line in script.read_text().splitlines() if not line.lstrip().startswith(("#", "echo "))]
    assert [line for line in orders if BOOT.search(line)] == []


def test_no_scriptlet_touches_the_boot_configuration() -> None:
    text = SPEC.read_text()
    scriptlets = text[text.index("%if 0%{?systemd_requires:1}\n%post\n") : text.index("%if %{with bundled}\n%files\n")]
    orders = [line for line in scriptlets.splitlines() if not line.lstrip().startswith(("#", "echo "))]
    assert "%preun" in orders
    assert [line for line in orders if BOOT.search(line)] == []


@pytest.mark.parametrize("order", ["update-grub", "rm /boot/x", "cp x /etc/default/grub", "iommuctl recover"])
def test_what_touches_the_boot_configuration_is_seen(order: str) -> None:
    assert BOOT.search(order)


def test_a_removal_waits_for_an_interrupted_change(host: Path) -> None:
    interrupt(host)
    refused = run(PRERM, "remove", root=host)
    assert (refused.returncode, refused.stdout) == (1, "")
    assert refused.stderr == (
        "iommuctl: a change of the boot configuration was interrupted and is not undone yet\nhint: iommuctl recover\n"
    )


@pytest.mark.parametrize("arguments", [("upgrade", "9.9"), ("deconfigure",), ("failed-upgrade", "0.1")])
def test_an_upgrade_does_not_wait(host: Path, arguments: tuple[str, ...]) -> None:
    interrupt(host)
    assert run(PRERM, *arguments, root=host).returncode == 0


def test_a_removal_leaves_the_way_back(host: Path) -> None:
    before = sorted(host.rglob("*"))
    assert run(PRERM, "remove", root=host).returncode == 0
    assert run(POSTRM, "remove", root=host).returncode == 0
    assert sorted(host.rglob("*")) == before


def test_a_purge_removes_the_snapshots_and_no_profile_of_the_administrator(host: Path) -> None:
    assert run(POSTRM, "purge", root=host).returncode == 0
    assert not (host / STATE.relative_to("/")).exists()
    assert (host / "etc/iommuctl/profiles.d/mine.toml").exists()


def test_a_purge_does_not_follow_a_link_of_the_state_folder(host: Path) -> None:
    state = host / STATE.relative_to("/")
    elsewhere = state.rename(host / "elsewhere")
    state.symlink_to(elsewhere)
    assert run(POSTRM, "purge", root=host).returncode == 0
    assert not state.is_symlink()
    assert (elsewhere / "snapshots").is_dir()


def test_a_purge_says_what_it_takes_along() -> None:
    assert f"{STATE} are what `iommuctl rollback` goes back to" in " ".join((DEB / "README.Debian").read_text().split())


def test_packages_own_the_folders_of_profiles_and_of_state() -> None:
    folders = ["/etc/iommuctl/profiles.d", str(STATE)]
    assert [f"/{line}" for line in (DEB / "iommuctl.dirs").read_text().split()] == folders
    assert f"chmod 0700 debian/iommuctl{STATE}" in (DEB / "rules").read_text()
    assert "%dir %{_sysconfdir}/iommuctl/profiles.d" in SPEC.read_text()
    assert f"%global state {STATE.parent}/%{{name}}" in SPEC.read_text()
    assert "%dir %attr(0700,root,root) %{state}" in SPEC.read_text()


def test_packages_hold_both_readmes_and_the_script_that_the_documents_lead_to() -> None:
    documents = set((DEB / "iommuctl.docs").read_text().split())
    assert {"README.md", "README.zh-CN.md", "docs"} <= documents
    assert (DEB / "iommuctl.examples").read_text().split() == [
        "examples/carriers",
        "examples/confirm.d",
        "examples/debian-12",
        "examples/fleet.sh",
    ]
    in_rpm = set(" ".join(re.findall(r"^%doc (.+)$", SPEC.read_text(), re.MULTILINE)).split())
    assert in_rpm == {*documents, "build/examples"}
    assert "examples/fleet.sh build/examples/fleet.sh" in SPEC.read_text()
    assert "cp -a examples/debian-12 build/examples/debian-12" in SPEC.read_text()
    for name in ("carriers", "confirm.d"):
        assert f"-t build/examples/{name} examples/{name}/*" in SPEC.read_text()


def test_each_test_of_the_installed_package_is_a_program() -> None:
    names = re.findall(r"^Tests: (.+)$", (DEB / "tests" / "control").read_text(), re.MULTILINE)
    assert sorted(names) == sorted(path.name for path in (DEB / "tests").iterdir() if path.name != "control")
    assert all(os.access(DEB / "tests" / name, os.X_OK) for name in names)


def test_the_tests_that_a_package_is_built_with_are_there() -> None:
    pattern = re.compile(r"^tests = \$\(patsubst %,(.+)%, (.+?)\)$", re.MULTILINE | re.DOTALL)
    listed = pattern.search((DEB / "variant.mk").read_text())
    assert listed is not None
    names = [f"{listed[1]}{name}" for name in listed[2].replace("\\", " ").split()]
    assert len(names) > 10
    assert [name for name in names if not (PROJECT / name).exists()] == []


def pages(tmp_path: Path) -> Path:
    """A copy of what the pages are made of."""
    shutil.copytree(PROJECT / "man", tmp_path / "man")
    shutil.copy(PROJECT / "Makefile", tmp_path)
    return tmp_path


@pytest.mark.programs
def test_every_page_is_made(tmp_path: Path) -> None:
    program("rst2man")
    copy = pages(tmp_path)
    subprocess.run([program("make"), "man"], cwd=copy, check=True, capture_output=True, timeout=120)
    made = {path.name: path.read_text() for path in (copy / "build/man").iterdir()}
    assert set(made) == {path.stem for path in (PROJECT / "man").glob("*.rst")}
    assert [name for name, text in made.items() if ".SH NAME" not in text] == []


@pytest.mark.programs
def test_a_page_with_a_mistake_ends_the_build_and_leaves_nothing(tmp_path: Path) -> None:
    program("rst2man")
    copy = pages(tmp_path)
    page = copy / "man/iommuctl-parameters.7.rst"
    page.write_text(f"{page.read_text()}\n*no end\n")
    done = subprocess.run([program("make"), "man"], cwd=copy, check=False, capture_output=True, timeout=120)
    assert done.returncode != 0
    assert not (copy / "build/man" / page.stem).exists()
