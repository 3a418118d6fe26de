# SPDX-License-Identifier: Apache-2.0
"""Profiles: what is named by a path is a file or is not opened, and what a profile says makes no row of its own."""

import os
import re
from pathlib import Path

import pytest

from iommuctl.app.host import Host
from iommuctl.app.look.profiles import describe_profile, find_profile
from iommuctl.errors import ProfileError
from iommuctl.profile.profile import MOST_BYTES

FORGED = "line\\n  iommu=off  [all]  forged"
OWN = f"""
name = "own"
summary = "{FORGED}"
[[input]]
name = "text"
type = "string"
default = "a"
description = "{FORGED}"
[[set]]
parameter = "own.text"
value_from = "text"
reason = "{FORGED}"
[[absent]]
parameter = "other.text"
reason = "{FORGED}"
"""


def pipe(path: Path) -> None:
    os.mkfifo(path)


def device(path: Path) -> None:
    path.symlink_to("/dev/zero")


@pytest.mark.parametrize("make", [pipe, device])
def test_what_is_no_file_is_no_profile_and_not_waited_for(tmp_path: Path, make: object) -> None:
    assert callable(make)
    make(tmp_path / "own.toml")
    with pytest.raises(ProfileError, match=f"{re.escape(str(tmp_path))}/own.toml: not a regular file"):
        find_profile(Host.open(tmp_path), str(tmp_path / "own.toml"))


def test_a_profile_that_has_no_end_is_not_read_to_it(tmp_path: Path) -> None:
    with (tmp_path / "own.toml").open("wb") as file:
        file.truncate(1 << 40)
    with pytest.raises(ProfileError, match=f"larger than {MOST_BYTES} bytes"):
        find_profile(Host.open(tmp_path), str(tmp_path / "own.toml"))


def test_what_a_profile_says_makes_no_row_of_its_own(tmp_path: Path) -> None:
    (tmp_path / "own.toml").write_text(OWN)
    text = describe_profile(find_profile(Host.open(tmp_path), str(tmp_path / "own.toml")))
    assert text.count("\\n  iommu=off") == 4
    assert [line for line in text.splitlines() if line.startswith("  iommu=off")] == []
