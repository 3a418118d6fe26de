# SPDX-License-Identifier: Apache-2.0
"""What is told of a root that no backend edits: the profile's parameters, as each owner and loader takes them."""

import json

import pytest
from trees import MemoryTree

from iommuctl.backends.detection.byhand import ByHandError
from iommuctl.backends.detection.detect import detect
from iommuctl.facts import Distribution, Facts, Platform, Runtime
from iommuctl.kernel.parameters import Catalogue
from iommuctl.profile.desired import DesiredArguments
from iommuctl.profile.inheritance import load_profile
from iommuctl.profile.resolve import resolve
from iommuctl.profile.shipped import shipped_catalogue, shipped_profiles

Files = dict[str, str | bytes]
CATALOGUE = shipped_catalogue()
OSTREE: Files = {"/ostree/repo/config": "", "/usr/bin/rpm-ostree": ""}
REFIND: Files = {"/boot/refind_linux.conf": '"Linux" "root=UUID=1 ro iommu=soft"\n"Rescue" "root=UUID=1 single"\n'}
BY_STUB = Runtime("root=UUID=1 iommu=off initrd=\\i.img", is_efi=True, boot_program="\\vmlinuz-linux")
BY_REFIND = Runtime("root=UUID=1 ro", is_efi=True, loader_info="rEFInd 0.14.2")


def desired(facts: Facts, profile: str, catalogue: Catalogue = CATALOGUE) -> DesiredArguments:
    return resolve(load_profile(profile, shipped_profiles()), catalogue, facts, {})


def told(
    files: Files, distribution: Distribution, runtime: Runtime | None = None, profile: str = "passthrough-perf"
) -> ByHandError:
    facts = Facts(Platform.INTEL, False, distribution, ("6.12.0",), runtime)
    with pytest.raises(ByHandError) as caught:
        detect(MemoryTree.of(files), facts, runtime, wanted=None, known=("grub2", "bls", "systemd-boot"))
    return caught.value.naming(desired(facts, profile), CATALOGUE)


@pytest.mark.parametrize(
    ("files", "distribution", "runtime", "profile", "hint"),
    [
        (
            OSTREE,
            Distribution("fedora"),
            Runtime("ostree=/x iommu.passthrough=0 quiet"),
            "passthrough-perf",
            (
                "rpm-ostree kargs --append-if-missing=intel_iommu=on --append-if-missing=iommu=pt"
                " --delete-if-present=iommu.passthrough=0"
            ),
        ),
        (
            OSTREE,
            Distribution("fedora"),
            Runtime("ostree=/x intel_iommu=on iommu=pt"),
            "kernel-default",
            "remove intel_iommu=on iommu=pt: rpm-ostree kargs --editor",
        ),
        (
            OSTREE,
            Distribution("fedora"),
            None,
            "kernel-default",
            "remove what the profile removes, where it is there: rpm-ostree kargs --editor",
        ),
        (
            {},
            Distribution("guix"),
            None,
            "passthrough-perf",
            (
                'put "intel_iommu=on" "iommu=pt" into kernel-arguments of the operating-system declaration, then '
                "guix system reconfigure"
            ),
        ),
        (
            {},
            Distribution("talos"),
            None,
            "passthrough-perf",
            (
                'put "intel_iommu=on", "iommu=pt" into machine.install.extraKernelArgs of the machine configuration, '
                "then talosctl upgrade"
            ),
        ),
        (
            {},
            Distribution("flatcar"),
            None,
            "passthrough-perf",
            'add set linux_append="$linux_append intel_iommu=on iommu=pt" to /oem/grub.cfg, then reboot',
        ),
        (
            {},
            Distribution("arch"),
            BY_STUB,
            "passthrough-perf",
            (
                "efibootmgr --create --loader '\\vmlinuz-linux' --unicode "
                "'root=UUID=1 initrd=\\i.img intel_iommu=on iommu=pt' makes the boot option anew "
                "(--disk and --part name the ESP)"
            ),
        ),
        (
            REFIND,
            Distribution("arch"),
            BY_REFIND,
            "passthrough-perf",
            (
                "add iommu=pt intel_iommu=on and remove iommu=soft in line 1 of /boot/refind_linux.conf "
                "(the second pair of quotes), then reboot"
            ),
        ),
        (
            {"/boot/efi/EFI/refind/refind_x64.efi": ""},
            Distribution("arch"),
            BY_REFIND,
            "passthrough-perf",
            "run mkrlconf, which makes /boot/refind_linux.conf, then the same command again",
        ),
    ],
)
def test_what_to_do_is_told_with_the_parameters_of_the_profile(
    files: Files, distribution: Distribution, runtime: Runtime | None, profile: str, hint: str
) -> None:
    assert told(files, distribution, runtime, profile).hint == hint


def test_what_an_api_takes_is_json() -> None:
    hint = told({}, Distribution("bottlerocket")).hint or ""
    assert json.loads(hint.split("'")[1]) == {
        "settings": {"boot": {"kernel-parameters": {"intel_iommu": ["on"], "iommu": ["pt"]}}}
    }


def test_xen_is_told_nothing_of_parameters_of_linux() -> None:
    error = told({}, Distribution("xenenterprise"))
    assert not any("intel_iommu" in text for text in (*error.details, error.hint or ""))


def test_lines_that_have_everything_are_not_asked_for() -> None:
    line = '"Linux" "root=UUID=1 intel_iommu=on iommu=pt"\n"Rescue" "root=UUID=1 single"\n'
    error = told({"/boot/refind_linux.conf": line}, Distribution("arch"), BY_REFIND)
    assert error.brief == "rEFInd boots this host, and what it reads has what profile 'passthrough-perf' asks for"
    assert error.hint == "reboot; iommuctl verify passthrough-perf tells whether it took effect"


def test_a_loader_that_may_only_have_started_grub_leaves_the_choice() -> None:
    grub: Files = {"/boot/grub/grub.cfg": "menuentry 'x' {\n linux /v\n}\n", "/etc/default/grub": "GRUB_TIMEOUT=5\n"}
    error = told(grub | REFIND, Distribution("arch"), BY_REFIND._replace(cmdline="BOOT_IMAGE=/v root=UUID=1"))
    assert error.brief.startswith("rEFInd boots this host")
    assert (error.hint or "").endswith(
        "; where rEFInd only starts what is edited, the same command with --backend grub2"
    )
