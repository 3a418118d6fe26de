# SPDX-License-Identifier: Apache-2.0
"""Owners: systems that keep the kernel command line themselves, with the command that is theirs. Rows of data."""

from pathlib import PurePosixPath

from iommuctl.backends.grub.distributions import grub_family
from iommuctl.errors import UnavailableError
from iommuctl.facts import Facts, Runtime
from iommuctl.tree import Tree

_OSTREE_FOLDERS = (PurePosixPath("/ostree"), PurePosixPath("/sysroot/ostree"))
_OSTREE_BOOTED = PurePosixPath("/run/ostree-booted")
_ENTRIES = PurePosixPath("/boot/loader/entries")
_PROGRAMS = PurePosixPath("/usr/bin")
# Each tool that can own an ostree deployment, nearest first: its program, its command.
_OSTREE_TOOLS = (
    ("rpm-ostree", "rpm-ostree kargs --append-if-missing=PARAMETER=VALUE --delete-if-present=PARAMETER=VALUE"),
    ("bootc", 'add a file with kargs = ["PARAMETER=VALUE"] to /usr/lib/bootc/kargs.d in the image, then bootc upgrade'),
)
_OSTREE_COMMAND = "ostree admin kargs edit-in-place --append-if-missing=PARAMETER=VALUE"
_NIXOS = PurePosixPath("/etc/NIXOS")
# Systems that build their boot entries from a configuration of their own, by the ID of os-release.
_DECLARED = {
    "nixos": ("NixOS", "set boot.kernelParams in /etc/nixos/configuration.nix, then nixos-rebuild switch"),
    "guix": ("Guix System", "set kernel-arguments in the operating-system declaration, then guix system reconfigure"),
    "talos": ("Talos", "set machine.install.extraKernelArgs in the machine configuration, then talosctl upgrade"),
    "bottlerocket": ("Bottlerocket", "apiclient set boot.kernel-parameters.PARAMETER=VALUE, then apiclient reboot"),
    "flatcar": ("Flatcar", "set kernel_arguments in the Butane configuration, or edit /oem/grub.cfg"),
}


def refuse_owned(tree: Tree, facts: Facts, runtime: Runtime | None) -> None:
    """Raise UnavailableError, with the right command as its hint, where the command line is not ours to change."""
    if runtime is not None and runtime.is_xen_host:
        raise UnavailableError(
            "Xen owns the IOMMU of this host",
            details=("/proc/xen/capabilities says control_d: this is its dom0",),
            hint=f"put the hypervisor's own iommu= into GRUB_CMDLINE_XEN of /etc/default/grub, then {_new_menu(facts)}",
        )
    mark = _ostree_mark(tree, runtime)
    if mark is not None:
        programs = frozenset(tree.names(_PROGRAMS))
        hint = next((command for program, command in _OSTREE_TOOLS if program in programs), _OSTREE_COMMAND)
        raise UnavailableError("ostree owns the kernel command line here", details=(mark,), hint=hint)
    name = "nixos" if tree.read(_NIXOS) is not None else facts.distribution.id
    if name in _DECLARED:
        owner, hint = _DECLARED[name]
        raise UnavailableError(f"{owner} owns the kernel command line here", details=(f"this is {owner}",), hint=hint)


def _new_menu(facts: Facts) -> str:
    family = grub_family(facts.distribution)
    return "build GRUB's menu anew" if family is None else f"run {family.mkconfig} -o {family.menu}"


def _ostree_mark(tree: Tree, runtime: Runtime | None) -> str | None:
    """What shows an ostree deployment, bootc's included."""
    if runtime is not None:
        if any(word.startswith(("ostree=", "composefs=")) for word in runtime.cmdline.split()):
            return "/proc/cmdline has ostree= or composefs="
        if tree.read(_OSTREE_BOOTED) is not None:
            return f"{_OSTREE_BOOTED} exists"
    for folder in _OSTREE_FOLDERS:
        if tree.names(folder):
            return f"{folder} exists"
    owned = next((name for name in tree.names(_ENTRIES) if name.startswith("ostree-")), None)
    return None if owned is None else f"{_ENTRIES / owned} exists"
