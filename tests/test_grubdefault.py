# SPDX-License-Identifier: Apache-2.0
"""/etc/default/grub: where parameters are added to a value that other variables have a part in."""

import pytest
from entryhosts import CATALOGUE, desired, facts
from trees import MemoryTree

from iommuctl.backends.distributions import GrubFamily, grub_family
from iommuctl.backends.grubdefault import DEFAULT, conform_sources
from iommuctl.facts import Distribution

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
    edit = conform_sources(tree, family(), desired("passthrough-perf", facts()), CATALOGUE, additions=DEFAULT)
    assert [(file.after or b"").decode() for file in edit.files] == [after]
