# SPDX-License-Identifier: Apache-2.0
"""Blocks: from mounted file systems and block devices to the PCI functions that carry them, through every layer."""

from collections.abc import Iterable, Iterator
from pathlib import PurePosixPath

from iommuctl.devices.inventory import Role, Use
from iommuctl.devices.reading.files import Files, addresses
from iommuctl.devices.reading.mounts import Mount, holding, parse_mounts, vital
from iommuctl.pattern import pattern
from iommuctl.value import NamedTuple

_MOUNTS = PurePosixPath("/proc/self/mountinfo")
_SWAPS = PurePosixPath("/proc/swaps")
_BY_NUMBER = PurePosixPath("/sys/dev/block")
_BY_NAME = PurePosixPath("/sys/class/block")
_BTRFS = PurePosixPath("/sys/fs/btrfs")
_UDEV = PurePosixPath("/run/udev/data")
_CONTROLLER = pattern(r"nvme\d+")
_DEPTH = 16  # layers; a host has three or four
_NETWORK_KINDS = frozenset({"nfs", "nfs4", "cifs", "smb3", "ceph", "glusterfs", "fuse.glusterfs", "afs"})
_MEMORY_KINDS = frozenset({"tmpfs", "ramfs", "rootfs", "devtmpfs"})
# What blkid calls a part of something larger; the whole is in use though nobody mounts the part.
_MEMBERS = frozenset(
    (
        *("LVM2_member", "linux_raid_member", "zfs_member", "crypto_LUKS", "bcache", "drbd", "ceph_bluestore"),
        *("isw_raid_member", "ddf_raid_member", "mpath_member", "VMFS_volume_member", "bcachefs"),
    )
)


class Carried(NamedTuple):
    """What hangs on functions, by address; what hangs on the network; mount points whose disk was not found."""

    uses: dict[str, list[Use]]
    by_network: tuple[Use, ...]
    unresolved: tuple[str, ...]


class _Found:
    """What a walk down the layers came to: functions, the names of the layers, the network."""

    def __init__(self) -> None:
        self.functions: dict[str, None] = {}
        self.layers: dict[str, None] = {}
        self.network = False
        self.memory = False

    @property
    def is_resolved(self) -> bool:
        return bool(self.functions) or self.network or self.memory


def read_blocks(files: Files) -> Carried:
    """Return what each PCI function carries: mounted file systems, swap, devices that are held, other disks."""
    return _Blocks(files).read()


