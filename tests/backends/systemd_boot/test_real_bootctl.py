# SPDX-License-Identifier: Apache-2.0
"""The real bootctl, of the newest systemd that Debian carries, lists the same entries in the same order as ours."""

import json
import shutil
from collections.abc import Mapping

import pytest
from archhosts import BACKEND
from debiantree import DebianTree, newest_host
from entryhosts import facts
from peimages import pe_image, unified_image

from iommuctl.host.root import Root

__all__ = ["newest_host"]  # the fixture

pytestmark = [pytest.mark.programs, pytest.mark.slow]

Files = Mapping[str, str | bytes]
A, B = "0123456789abcdef0123456789abcdef", "fedcba9876543210fedcba9876543210"

VERSIONS = (
    *("123.1-1", "122.1", "123-1.1", "123~rc1-1", "123a-1", "123"),
    *("124-1", "123-a", "123^post1", "123-a.1", "123.a-1", "123-1"),
)


def entry(*lines: str) -> str:
    return "\n".join(("linux /vmlinuz", *lines, "options root=/dev/sda2 ro", ""))


def image(os_release: str, *profiles: str) -> bytes:
    more = [(".profile", profile.encode()) for profile in profiles]
    return pe_image([(".osrel", os_release.encode()), (".cmdline", b"root=/dev/sda2"), (".linux", b"x"), *more])


def entries(*names: str, default: str = "") -> dict[str, str]:
    return {"loader.conf": f"default {default}\n" if default else "timeout 3\n", **dict.fromkeys(names, entry())}


# What ends in `.efi` is an image. bootctl takes only names of the specification's characters, and sorts
# capitals before other letters; the loader takes any, and makes them small.
TREES: Mapping[str, Files] = {
    "names alone": {**entries(), "b.conf": entry("version 3"), "a-10.conf": entry("version 10")},
    "numbers in names": entries("a-9.conf", "a-10.conf", "a-10.1.conf", "a-10-1.conf"),
    "prefixes": entries("a.conf", "a-1.conf", "a.1.conf", "a_1.conf", "a+b.conf"),
    "long numbers": entries("a-00000000000000000000010.conf", "a-99999999999999999999.conf", "a-9.conf"),
    "sort-keys": {**entries("z.conf"), "a.conf": entry("sort-key b"), "b.conf": entry("sort-key a")},
    "versions with one sort-key": {
        **entries(),
        **{f"{number}.conf": entry("sort-key x", f"version {one}") for number, one in enumerate(VERSIONS)},
    },
    "machines": {
        **entries(),
        "new.conf": entry("sort-key x", f"machine-id {B}", "version 2"),
        "old.conf": entry("sort-key x", f"machine-id {A}", "version 1"),
        "none.conf": entry("sort-key x", "version 0"),
    },
    "counters": entries("z+0-3.conf", "a+1.conf", "b+2-1.conf", "c.conf", "d+0.conf"),
    "a counter alone": entries("+1.conf", "a.conf", "+2-1-x.conf"),
    "bad before its sort-key": {**entries("a.conf"), "z+0-1.conf": entry("sort-key a")},
    "a default by its id": entries("a.conf", "b.conf", "c.conf", default="a.conf"),
    "a default without suffix": entries("a.conf", "b.conf", "c.conf", default="a"),
    "a default by a pattern": entries("a-1.conf", "a-2.conf", "b.conf", default="A-*"),
    "a default by a set": entries("a.conf", "b.conf", "c.conf", default="[ab]?conf"),
    "a default that is bad": entries("a+0-3.conf", "b.conf", default="a.conf"),
    "a default that is not there": entries("a.conf", "b.conf", default="c.conf"),
    "an image next to entries": {**entries("a.conf", "z.conf"), "m.efi": unified_image("root=/dev/sda2")},
    "images": {
        **entries(),
        "a.efi": image("ID=x\nNAME=X\nVERSION_ID=9\n"),
        "b.efi": image("ID=x\nNAME=X\nVERSION_ID=10\n"),
        "c.efi": image("ID=w\nIMAGE_ID=zz\nNAME=X\nIMAGE_VERSION=1\n"),
        "d+0-1.efi": image("ID=a\nNAME=X\nBUILD_ID=rolling\n"),
    },
    "profiles": {
        **entries("b.conf"),
        "a.efi": image("ID=x\nNAME=X\n", "ID=main\n", "TITLE=x\nID=debug\n", "TITLE=y\n"),
        "a-1.efi": image("ID=x\nNAME=X\n", "ID=main\n", "ID=other\n"),
    },
    "profiles of images with one version": {
        **entries("n.conf"),
        **{
            f"{name}.efi": image(f"ID={id_}\nNAME=X\nVERSION_ID={version}\n", "TITLE=p\n", "TITLE=q\n", "TITLE=r\n")
            for name, id_, version in (("a", "x", 1), ("b", "x", 1), ("c", "x", 2), ("e", "w", 1))
        },
        "p.conf": entry("sort-key x", "profile 1"),
        "o.conf": entry("sort-key x"),
    },
    "a default that is another profile": {
        **entries("z.conf", default="a.efi@d*"),
        "a.efi": image("ID=x\nNAME=X\n", "ID=main\n", "TITLE=x\nID=debug\n"),
    },
    "a default profile by its own id": {
        **entries("z.conf", default="a.efi@main"),
        "a.efi": image("ID=x\nNAME=X\n", "ID=main\n", "TITLE=x\nID=debug\n"),
        "b.efi": image("ID=x\nNAME=X\n"),
    },
    "a default that is an image": {
        **entries("z.conf", default="a*.efi"),
        "a1.efi": image("ID=x\nNAME=X\n"),
        "a2.efi": image("ID=x\nNAME=X\n"),
    },
    "what starts nothing of ours": {
        **entries("a.conf"),
        "windows.conf": "title W\nefi /EFI/Microsoft/Boot/bootmgfw.efi\n",
        "shell.conf": "title S\nefi /shell.efi\noptions -nomap\n",
        "uki.conf": "title U\nuki /EFI/other.efi\n",
        "another.conf": f"machine-id {B}\nlinux /v\noptions root=/dev/sdb\n",
    },
}


def test_the_order_and_the_default_are_those_of_bootctl(newest_host: DebianTree) -> None:
    boot = newest_host.path / "boot/efi"
    assert len(TREES) >= 20
    for name, files in TREES.items():
        for folder in ("loader", "EFI"):
            shutil.rmtree(boot / folder, ignore_errors=True)
        for file, content in files.items():
            place = "loader" if file == "loader.conf" else "loader/entries" if file.endswith(".conf") else "EFI/Linux"
            path = boot / place / file
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(content if isinstance(content, bytes) else content.encode())
        told = json.loads(newest_host.run("bootctl", "list", "--json=short", "--esp-path=/boot/efi"))
        shown = BACKEND.read(Root(newest_host.path), facts()).entries
        assert [(each.id.removesuffix(".conf").lower(), each.default) for each in shown] == [
            # The default profile goes by the file's name alone, in the loader and here.
            (each["id"].removesuffix(".conf").removesuffix("@main").lower(), each["isDefault"])
            for each in told
        ], name
