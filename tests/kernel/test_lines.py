# SPDX-License-Identifier: Apache-2.0
"""Which kernel a release string names: its line, its release, and what is not known of either."""

import pytest

from iommuctl.kernel.lines import Kernel, parse_kernels


@pytest.mark.parametrize(
    ("release", "place"),
    [
        ("4.18.0-553.66.1.el8_10.x86_64", "el8 8.10"),
        ("5.14.0-570.12.1.el9_6.x86_64+rt", "el9 9.6"),
        ("5.14.0-570.12.1.el9_6.aarch64+64k-debug", "el9 9.6"),
        ("4.18.0-553.rt7.342.el8_10.x86_64", "el8 8.10"),
        ("6.12.0-55.9.1.el10_0.x86_64_v2", "el10 10.0"),
        ("4.18.0-553.el8_10.0.1.x86_64", "el8 8.10"),
        ("5.14.0-611.49.1.el9_7.x86_64", "el9 9.7"),
        ("4.18.0-240.el8", "el8 8.3"),
        ("4.18.0-372.9.1.el8.x86_64", "el8 8.6"),
        ("6.12.0-124.8.1.el10", "el10 10.1"),
        ("5.14.0-400.el9.x86_64", "el9 between 9.3 and 9.4"),
        ("5.14.0-65.el9.x86_64", "el9 up to 9.0"),
        ("6.12.0-130.el10.x86_64", "el10 from 10.1"),
        ("5.4.17-2136.302.7.2.el8uek.x86_64", "uek6 5.4"),
        ("5.15.0-100.96.32.el9uek.x86_64", "uek7 5.15"),
        ("6.12.0-100.28.2.el10uek.x86_64", "uek8 6.12"),
        ("4.14.35-2047.el7uek.x86_64", "unknown 4.14"),
        ("6.1.0-1.el8.elrepo.x86_64", "unknown 6.1"),
        ("3.10.0-1160.el7.x86_64", "unknown 3.10"),
        ("6.4.0-150700.53.31-default", "sle 15.7"),
        ("6.4.0-150600.8.5-azure", "sle 15.6"),
        ("6.12.0-160000.5-default", "sle 16.0"),
        ("4.12.14-122.162-default", "sle"),
        ("4.4.180-94.164-default", "sle"),
        ("5.3.18-59.27-default", "sle"),
        ("5.3.18-lp152.106-default", "sle 15.2"),
        ("5.14.21-150500.55.83-default", "sle 15.5"),
        ("6.19.11-1-default", "suse 6.19"),
        ("6.8.0-45-generic", "ubuntu 6.8"),
        ("6.8.0-1010-azure", "ubuntu 6.8"),
        ("6.8.0-1010-nvidia-64k", "ubuntu 6.8"),
        ("6.8.12-43-pve", "pve 6.8"),
        ("7.0.14-14-pve", "pve 7.0"),
        ("6.1.0-50-amd64", "debian 6.1"),
        ("6.1.0-50-cloud-amd64", "debian 6.1"),
        ("6.1.0-50-rt-arm64", "debian 6.1"),
        ("6.12.107+deb13-amd64", "debian 6.12"),
        ("6.1.0-0.deb11.7-amd64", "debian 6.1"),
        ("6.1.100-118.175.amzn2023.x86_64", "amzn 6.1"),
        ("6.6.57.1-1.azl3", "azl 6.6"),
        ("6.18.3-200.fc44.x86_64", "fedora 6.18"),
        ("6.13.1-arch1-1", "arch 6.13"),
        ("6.13.1-zen1-1-zen", "arch 6.13"),
        ("6.12.1-1-lts", "arch 6.12"),
        ("5.10.0-60.18.0.50.oe2203.x86_64", "unknown 5.10"),
        ("4.19.0+1", "unknown 4.19"),
        ("6.6.0-custom", "unknown 6.6"),
        ("6.8.0-1-liquorix-amd64", "unknown 6.8"),
        ("6.1", "upstream 6.1"),
        ("6.1.158", "upstream 6.1"),
        ("7.3-rc7", "upstream 7.3"),
    ],
)
def test_a_release_names_its_line_and_its_place_in_it(release: str, place: str) -> None:
    kernel = Kernel.parse(release)
    assert kernel is not None
    assert kernel.place == place


@pytest.mark.parametrize(
    ("release", "words"),
    [
        ("6.1.158", "6.1"),
        ("6.1.0-50-amd64", "6.1 (debian)"),
        ("4.18.0-553.el8_10", "4.18 (el8 8.10)"),
        ("6.6.0-custom", "6.6 (of an unknown line)"),
        ("4.12.14-122.162-default", "4.12 (sle)"),
    ],
)
def test_a_kernel_is_named_by_its_number_and_its_line(release: str, words: str) -> None:
    assert str(Kernel.parse(release)) == words


@pytest.mark.parametrize(("release", "patch"), [("6.1.192", 192), ("6.1.0-50-amd64", None), ("6.8.0-45-generic", None)])
def test_a_count_of_builds_is_no_stable_release(release: str, patch: int | None) -> None:
    kernel = Kernel.parse(release)
    assert kernel is not None
    assert kernel.patch == patch


@pytest.mark.parametrize("release", ["", "rescue", "el8", "-6.1"])
def test_what_begins_with_no_number_is_no_release(release: str) -> None:
    assert Kernel.parse(release) is None


def test_kernels_are_in_the_order_of_their_numbers_each_once() -> None:
    kernels = parse_kernels(("6.1.0-50-amd64", "5.10", "nothing", "6.1.0-50-amd64", "4.18.0-553.el8_10"))
    assert [kernel.release for kernel in kernels] == ["4.18.0-553.el8_10", "5.10", "6.1.0-50-amd64"]
