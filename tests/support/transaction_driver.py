# SPDX-License-Identifier: Apache-2.0
"""Run one transaction, or a recovery, in a process of its own that a test may kill: `apply|recover ROOT`."""

import sys
from datetime import UTC, datetime
from pathlib import Path, PurePosixPath

from iommuctl.errors import IommuctlError
from iommuctl.facts import Platform
from iommuctl.host.root import Root
from iommuctl.plan import FileClass, FileEdit
from iommuctl.transaction.durable import write_file
from iommuctl.transaction.recovery import recover
from iommuctl.transaction.snapshot import Action
from iommuctl.transaction.store import Store
from iommuctl.transaction.transaction import Transaction
from iommuctl.transaction.work import Purpose, Work

GRUB = PurePosixPath("/etc/default/grub")
CMDLINE = PurePosixPath("/etc/kernel/cmdline")
DROPIN = PurePosixPath("/etc/default/grub.d/new/iommu.cfg")
GENERATED = PurePosixPath("/boot/grub/grub.cfg")
OLD_GRUB = b"GRUB_CMDLINE_LINUX=quiet\n" * 40
NEW_GRUB = b"GRUB_CMDLINE_LINUX='quiet iommu=pt'\n" * 40
OLD_CMDLINE = b"root=/dev/vda1\n"
NEW_CMDLINE = b"root=/dev/vda1 iommu=pt\n"
NEW_DROPIN = b"# ours\n"
OLD_GENERATED = b"linux /vmlinuz quiet\n" * 100
NEW_GENERATED = b"linux /vmlinuz quiet iommu=pt\n" * 100


def make_tree(root: Path) -> None:
    """Two sources, one of them after an absolute link, a generated file, and a directory for a file to come."""
    for folder in ("etc/default/grub.d", "etc/kernel", "boot/grub", "usr/share", "var/lib"):
        (root / folder).mkdir(parents=True)
    (root / "usr/share/grub").write_bytes(OLD_GRUB)
    (root / "usr/share/grub").chmod(0o640)
    (root / "etc/default/grub").symlink_to("/usr/share/grub")
    (root / "etc/kernel/cmdline").write_bytes(OLD_CMDLINE)
    (root / "boot/grub/grub.cfg").write_bytes(OLD_GENERATED)
    (root / "boot/grub/grub.cfg").chmod(0o600)


def apply(root: Path) -> None:
    """Do the one transaction."""
    edits = (
        FileEdit(GRUB, FileClass.SOURCE, OLD_GRUB, NEW_GRUB, ""),
        FileEdit(DROPIN, FileClass.SOURCE, None, NEW_DROPIN, ""),
        FileEdit(CMDLINE, FileClass.SOURCE, OLD_CMDLINE, NEW_CMDLINE, ""),
    )
    inside = Root(root)
    purpose = Purpose(Action.APPLY, None, "passthrough-perf", Platform.X86, "grub2", "0" * 64)
    with Transaction.begin(
        inside,
        Store(inside),
        lambda: datetime.now(UTC),
        purpose,
        Work(edits, (GENERATED,)),
        verify_unchanged=tuple,
    ) as transaction:
        transaction.write()
        write_file(inside, transaction.staging / "grub.cfg", NEW_GENERATED)
        transaction.publish(GENERATED, NEW_GENERATED)


def main() -> None:
    """Do what the arguments say."""
    try:
        if sys.argv[1] == "recover":
            tree = Root(Path(sys.argv[2]))
            recover(tree, Store(tree))
        else:
            apply(Path(sys.argv[2]))
    except IommuctlError as error:
        sys.stderr.write("\n".join((error.brief, *error.details, f"hint: {error.hint}\n")))
        sys.exit(error.code)
