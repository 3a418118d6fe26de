# SPDX-License-Identifier: Apache-2.0
"""Devices: the models of `devices`, and of what other documents say of a device."""

from typing import Literal

from pydantic import Field

from iommuctl.devices.inventory import Role
from iommuctl.documents.base import Document, Part, Text
from iommuctl.findings import Severity


class UseReport(Part):
    """One thing that hangs on a device."""

    role: Role
    name: Text = Field(description="a mount point, an interface, a block device, a guest")
    why: Text | None = Field(description="how it is known, or over which layers it is there")


class ObjectionReport(Part):
    """What speaks against giving a device to a guest; an error stops it."""

    rule: Text = Field(pattern=r"^[a-z0-9]+(-[a-z0-9]+)*$", description="a stable id")
    severity: Severity
    address: Text
    message: Text
    hint: Text | None


class PlannedDeviceReport(Part):
    """A function that a plan gives to guests."""

    address: Text
    id: Text = Field(description="vendor:device, in hexadecimal")
    name: Text = Field(description="vendor and device, or the id where the system has no list of names")
    group: int | None = Field(description="the number of its IOMMU group; null where it is in none yet")
    driver_before: Text | None = Field(description="which driver has it when the plan is made")
    twins: tuple[Text, ...] = Field(description="the addresses of others with this id, outside its card")
    mates: tuple[Text, ...] = Field(description="the other members of its group, bridges left out")
    functions: tuple[Text, ...] = Field(description="all functions of its card, its own address among them")


class FunctionReport(Part):
    """One function on PCI; ids in hexadecimal, names null where the system has no list of them."""

    address: Text
    device_class: Text = Field(serialization_alias="class")
    vendor: Text
    device: Text
    class_name: Text | None
    vendor_name: Text | None
    device_name: Text | None
    driver: Text | None
    group: int | None = Field(description="the number of its IOMMU group")
    above: tuple[Text, ...] = Field(description="the addresses of what it is below, from the root port down")
    carries: tuple[UseReport, ...] = Field(description="what hangs on it")
    reset_methods: tuple[Text, ...]
    numvfs: int = Field(description="SR-IOV: how many virtual functions there are")
    totalvfs: int = Field(description="SR-IOV: how many there can be")
    physical_function: Text | None


class CardReport(Part):
    """What a person takes for one device."""

    name: Text
    slot: Text | None = Field(description="the firmware's name of the slot")
    addresses: tuple[Text, ...]
    usable: bool = Field(description="whether it can go to a guest, its mates with it")
    obstacles: tuple[ObjectionReport, ...] = Field(description="why it cannot")
    notes: tuple[ObjectionReport, ...] = Field(description="what is good to know before it does")
    mates: tuple[Text, ...] = Field(description="what else of its groups has to go along")
    twins: tuple[Text, ...] = Field(description="other devices with an id of it, which vfio-pci.ids means too")
    functions: tuple[FunctionReport, ...]


class ElsewhereReport(Part):
    """Another file or program that binds devices, or keeps their drivers off."""

    severity: Severity
    message: Text
    hint: Text | None


class DevicesReport(Document):
    """The result of `devices`."""

    command: Literal["devices"] = "devices"
    devices: tuple[CardReport, ...] = Field(description="those that can go to a guest first")
    platform: tuple[Text, ...] = Field(description="the addresses of what no guest can ever have")
    elsewhere: tuple[ElsewhereReport, ...]
    ways_in: tuple[Text, ...] = Field(description="ways to the host next to a screen")
    unresolved: tuple[Text, ...] = Field(description="mount points that the host needs and whose disk was not found")
