# SPDX-License-Identifier: Apache-2.0
"""Managers: other programs on a host that set kernel parameters, by the files that they leave. Reading only."""

import re
import shlex
from collections.abc import Iterator
from pathlib import PurePosixPath

from iommuctl.kernel.cmdline import Cmdline
from iommuctl.kernel.environment import Manager
from iommuctl.pattern import pattern
from iommuctl.tree import Tree, known_names, known_text

# tuned(8), plugin bootloader: what the active profile puts on the line, and where its profiles are.
_BOOTCMDLINE = PurePosixPath("/etc/tuned/bootcmdline")
_ACTIVE_PROFILE = PurePosixPath("/etc/tuned/active_profile")
_PROFILES = tuple(
    PurePosixPath(path) for path in ("/etc/tuned/profiles", "/etc/tuned", "/usr/lib/tuned/profiles", "/usr/lib/tuned")
)
_INCLUDE_DEPTH = 8
_INCLUDE = pattern(r"^include\s*=\s*(.+)$", re.MULTILINE)
_CMDLINE_OPTION = pattern(r"^cmdline\w*\s*[+:]?=\s*(.+)$", re.MULTILINE)
_TUNED_VARIABLE = pattern(r"^TUNED_BOOT_CMDLINE=(.*)$", re.MULTILINE)
# openshift/machine-config-operator: the configuration that the node's daemon last rendered, as JSON.
_MACHINE_CONFIG = PurePosixPath("/etc/machine-config-daemon/currentconfig")
# k8snetworkplumbingwg/sriov-network-operator: its node daemon adds intel_iommu=on and iommu=pt by grubby.
_SRIOV = PurePosixPath("/etc/sriov-operator")
_SRIOV_PARAMETERS = "intel_iommu=on iommu=pt"
# gardenlinux: /etc/kernel/cmdline is built of these by its update-bootloaders.
_GARDENLINUX, _OS_RELEASE = PurePosixPath("/etc/kernel/cmdline.d"), PurePosixPath("/etc/os-release")


def read_managers(tree: Tree) -> tuple[Manager, ...]:
    """Return the other programs that set kernel parameters here, and which; what may not be read tells of none."""
    return (*_tuned(tree), *_machine_config(tree), *_sriov(tree), *_gardenlinux(tree))


def _tuned(tree: Tree) -> Iterator[Manager]:
    text = known_text(tree, _BOOTCMDLINE)
    if text and (found := _TUNED_VARIABLE.search(text)):
        yield Manager("TuneD", _BOOTCMDLINE, Cmdline.parse(found[1].strip().strip('"')))
        return
    for name in known_text(tree, _ACTIVE_PROFILE).split():
        yield from _tuned_profile(tree, name, _INCLUDE_DEPTH)


def _tuned_profile(tree: Tree, name: str, depth: int) -> Iterator[Manager]:
    if depth == 0 or "/" in name or name.startswith("."):
        return
    for directory in _PROFILES:
        path = directory / name / "tuned.conf"
        if text := known_text(tree, path):
            for include in _INCLUDE.findall(text):
                for part in include.replace(",", " ").split():
                    yield from _tuned_profile(tree, part, depth - 1)
            if lines := _CMDLINE_OPTION.findall(text):
                words = " ".join(line.strip().lstrip("+").strip('"') for line in lines)
                yield Manager("TuneD", path, Cmdline.parse(words))
            return


def _machine_config(tree: Tree) -> Iterator[Manager]:
    text = known_text(tree, _MACHINE_CONFIG)
    if not text:
        return
    import json  # noqa: PLC0415 - few hosts have one

    try:
        arguments = json.loads(text)["spec"].get("kernelArguments") or []
        line = " ".join(str(one) for one in arguments)
    except (ValueError, KeyError, AttributeError, TypeError, RecursionError):
        line = ""
    yield Manager("the machine config operator", _MACHINE_CONFIG, Cmdline.parse(line))


def _sriov(tree: Tree) -> Iterator[Manager]:
    if known_names(tree, _SRIOV):
        yield Manager("the SR-IOV network operator", _SRIOV, Cmdline.parse(_SRIOV_PARAMETERS))


def _gardenlinux(tree: Tree) -> Iterator[Manager]:
    if not re.search(r'^ID="?gardenlinux"?$', known_text(tree, _OS_RELEASE), re.MULTILINE):
        return
    for name in known_names(tree, _GARDENLINUX):
        values = re.findall(r"^CMDLINE_LINUX\w*=(.*)$", known_text(tree, _GARDENLINUX / name), re.MULTILINE)
        words = " ".join(word for value in values for word in _words(value))
        if words:
            yield Manager("Garden Linux", _GARDENLINUX / name, Cmdline.parse(words))


def _words(value: str) -> list[str]:
    try:
        return shlex.split(value)
    except ValueError:
        return []
