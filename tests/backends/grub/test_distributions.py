# SPDX-License-Identifier: Apache-2.0
"""Which distribution builds its GRUB menu how: by name in any case, by what it resembles, by what is in the tree."""

import pytest
from trees import MemoryTree

from iommuctl.backends.grub.distributions import grub_family, require_family
from iommuctl.errors import UnavailableError
from iommuctl.facts import Distribution

GRUB_CFG: dict[str, str | bytes] = {"/boot/grub/grub.cfg": ""}
GRUB2_CFG: dict[str, str | bytes] = {"/boot/grub2/grub.cfg": ""}
UPSTREAM: dict[str, str | bytes] = {"/usr/bin/grub-mkconfig": ""}
PREFIXED: dict[str, str | bytes] = {"/usr/sbin/grub2-mkconfig": ""}
DROP_IN: dict[str, str | bytes] = {"/etc/default/grub.d/x.cfg": ""}


@pytest.mark.parametrize(
    ("distribution", "files", "mkconfig", "menu", "drop_ins"),
    [
        (Distribution("openEuler"), {}, "grub2-mkconfig", "/boot/grub2/grub.cfg", False),
        (Distribution("kylin", ("fedora",)), {}, "grub2-mkconfig", "/boot/grub2/grub.cfg", False),
        (Distribution("deepin"), {}, "grub-mkconfig", "/boot/grub/grub.cfg", True),
        (Distribution("alpine"), {}, "grub-mkconfig", "/boot/grub/grub.cfg", False),
        (Distribution("altlinux"), {}, "grub-mkconfig", "/boot/grub/grub.cfg", False),
        (Distribution("azurelinux"), {}, "grub2-mkconfig", "/boot/grub2/grub.cfg", False),
        (Distribution("slackware"), {}, "grub-mkconfig", "/boot/grub/grub.cfg", False),
        (Distribution("nobara", ("rhel", "centos", "fedora")), {}, "grub2-mkconfig", "/boot/grub2/grub.cfg", False),
        # Kylin and UOS come in two kinds: one is built like openEuler, the other like Debian.
        (Distribution("kylin"), PREFIXED, "grub2-mkconfig", "/boot/grub2/grub.cfg", False),
        (Distribution("uos"), UPSTREAM | GRUB_CFG | DROP_IN, "grub-mkconfig", "/boot/grub/grub.cfg", False),
        (Distribution(), UPSTREAM | GRUB2_CFG, "grub-mkconfig", "/boot/grub2/grub.cfg", False),
        (Distribution("nameless"), GRUB2_CFG, "grub2-mkconfig", "/boot/grub2/grub.cfg", False),
        (Distribution("nameless"), GRUB_CFG, "grub-mkconfig", "/boot/grub/grub.cfg", False),
    ],
)
def test_how_a_distribution_builds_its_menu(
    distribution: Distribution, files: dict[str, str | bytes], mkconfig: str, menu: str, drop_ins: bool
) -> None:
    family = require_family(distribution, MemoryTree.of(files))
    assert (family.mkconfig, str(family.menu), family.drop_ins) == (mkconfig, menu, drop_ins)


@pytest.mark.parametrize("files", [{}, GRUB_CFG | DROP_IN], ids=["nothing", "a drop-in that may be read or not"])
def test_what_nothing_tells_is_refused_with_what_would(files: dict[str, str | bytes]) -> None:
    with pytest.raises(UnavailableError, match="'nameless' builds its GRUB menu") as caught:
        require_family(Distribution("nameless"), MemoryTree.of(files))
    assert (
        caught.value.hint
        == "install the package that has grub-mkconfig in that system, then run the same command again"
    )
    assert grub_family(Distribution("nameless")) is None
