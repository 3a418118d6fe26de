# SPDX-License-Identifier: Apache-2.0
"""Checks: what names, values and texts a profile may hold, and what `--set` may fill in. Pure; no pydantic."""

import re

from iommuctl.kernel.choice import PARAMETER as CHOICE
from iommuctl.kernel.cmdline import OF_ONE_BOOT, canonical_name

# A value reaches files that sh sources as root, GRUB's script language and sed expressions of generators, so what is
# allowed is listed, not what is forbidden: no quote, `$`, backtick, backslash, blank, control or non-ASCII character,
# none of ; | & < > ( ) { } * ? [ ] ~ # ! ^ %. `:` and `,` are the grammar of vfio-pci.ids, `@` and `/` that of pci=.
# Each is compiled when it is first needed: a run with a shipped profile needs none.
_NAME = r"[A-Za-z0-9_.-]{1,100}"
_VALUE = r"[A-Za-z0-9_.:,=@/+-]{1,1023}"
_OURS = "iommuctl."
ALLOWED = "letters, digits and _ . : , = @ / + -"

_PROFILE_NAME = r"[a-z0-9][a-z0-9-]{0,63}"
_RULE = r"[a-z0-9]+(-[a-z0-9]+)*"
PCI_ID = r"[0-9A-Fa-f]{4}:[0-9A-Fa-f]{4}(:[0-9A-Fa-f]{1,8}){0,4}"  # drivers/vfio/pci/vfio_pci.c vfio_pci_fill_ids

# No quantifier after a quantifier and no group: Python 3.11.2 of Debian 12 matches possessive and atomic ones wrongly.
_PATTERN_ATOM = r"(?:\[\^?[A-Za-z0-9_.:,=@/+-]+\]|\\[d.]|[A-Za-z0-9_:,=@/-])(?:\{(\d{1,4})(?:,(\d{1,4}))?\}|\?)?"
_PATTERN_WAYS = 100_000  # the most ways to match that a pattern may have: a bound on backtracking


def check_name(name: str) -> str:
    """Let the name of a parameter or an input pass. Raises ValueError for any other."""
    if not re.fullmatch(_NAME, name) or canonical_name(name).startswith("__"):
        raise ValueError(f"{name!r} is no parameter name: letters, digits and _ . - only")
    return name


def check_parameter(parameter: str) -> str:
    """Let `name` or `name=value` pass. Raises ValueError where either is not allowed."""
    name, _, value = parameter.partition("=")
    check_name(name)
    if canonical_name(name) in map(canonical_name, OF_ONE_BOOT):
        raise ValueError(f"{name!r} is written by the boot loader, and what a line has of it cannot be told from that")
    if canonical_name(name).startswith(_OURS):
        raise ValueError(f"{name!r} is a name that iommuctl itself writes, and takes back")
    if value:  # an empty one is a value: lib/cmdline.c next_arg
        check_value(value)
    return parameter


def check_profile_parameter(parameter: str) -> str:
    """Let what `check_parameter` does pass, and the name of the choice of devices, whose value is an input's."""
    return parameter if parameter == CHOICE else check_parameter(parameter)


def check_value(value: str) -> str:
    """Let a value pass that no shell, boot loader or generator can misread. Raises ValueError for any other."""
    if not re.fullmatch(_VALUE, value):
        raise ValueError(f"{value!r} holds something else than {ALLOWED}")
    return value


def check_pci_ids(value: str) -> str:
    """Let device ids with commas between pass. Raises ValueError for what is none."""
    for item in value.split(","):
        if not re.fullmatch(PCI_ID, item):
            raise ValueError(f"{item!r} is no device id such as '10de:1b80'")
    return value


def check_pattern(pattern: str) -> str:
    """Let a pattern of an input pass that cannot run away. Raises ValueError for any other."""
    ways, end = 1, 0
    atom_at = re.compile(_PATTERN_ATOM).match
    while end < len(pattern):
        atom = atom_at(pattern, end)
        if atom is None:
            raise ValueError(f"{pattern!r} is more than characters, [sets], \\d, \\. with ?, {{n}} or {{m,n}}")
        least, most = int(atom[1] or 0), int(atom[2] or atom[1] or 1)
        ways *= max(1, most - least + 1)
        end = atom.end()
    if ways > _PATTERN_WAYS:
        raise ValueError(f"{pattern!r} can match in more than {_PATTERN_WAYS} ways")
    try:
        re.compile(pattern)
    except re.error as error:
        raise ValueError(f"{pattern!r} is no pattern: {error}") from error
    return pattern


def check_profile_name(name: str) -> str:
    """Let the name of a profile pass, which is that of its file. Raises ValueError for any other."""
    if not re.fullmatch(_PROFILE_NAME, name):
        raise ValueError(f"{name!r} is no profile name: lower-case letters, digits and dashes, at most 64")
    return name


def check_rule(rule: str) -> str:
    """Let the id of a rule pass. Raises ValueError for any other."""
    if not re.fullmatch(_RULE, rule):
        raise ValueError(f"{rule!r} is no rule id: lower-case words with dashes between")
    return rule


def check_text(text: str) -> str:
    """Let a text for people pass. Raises ValueError for one with control characters: it is printed on terminals."""
    if not text.strip() or not all(char.isprintable() or char == "\n" for char in text):
        raise ValueError("must hold text without control characters")
    return text
