# SPDX-License-Identifier: Apache-2.0
"""Environment: what acts on a kernel next to its command line: firmware, modules, who else writes the line. Values."""

from pathlib import PurePosixPath

from iommuctl.kernel.cmdline import Cmdline
from iommuctl.value import NamedTuple


class ModuleOption(NamedTuple):
    """One parameter of a module in modprobe.d(5), and the file that says it. `module` and `name` are with `_`."""

    module: str
    name: str
    value: str
    path: PurePosixPath


class Seal(NamedTuple):
    """A key that the TPM gives out only while some PCRs hold what they held. `what` is opened with it.

    `pcrs` None: bound to the TPM, and which PCRs cannot be seen from here. `path` is the file that tells of it.
    """

    what: str
    path: PurePosixPath
    pcrs: frozenset[int] | None


class Manager(NamedTuple):
    """A program that writes kernel parameters too. `parameters` are those that it says it sets; none: not known."""

    name: str
    path: PurePosixPath
    parameters: Cmdline


class Surroundings(NamedTuple):
    """What a host adds to its command line; None where it is not known.

    `tables` are the ACPI tables of the firmware. `vtd_default_on`, `spares_gpu` and `ignores_loader` are of the
    kernels' configuration: CONFIG_INTEL_IOMMU_DEFAULT_ON, Debian's …_INTGPU_OFF, and CONFIG_CMDLINE_OVERRIDE or
    CONFIG_CMDLINE_FORCE. `bootconfig` has the parameters that a boot configuration in the initramfs adds. `has_snp`:
    the processor offers SEV-SNP; `uses_snp`: the running kernel does.
    """

    tables: frozenset[str] | None = None
    is_guest: bool | None = None
    is_xen_host: bool | None = None
    vtd_default_on: bool | None = None
    ignores_loader: bool | None = None
    bootconfig: Cmdline | None = None
    spares_gpu: bool | None = None
    has_snp: bool | None = None
    uses_snp: bool | None = None
    options: tuple[ModuleOption, ...] = ()
    seals: tuple[Seal, ...] = ()
    managers: tuple[Manager, ...] = ()
