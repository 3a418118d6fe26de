# SPDX-License-Identifier: Apache-2.0
"""Tables: every parameter that is known, as rows of values. Python, so that a run loads them like any other module."""

from iommuctl.kernel.tables import amd, encryption, generic, host, intel, interrupts, kvm, others, pci, vfio

PARAMETERS = (
    *generic.PARAMETERS,
    *intel.PARAMETERS,
    *amd.PARAMETERS,
    *others.PARAMETERS,
    *interrupts.PARAMETERS,
    *pci.PARAMETERS,
    *encryption.PARAMETERS,
    *vfio.PARAMETERS,
    *kvm.PARAMETERS,
    *host.PARAMETERS,
)
