# SPDX-License-Identifier: Apache-2.0
"""/etc/default/grub: where parameters are added to a value that other variables have a part in."""

import pytest
from entryhosts import CATALOGUE, desired, facts
from trees import MemoryTree

from iommuctl.backends.grub.defaults import conform_sources
from iommuctl.backends.grub.distributions import GrubFamily, grub_family
from iommuctl.backends.grub.sources import DEFAULT, read
from iommuctl.errors import BootConfigError
from iommuctl.facts import Distribution
from iommuctl.profile.conform import Conformer

ADDED = "intel_iommu=on iommu=pt"


def family() -> GrubFamily:
    found = grub_family(Distribution("debian"))
    assert found is not None
    return found


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ('X=noapic\nV="quiet $X"\n', f'X=noapic\nV="quiet $X {ADDED}"\n'),
        ('X=noapic\nV="quiet ${X}"\n', f'X=noapic\nV="quiet ${{X}} {ADDED}"\n'),
        ('X=noapic\nV="$X"\n', f'X=noapic\nV="$X {ADDED}"\n'),
        ("X=noapic\nV=$X\n", f'X=noapic\nV=$X" {ADDED}"\n'),
        ('X=noapic\nV="${X:+$X }"\n', f'X=noapic\nV="${{X:+$X }}{ADDED}"\n'),
        ('V="quiet $X"\n', f'V="quiet $X {ADDED}"\n'),
        ('V="quiet ${X:+$X }"\n', f'V="quiet ${{X:+$X }} {ADDED}"\n'),
        ('V="quiet $V"\n', f'V="quiet $V {ADDED}"\n'),
        ('X=noapic\nV="$X iommu.passthrough=0"\n', f'X=noapic\nV="$X {ADDED}"\n'),
        ('X=noapic\nV="$X "\n', f'X=noapic\nV="$X {ADDED}"\n'),
        ('X=noapic\nV="quiet $X"\nV="$V splash"\n', f'X=noapic\nV="quiet $X {ADDED}"\nV="$V splash"\n'),
    ],
)
def test_an_addition_does_not_run_into_another_variable(before: str, after: str) -> None:
    before, after = (text.replace("V=", f"{DEFAULT}=").replace("$V", f"${DEFAULT}") for text in (before, after))
    tree = MemoryTree.of({"/etc/default/grub": before})
    edit = conform_sources(
        tree, family(), Conformer(desired("passthrough-perf", facts()), CATALOGUE), additions=DEFAULT
    )
    assert [(file.after or b"").decode() for file in edit.files] == [after]


def test_a_file_larger_than_any_settings_are_is_refused() -> None:
    """A hostile root must not keep us busy: Augeas' time grows by the square of the lines."""
    tree = MemoryTree.of({"/etc/default/grub": "#" * (128 * 1024 + 1)})
    with pytest.raises(BootConfigError, match=r"^/etc/default/grub: larger than 131072 bytes"):
        read(tree, family())


def test_references_without_number_are_followed() -> None:
    others = "".join(f"B{number}=$A\n" for number in range(3000))
    value = "".join(f"$B{number}" for number in range(3000))
    tree = MemoryTree.of({"/etc/default/grub": f'A=\n{others}{DEFAULT}="quiet {value}$A$A"\n'})
    assert str(read(tree, family()).cmdline) == "quiet"
