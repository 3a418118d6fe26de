# SPDX-License-Identifier: Apache-2.0
"""What commands make of a value that goes through them; the shell itself is the judge of what is followed."""

import subprocess
from pathlib import PurePosixPath

import pytest
from lacking import program

from iommuctl.formats.shell.assignments import parse_shell_file
from iommuctl.formats.shell.filters import result
from iommuctl.formats.shell.variables import chain

VALUE = "quiet  splash crashkernel=512M intel_iommu=on quiet"
FILE = PurePosixPath("/etc/default/grub.d/x.cfg")


def outcome(command: str, value: str = VALUE) -> str | None:
    text = f"V='{value}'\nV=\"{command}\"\n"
    (one,) = chain((parse_shell_file(FILE, text),), "V").filters
    assert one.before == value
    return result(one)


@pytest.mark.parametrize(
    "command",
    [
        '$(echo "$V" | sed s/quiet//)',
        "$(echo \"${V}\" | sed 's/quiet//g')",
        "$(echo \"$V\" | LC_ALL=C sed -e 's/crashkernel=[^ ]*//g' -e 's/  */ /g' -e 's/^ //' -e 's/ $//')",
        "$(echo \"$V\" | sed -E 's/\\bcrashkernel=[^ ]*//g;s/  +/ /g')",
        "$(echo \" ${V} \" \\\n  | sed -e 's/ quiet / /g' -e 's/^ *//' -e 's/ *$//')",
        "$(printf '%s' \"$V\" | sed 's|/|x|')",
        "$(printf '%s\\n' \"$V\" | tr -s ' ')",
        '$(echo "$V" | xargs)',
        "$(echo $V | cat)",
        "$(echo \"$V\" | sed 's/.plash/a.b/')",
        "$(echo \"$V\" | sed 's/quiet\\|splash//')",
        "$(echo \"$V\" | sed 's/\\(quiet\\)/[\\1]/')",
        "$(echo \"$V\" | awk '{ print $1 }')",
        '$(echo "$V" | grep -o quiet | head -n 1)',
        "$(echo \"$V\" | sed '/splash/d')",
        '$(echo "$V$V" | cut -c 1-7)',
        '$(echo "$V" | tr -d o)',
    ],
)
def test_what_is_followed_is_what_the_shell_says(command: str) -> None:
    said = subprocess.run(
        [program("dash"), "-c", f"V='{VALUE}'\nprintf %s \"{command}\""], capture_output=True, text=True, check=True
    ).stdout
    assert outcome(command) in (said, None)


@pytest.mark.parametrize(
    ("command", "expected"),
    [
        ('$(echo "$V" | sed s/quiet//)', "  splash crashkernel=512M intel_iommu=on quiet"),
        ('$(echo "$V" | str_replace "quiet" "")', "  splash crashkernel=512M intel_iommu=on "),
        ('$(echo "$V" | LANG=C str_replace "quiet" "")', "  splash crashkernel=512M intel_iommu=on "),
        ("$(echo \"$V\" | sed 's/crashkernel=[^ ]*//g;s/  */ /g')", "quiet splash intel_iommu=on quiet"),
        ('$(echo "$V" | xargs)', "quiet splash crashkernel=512M intel_iommu=on quiet"),
        ("$(echo \"$V\" | sed 's/a*a*x//')", None),
        ("$(echo \"$V\" | sed 's/\\(quiet\\)//')", None),
        ('$(echo "$V" | tr -d o)', None),
        ('$(echo "$V" | my-filter)', None),
        ('$(my-program "$V")', None),
        ('$(echo "$V" > /tmp/x)', None),
        ('$(echo "$V" "$OTHER" | cat)', None),
    ],
)
def test_only_known_filters_are_followed(command: str, expected: str | None) -> None:
    assert outcome(command) == expected