class _Blocks:
    """One look at the block devices; `seen` are those that a mounted file system or swap was found on."""

    def __init__(self, files: Files) -> None:
        self.files = files
        self.mounts = parse_mounts(files.text(_MOUNTS))
        self.seen: set[str] = set()
        self.uses: dict[str, list[Use]] = {}
        self.by_network: list[Use] = []

    def read(self) -> Carried:
        vitals = vital(self.mounts)
        unresolved = [] if "/" in vitals else ["/"]
        for mount in self.mounts:
            found = _Found()
            self._mount(mount, found, _DEPTH)
            role = Role.ROOT if mount.point in vitals else Role.MOUNT
            self._note(role, mount.point, found)
            if mount.point in vitals and not found.is_resolved:
                unresolved.append(mount.point)
        for name in self._swaps():
            found = _Found()
            self._path(PurePosixPath(name), found, _DEPTH)
            self._note(Role.MOUNT, f"swap on {name}", found)
        for name in self.files.names(_BY_NAME):
            self._unmounted(name)
        return Carried(self.uses, tuple(self.by_network), tuple(unresolved))

    def _note(self, role: Role, name: str, found: _Found) -> None:
        layers = ", ".join(found.layers)
        use = Use(role, name, f"on {layers}" if layers else None)
        for address in found.functions:
            known = self.uses.setdefault(address, [])
            if use not in known:
                known.append(use)
        if found.network:
            self.by_network.append(use)

    def _swaps(self) -> Iterator[str]:
        for line in self.files.text(_SWAPS).splitlines()[1:]:
            name = line.split()[:1]
            yield from name

    def _unmounted(self, name: str) -> None:
        """Note a block device that no mount was found on: held by another, a member of something, or free."""
        if name in self.seen:
            return
        place = self.files.target(_BY_NAME / name)
        if place is None:
            return
        found = _Found()
        self._leaf(place, found)
        if not found.functions or self._has_slaves(place):
            return
        why = self._held(place)
        is_part = self.files.has(place / "partition")
        if why is not None:
            self._note_plain(Role.HELD, name, why, found)
        elif not is_part and not self.seen.intersection(self.files.names(place)):
            parts = [part for part in self.files.names(place) if self.files.has(place / part / "partition")]
            if not any(self._held(place / part) for part in parts):
                self._note_plain(Role.DISK, name, None, found)

    def _note_plain(self, role: Role, name: str, why: str | None, found: _Found) -> None:
        for address in found.functions:
            self.uses.setdefault(address, []).append(Use(role, name, why))

    def _held(self, place: PurePosixPath) -> str | None:
        """Return what holds a block device, or what it is a member of; None where nothing does."""
        holders = self.files.names(place / "holders")
        if holders:
            return f"held by {', '.join(self._layer(holder) for holder in holders)}"
        kind = self._udev(self.files.text(place / "dev")).get("ID_FS_TYPE", "")
        if kind in _MEMBERS or kind.endswith("_member"):
            return kind
        return None

    def _udev(self, number: str) -> dict[str, str]:
        """Return the properties that udev has of a block device (/run/udev/data/bMAJOR:MINOR, lines `E:NAME=VALUE`)."""
        if not number or "/" in number:
            return {}
        lines = self.files.text(_UDEV / f"b{number}").splitlines()
        return dict(line[2:].partition("=")[::2] for line in lines if line.startswith("E:"))

    def _mount(self, mount: Mount, found: _Found, depth: int) -> None:
        if depth == 0:
            return
        if mount.kind in _NETWORK_KINDS:
            found.network = True
            found.layers[mount.kind] = None
        elif mount.kind in _MEMORY_KINDS:
            found.memory = True
        elif mount.kind == "zfs":
            self._zfs(mount.source.partition("/")[0], found, depth)
        elif mount.kind == "btrfs":
            self._btrfs(mount.source, found, depth)
        elif mount.kind == "overlay":
            for option in mount.options.split(","):
                name, _, value = option.partition("=")
                if name in {"lowerdir", "upperdir"}:
                    self._files_on(value.split(":"), found, depth, besides=mount)
        elif not mount.number.startswith("0:"):
            self._number(mount.number, found, depth)
        elif mount.source.startswith("/dev/"):
            self._path(PurePosixPath(mount.source), found, depth)

    def _files_on(self, paths: Iterable[str], found: _Found, depth: int, *, besides: Mount | None = None) -> None:
        for path in paths:
            mount = holding(tuple(one for one in self.mounts if one != besides), PurePosixPath(path))
            if path.startswith("/") and mount is not None:
                self._mount(mount, found, depth - 1)

    def _zfs(self, pool: str, found: _Found, depth: int) -> None:
        """Walk to the members of a pool, which only udev tells of; to every member where none names its pool."""
        members = []
        for name in self.files.names(_BY_NAME):
            told = self._udev(self.files.text(_BY_NAME / name / "dev"))
            if told.get("ID_FS_TYPE") == "zfs_member":
                members.append((name, told.get("ID_FS_LABEL")))
        own = [name for name, label in members if label == pool] or [name for name, _ in members]
        found.layers[f"pool {pool}"] = None
        for name in own:
            self._name(name, found, depth)

    def _btrfs(self, source: str, found: _Found, depth: int) -> None:
        """Walk to all devices of the file system that one of them names; to those of every one where none does."""
        each = {one: self.files.names(_BTRFS / one / "devices") for one in self.files.names(_BTRFS)}
        own = [names for names in each.values() if source.rpartition("/")[2] in {*names, *map(self._layer, names)}]
        for name in sorted({name for names in own or each.values() for name in names}):
            self._name(name, found, depth)

    def _path(self, path: PurePosixPath, found: _Found, depth: int) -> None:
        """Walk from a path: a block device below /dev, or a file on some mount."""
        if path.parts[1:2] != ("dev",):
            self._files_on([str(path)], found, depth)
            return
        name = path.name
        if not self.files.has(_BY_NAME / name):
            name = next((one for one in self.files.names(_BY_NAME) if self._layer(one) == name), name)
        self._name(name, found, depth)

    def _name(self, name: str, found: _Found, depth: int) -> None:
        place = self.files.target(_BY_NAME / name)
        if place is not None:
            self._place(place, found, depth)

    def _number(self, number: str, found: _Found, depth: int) -> None:
        place = self.files.target(_BY_NUMBER / number)
        if place is not None:
            self._place(place, found, depth)

    def _place(self, place: PurePosixPath, found: _Found, depth: int) -> None:
        """Walk down from a block device: a partition to its disk, a mapped one to what is below it."""
        if depth == 0:
            return
        self.seen.add(place.name)
        if self.files.has(place / "partition"):
            place = place.parent
            self.seen.add(place.name)
        found.layers[self._layer(place.name)] = None
        if below := self.files.names(place / "slaves"):
            for name in below:
                self._name(name, found, depth - 1)
            return
        if backing := self.files.text(place / "loop/backing_file"):
            self._files_on([backing], found, depth)
            return
        self._leaf(place, found)

    def _leaf(self, place: PurePosixPath, found: _Found) -> None:
        """Note the functions that a device is below; of NVMe with native multipath those of every path to it."""
        own = addresses(place)
        if own:
            found.functions |= dict.fromkeys(own)
        elif "nvme-subsystem" in place.parts:
            for name in self.files.names(place.parent):
                path = self.files.target(place.parent / name) if _CONTROLLER.fullmatch(name) else None
                found.functions |= dict.fromkeys(addresses(path) if path else ())
            for name in self.files.names(place / "multipath"):  # from 6.15 on
                path = self.files.target(place / "multipath" / name)
                found.functions |= dict.fromkeys(addresses(path) if path else ())
        elif any(part.startswith("session") for part in place.parts):  # iSCSI over a network card of the host
            found.network = True
        elif place.name.startswith("zram"):
            found.memory = True

    def _layer(self, name: str) -> str:
        """Return the name of a block device as people know it: that of device mapper instead of dm-0."""
        return self.files.text(_BY_NAME / name / "dm/name") or name

    def _has_slaves(self, place: PurePosixPath) -> bool:
        return bool(self.files.names(place / "slaves"))
