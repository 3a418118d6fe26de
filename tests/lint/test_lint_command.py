# SPDX-License-Identifier: Apache-2.0
"""The command lint: a text, a profile, another root; and what apply does with what it finds."""

import json
import shutil
from pathlib import Path

import pytest
from console import code_of
from jsonschema import Draft202012Validator
from project import GOLDEN, PACKAGE
from typer.testing import CliRunner

from iommuctl.cli.application import application
from iommuctl.cli.session import Session
from iommuctl.errors import IommuctlError, ProfileError
from iommuctl.lint.host_rules import HOST_RULES
from iommuctl.lint.line_rules import RULES

RULE_IDS = {rule.id for rule in (*RULES, *HOST_RULES)}
SCHEMA = PACKAGE / "documents" / "schemas" / "lint.json"


def run(*arguments: str) -> tuple[int, str]:
    """Run a command in this process; give its exit code and stdout."""
    result = CliRunner().invoke(application, arguments, obj=Session())
    if isinstance(result.exception, IommuctlError):
        raise result.exception
    return result.exit_code, result.stdout


def test_a_text_is_linted_and_errors_give_exit_code_1() -> None:
    code, text = run("lint", "--cmdline", "quiet iommu.pasthrough=1")
    assert (code, text.splitlines()) == (
        1,
        [
            "error[unknown-parameter] iommu.pasthrough=1: no such parameter; the kernel ignores it without a message",
            "    hint: write iommu.passthrough=1 instead",
            "1 error in 1 command line",
        ],
    )


def test_a_clean_text_has_no_finding() -> None:
    assert run("lint", "--cmdline", "intel_iommu=on iommu=pt") == (0, "nothing found in 1 command line\n")


def test_json_of_a_text() -> None:
    code, text = run("lint", "--cmdline", "iommu=pt", "--platform", "arm64", "--kernel", "6.1", "--json")
    assert (code, json.loads(text)) == (
        0,
        {
            "schema_version": 1,
            "command": "lint",
            "platform": "arm64",
            "lines": [{"where": "the text", "cmdline": "iommu=pt", "kernels": ["6.1"]}],
            "findings": [
                {
                    "rule": "wrong-platform",
                    "severity": "warning",
                    "parameter": "iommu=pt",
                    "message": "no driver of arm64 acts on iommu",
                    "hint": "write iommu.passthrough=1 instead of iommu=pt",
                    "address": None,
                    "where": ["the text"],
                }
            ],
        },
    )


def test_a_message_with_bytes_that_are_no_text_is_json_all_the_same() -> None:
    _, document = run("lint", "--cmdline", "intel_iommu=on,\udcff intel_iommu=on,\udcff", "--json")
    messages = [one["message"] for one in json.loads(document)["findings"] if one["rule"] == "duplicate"]
    assert "intel_iommu=\ufffd stands on the line more than once" in messages


def test_a_hostile_text_reaches_neither_terminal_nor_json_raw() -> None:
    text = "iommu.\x1b[31m\udcff=1"
    _, shown = run("lint", "--cmdline", text)
    assert "\x1b" not in shown
    _, document = run("lint", "--cmdline", text, "--json")
    assert json.loads(document)["findings"][0]["parameter"] == "iommu.\x1b[31m\ufffd=1"


@pytest.mark.parametrize(
    "profile", ["passthrough-perf", "strict-isolation", "translated-lazy", "hardened", "kernel-default"]
)
def test_a_shipped_profile_makes_lines_without_a_finding(profile: str) -> None:
    assert run("lint", profile) == (0, "nothing found in 3 command lines\n")


def test_a_profile_is_judged_by_what_it_asks_for(tmp_path: Path) -> None:
    file = tmp_path / "mine.toml"
    file.write_text('name = "mine"\nsummary = "s"\n[[set]]\nparameter = "intel_iommu=pt"\nreason = "r"\n')
    code, text = run("lint", str(file), "--json")
    worst = json.loads(text)["findings"][0]
    assert (code, worst["rule"], worst["severity"], worst["where"]) == (1, "myth", "error", ["mine on intel"])


def test_what_a_profile_wants_is_no_excuse_where_the_profile_itself_is_linted(tmp_path: Path) -> None:
    file = tmp_path / "mine.toml"
    file.write_text('name = "mine"\nsummary = "s"\n[[set]]\nparameter = "intremap=off"\nreason = "r"\n')
    code, text = run("lint", str(file), "--platform", "intel", "--json")
    findings = [(one["rule"], one["severity"]) for one in json.loads(text)["findings"]]
    assert (code, findings) == (0, [("unsafe", "warning")])


