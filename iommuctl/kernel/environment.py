# SPDX-License-Identifier: Apache-2.0
"""Environment: what acts on a kernel next to its command line: firmware, hypervisor, its own configuration. A value."""

from typing import NamedTuple

from iommuctl.kernel.cmdline import Cmdline


class Surroundings(NamedTuple):
    """What a host adds to its command line; None where it is not known.

    `tables` are the ACPI tables of the firmware. `vtd_default_on` and `ignores_loader` are of the kernels'
    configuration: CONFIG_INTEL_IOMMU_DEFAULT_ON, and CONFIG_CMDLINE_OVERRIDE or CONFIG_CMDLINE_FORCE. `bootconfig` has
    the parameters that a boot configuration in the initramfs adds.
    """

    tables: frozenset[str] | None = None
    is_guest: bool | None = None
    is_xen_host: bool | None = None
    vtd_default_on: bool | None = None
    ignores_loader: bool | None = None
    bootconfig: Cmdline | None = None
