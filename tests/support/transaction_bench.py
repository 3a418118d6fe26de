# SPDX-License-Identifier: Apache-2.0
"""A small root in which tests run transactions."""

from datetime import UTC, datetime
from pathlib import Path, PurePosixPath

from iommuctl.facts import Platform
from iommuctl.host.root import Root
from iommuctl.plan import FileClass, FileEdit
from iommuctl.transaction.durable import Metadata
from iommuctl.transaction.snapshot import Action, State
from iommuctl.transaction.store import Store
from iommuctl.transaction.transaction import Transaction
from iommuctl.transaction.work import Purpose, Work

GRUB = PurePosixPath("/etc/default/grub")
DROPIN = PurePosixPath("/etc/default/new/deep/iommu.cfg")
GONE = PurePosixPath("/etc/gone")
CONFIG = PurePosixPath("/boot/grub.cfg")
MAKE_GRUB = FileEdit(GRUB, FileClass.SOURCE, b"old grub", b"new grub", "")
MAKE_DROPIN = FileEdit(DROPIN, FileClass.SOURCE, None, b"new drop-in", "")
REMOVE_GONE = FileEdit(GONE, FileClass.SOURCE, b"going", None, "")
EDITS = (MAKE_GRUB, MAKE_DROPIN, REMOVE_GONE)
OLD = {"/boot/grub.cfg": b"old config", "/etc/default/grub": b"old grub", "/etc/gone": b"going"}
NEW = {
    "/boot/grub.cfg": b"new config",
    "/etc/default/grub": b"new grub",
    "/etc/default/new/deep/iommu.cfg": b"new drop-in",
}


class FailedError(Exception):
    """Something in the block went wrong."""


class Bench:
    """A small root to write in."""

    def __init__(self, tree: Path) -> None:
        self.tree = tree
        for path, content in OLD.items():
            (tree / path[1:]).parent.mkdir(parents=True, exist_ok=True)
            (tree / path[1:]).write_bytes(content)
        self.root = Root(tree)
        self.store = Store(self.root)

    def begin(
        self,
        edits: tuple[FileEdit, ...] = EDITS,
        generated: tuple[PurePosixPath, ...] = (CONFIG,),
        *,
        changed: tuple[PurePosixPath, ...] = (),
        metadata: dict[PurePosixPath, Metadata] | None = None,
        removed_directories: tuple[PurePosixPath, ...] = (),
        marks: dict[str, State] | None = None,
    ) -> Transaction:
        work = Work(edits, generated, metadata or {}, removed_directories, marks or {})
        purpose = Purpose(Action.APPLY, None, "passthrough-perf", Platform.X86, "grub2", "fingerprint")
        return Transaction.begin(
            self.root, self.store, lambda: datetime.now(UTC), purpose, work, verify_unchanged=lambda: changed
        )

    def apply(self) -> Transaction:
        with self.begin() as one:
            one.write()
            one.publish(CONFIG, b"new config")
        return one

    def files(self) -> dict[str, bytes]:
        """Every file but those of the state directory."""
        found = (path for path in sorted(self.tree.rglob("*")) if path.is_file())
        seen = {f"/{path.relative_to(self.tree)}": path.read_bytes() for path in found}
        return {path: content for path, content in seen.items() if not path.startswith("/var/lib/iommuctl/")}

    def state(self) -> list[str]:
        """What the state directory holds."""
        return sorted(path.name for path in (self.tree / "var/lib/iommuctl").iterdir())

    def states(self) -> list[State]:
        return [one.state for one in self.store.list().snapshots]