def test_another_root_is_linted_line_by_line(sample_host: Path) -> None:
    grub = sample_host / "etc/default/grub"
    grub.write_text(grub.read_text().replace('GRUB_CMDLINE_LINUX=""', 'GRUB_CMDLINE_LINUX="iommu=1"'))
    code, text = run("lint", "--root", str(sample_host), "--json")
    report = json.loads(text)
    Draft202012Validator(json.loads(SCHEMA.read_text())).validate(report)
    assert (code, len(report["lines"])) == (1, 4)
    assert [(one["rule"], one["where"]) for one in report["findings"]] == [
        ("myth", ["the next kernel (/etc/default/grub)"]),
        ("sources-disagree", []),  # the menu is older than the settings
    ]
    assert "    on: the next kernel (/etc/default/grub)\n" in run("lint", "--root", str(sample_host))[1]


def test_kernel_configuration_of_another_root_is_known(sample_host: Path) -> None:
    grub = sample_host / "etc/default/grub"
    grub.write_text(grub.read_text().replace('GRUB_CMDLINE_LINUX=""', 'GRUB_CMDLINE_LINUX="iommu=pt"'))
    for kernel in (sample_host / "boot").glob("vmlinuz-*"):
        release = kernel.name.removeprefix("vmlinuz-")
        config = sample_host / "boot" / f"config-{release}"
        config.write_text("CONFIG_INTEL_IOMMU=y\n# CONFIG_INTEL_IOMMU_DEFAULT_ON is not set\n")
    code, text = run("lint", "--root", str(sample_host), "--platform", "intel")
    assert (code, "warning[vtd-not-enabled] iommu=pt" in text) == (0, True)


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("lint", "strict-isolation", "--cmdline", "x"), 2),
        (("lint", "--cmdline", "x", "--kernel", "new"), 2),
        (("lint", "--cmdline", "x", "--platform", "vax"), 2),
    ],
)
def test_a_request_that_makes_no_sense_is_a_usage_error(arguments: tuple[str, ...], said: int) -> None:
    assert code_of(*arguments) == said


def test_apply_stops_at_an_error_in_the_result_unless_it_is_forced(sample_host: Path) -> None:
    grub = sample_host / "etc/default/grub"
    grub.write_text(grub.read_text().replace('GRUB_CMDLINE_LINUX=""', 'GRUB_CMDLINE_LINUX="iommu.pasthrough=1"'))
    arguments = ("apply", "passthrough-perf", "--root", str(sample_host), "--dry-run", "--json")
    with pytest.raises(ProfileError) as caught:
        run(*arguments)
    assert (caught.value.code, caught.value.brief, caught.value.details, caught.value.hint) == (
        65,
        "'iommu.pasthrough=1': no such parameter; the kernel ignores it without a message",
        ("mend: write iommu.passthrough=1 instead",),
        "mend it, or go on in spite of it: --force unknown-parameter",
    )
    code, text = run(*arguments, "--force", "unknown-parameter")
    assert code == 0
    rules = [(one["rule"], one["parameter"]) for one in json.loads(text)["findings"]]
    assert ("unknown-parameter", "iommu.pasthrough=1") in rules


def test_apply_of_a_clean_host_finds_nothing(sample_host: Path) -> None:
    code, text = run("apply", "strict-isolation", "--root", str(sample_host), "--dry-run", "--json")
    assert (code, [one for one in json.loads(text)["findings"] if one["rule"] in RULE_IDS]) == (0, [])


def apply_findings(host: Path, profile: str) -> list[str]:
    code, text = run("apply", profile, "--root", str(host), "--dry-run", "--json")
    assert code == 0
    return [one["rule"] for one in json.loads(text)["findings"] if one["rule"] in RULE_IDS]


@pytest.mark.parametrize(
    ("leftover", "found"),
    [
        ("intremap=off", []),  # the profile takes it away, so the result does not have it
        ("iommu=force", []),  # of no effect: nothing that an apply has to speak of
        ("iommu=1", []),
        ("intel_iommu=maybe", ["unknown-token"]),
    ],
)
def test_apply_judges_what_it_would_leave(sample_host: Path, leftover: str, found: list[str]) -> None:
    grub = sample_host / "etc/default/grub"
    grub.write_text(grub.read_text().replace('GRUB_CMDLINE_LINUX=""', f'GRUB_CMDLINE_LINUX="{leftover}"'))
    assert apply_findings(sample_host, "strict-isolation") == found


