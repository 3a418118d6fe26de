# SPDX-License-Identifier: Apache-2.0
"""Beside: other parameters that are asked for next to a profile, and what the line of the real boot must be. Pure.

A sequence whose order is its meaning, a name that comes again, another value than a name has, and an empty one.
The processor of the machine has no pages of 1 GiB, so the kernel passes over the first pair, and 512 pages of 2 MiB,
not 16, show that it read the sequence in its order. They need more memory than other boots have.
"""

from collections.abc import Iterator, Mapping
from itertools import pairwise

from boot.recipes import Loader

LOADERS = frozenset({Loader.GRUB_BIOS, Loader.GRUB_BLS, Loader.SD_BOOT})  # one of each backend
WORDS = "other parameters next to it"
MEMORY = 2048  # MiB
PAGES = "/sys/kernel/mm/hugepages/hugepages-2048kB/nr_hugepages"
_COUNT = "512"
_HUGE = ("hugepagesz=1G", "hugepages=16", "hugepagesz=2M", f"hugepages={_COUNT}")
_CONSOLES = ("console=tty0", "console=ttyS0,115200")
_REPLACED = "panic"
_OTHER = "panic=-2"  # below 0 it reboots at once, whatever the number
_EMPTY = "iommuctl-test="
OPTIONS = (
    *(word for text in (*_HUGE, *_CONSOLES) for word in ("--add", text)),
    *("--remove", _REPLACED, "--add", _OTHER, "--add", _EMPTY),
)
_OF_THE_LOADER = ("BOOT_IMAGE=", "initrd=")


def judge(default: str, line: str, pages: str, verified: Mapping[str, object]) -> Iterator[str]:
    """Tell, in words, what is wrong with a line, the pages that the kernel made, and what `verify` says of it."""
    was, words = default.split(), line.split()
    expected = (
        (("hugepagesz", "hugepages"), _HUGE),
        (("console",), (*_named(was, "console"), *_CONSOLES)),
        ((_REPLACED,), (_OTHER,)),
        ((_EMPTY.rstrip("="),), (_EMPTY,)),
    )
    for names, wanted in expected:
        if (found := _named(words, *names)) != wanted:
            yield f"{wanted} expected, {found} in the line {line.strip()!r}"
    places = [at for at, word in enumerate(words) if word in _HUGE]
    if any(after != before + 1 for before, after in pairwise(places)):
        yield f"{_HUGE} are parted in the line {line.strip()!r}"
    if pages.strip() != _COUNT:
        yield f"{_COUNT} pages of 2 MiB expected, {pages.strip()!r} found"
    checks = verified.get("checks")
    named = [one for one in checks if one.get("name") == "beside-profile"] if isinstance(checks, list) else []
    if [one.get("result") for one in named] != ["pass"]:
        yield f"verify says of what is next to the profile: {named}"


def judge_rollback(default: str, line: str) -> Iterator[str]:
    """Tell where a line after the rollback is not that of the first boot; which kernel booted is the loader's."""
    one, other = ([word for word in text.split() if not word.startswith(_OF_THE_LOADER)] for text in (default, line))
    if one != other:
        yield f"line {one} expected, {other} found"


def _named(words: list[str], *names: str) -> tuple[str, ...]:
    return tuple(word for word in words if word.partition("=")[0] in names)