def test_apply_does_not_judge_a_menu_that_is_generated_anew(sample_host: Path) -> None:
    menu = sample_host / "boot/grub/grub.cfg"
    menu.write_text(menu.read_text().replace(" ro ", " ro iommu.pasthrough=1 "))
    assert "iommu.pasthrough=1" in menu.read_text()
    assert apply_findings(sample_host, "strict-isolation") == []


@pytest.mark.parametrize("name", ["opensuse-sdbootutil", "pop-os"])
def test_apply_does_not_judge_an_entry_that_is_still_to_be_written(name: str, tmp_path: Path) -> None:
    """What stops an apply would otherwise be the very parameter that it takes away."""
    before = GOLDEN / "systemd-boot" / name / "before"
    host = Path(shutil.copytree(before, tmp_path / "host"))
    for path in host.rglob("*"):
        if path.is_file() and b"iommu=soft" in path.read_bytes():
            path.write_bytes(path.read_bytes().replace(b"iommu=soft", b"intremap=off"))
    code, text = run("apply", "strict-isolation", "--root", str(host), "--platform", "intel", "--dry-run")
    assert code == 0, text
    assert "unsafe" not in text


@pytest.mark.parametrize("host", ["bls/rhel-8", "grub2/debian-12-guides", "systemd-boot/arch", "systemd-boot/pop-os"])
@pytest.mark.parametrize("profile", ["passthrough-perf", "strict-isolation", "own.toml"])
def test_a_profile_on_another_root_is_linted_as_it_would_be_applied(host: str, profile: str, tmp_path: Path) -> None:
    root = tmp_path / "host"
    shutil.copytree(GOLDEN / host / "before", root, symlinks=True)
    if profile.endswith(".toml"):
        asked = 'parameter = "pcie_acs_override=downstream"\nreason = "r"\n'
        (tmp_path / profile).write_text(f'name = "own"\nsummary = "s"\n[[set]]\n{asked}')
        profile = str(tmp_path / profile)
    options = ("--root", str(root), "--platform", "intel", "--json")
    linted = json.loads(run("lint", profile, *options)[1])["findings"]
    applied = json.loads(run("apply", profile, *options, "--dry-run")[1])["findings"]
    told = {(one["rule"], one["parameter"], one["message"]) for one in linted}
    planned = {(one["rule"], one["parameter"], one["message"]) for one in applied}
    assert planned <= told
    weighed = {(one["rule"], one["parameter"], one["message"]) for one in linted if one["severity"] != "info"}
    assert weighed <= planned
    assert ("unsafe" in {rule for rule, _, _ in planned}) == profile.endswith(".toml")


def test_a_profile_is_linted_where_its_root_cannot_be_read(tmp_path: Path) -> None:
    (tmp_path / "etc").mkdir()
    code, text = run("lint", "passthrough-perf", "--root", str(tmp_path), "--platform", "amd", "--json")
    assert code == 0
    assert "boot-configuration-unread" in {one["rule"] for one in json.loads(text)["findings"]}


@pytest.mark.parametrize(
    ("release", "legacy"),
    [
        ("4.18.0-348.23.1.el8_5.x86_64", True),
        ("4.18.0-360.el8.x86_64", True),
        ("4.18.0-553.66.1.el8_10.x86_64", False),
        ("5.14.0-70.el9_0.x86_64", False),
        ("5.10.0-30-amd64", True),
        ("5.4.0-150-generic", True),
        ("6.6.0-custom", False),
    ],
)
def test_the_older_spelling_is_written_only_for_a_kernel_that_needs_it(release: str, legacy: bool) -> None:
    _, text = run("lint", "strict-isolation", "--platform", "intel", "--kernel", release, "--json")
    report = json.loads(text)
    assert ("strict" in report["lines"][0]["cmdline"].split()[0]) is legacy
    assert ("legacy-spelling" in {one["rule"] for one in report["findings"]}) is legacy


def test_kernels_that_only_modules_or_entries_name_are_asked_too(tmp_path: Path) -> None:
    root = tmp_path / "host"
    shutil.copytree(GOLDEN / "bls/rhel-8/before", root, symlinks=True)
    modules = root / "lib/modules/4.18.0-348.23.1.el8_5.x86_64"
    modules.mkdir(parents=True)
    (modules / "modules.dep").touch()
    _, text = run("apply", "strict-isolation", "--platform", "intel", "--dry-run", "--root", str(root))
    assert "intel_iommu=on,strict" in text
    assert "kernels before el8 8.6 do not know iommu.strict" in text
