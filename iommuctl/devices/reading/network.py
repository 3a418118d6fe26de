# SPDX-License-Identifier: Apache-2.0
"""Network: which interfaces the host is reached by, and the PCI functions below them, through bonds and bridges."""

from collections.abc import Iterable, Iterator
from pathlib import PurePosixPath

from iommuctl.devices.inventory import Role, Use
from iommuctl.devices.reading.files import Files, addresses

_INTERFACES = PurePosixPath("/sys/class/net")
_NET = PurePosixPath("/proc/net")
_DEVICES = PurePosixPath("/sys/bus/pci/devices")
_OPEN_VSWITCH = "ovs-system"
_LOOPBACK = "lo"
_REJECT = 0x0200  # include/uapi/linux/route.h: RTF_REJECT
_LINK_LOCAL = 0x20  # include/net/ipv6.h: IPV6_ADDR_LINKLOCAL
_SSH_PORT = 22
_ESTABLISHED, _LISTEN = "01", "0A"  # include/net/tcp_states.h
_NOTHING = "00000000"
_EVERYTHING_V6 = "0" * 32
_ROUTE_FIELDS, _ROUTE_V6_FIELDS, _ADDRESS_V6_FIELDS, _SOCKET_FIELDS = 8, 10, 6, 4
_DEPTH = 8


def read_interfaces(files: Files, session: str | None, by_network: Iterable[Use]) -> dict[str, list[Use]]:
    """Return the interfaces on each PCI function, by address, with what the host does by them.

    `session` is the host's own address in the caller's ssh session; None: those of established ssh connections count.
    `by_network` is what the host has mounted from the network: it hangs on every uplink.
    """
    return _Interfaces(files, session).read(tuple(by_network))


def listens_for_ssh(files: Files) -> bool:
    """Whether something waits for connections on the port of ssh."""
    return any(state == _LISTEN for _, state in _ssh_sockets(files))


class _Interfaces:
    """One look at the interfaces."""

    def __init__(self, files: Files, session: str | None) -> None:
        self.files = files
        self.names = tuple(name for name in files.names(_INTERFACES) if files.has(_INTERFACES / name / "operstate"))
        self.routes = tuple(_routes(files))
        self.addresses_v6 = tuple(_addresses_v6(files))
        self.session = session
        self.uplinks: dict[str, str] = {}

    def read(self, by_network: tuple[Use, ...]) -> dict[str, list[Use]]:
        for name, why in self._reached_by():
            leaves = tuple(self._leaves(name, _DEPTH))
            for leaf in leaves:
                told = why if leaf == name else f"{why} of {name}"
                self.uplinks.setdefault(leaf, told)
            if not any(self._functions(leaf) for leaf in leaves):  # a tunnel, or a switch in software
                for other in self.names:
                    if self._is_in_use(other):
                        self.uplinks.setdefault(other, f"what {name} goes over cannot be told")
        for name in self.names:
            if self._master(name) == _OPEN_VSWITCH:
                self.uplinks.setdefault(name, "port of Open vSwitch")
        found: dict[str, list[Use]] = {}
        for name in self.names:
            use = self._use(name)
            for address in self._functions(name):
                uses = found.setdefault(address, [])
                uses.append(use)
                if use.role is Role.UPLINK:
                    uses += [one for one in by_network if one not in uses]
        return found

    def _use(self, name: str) -> Use:
        if name in self.uplinks:
            return Use(Role.UPLINK, name, self.uplinks[name])
        if not self._is_in_use(name):
            return Use(Role.INTERFACE, name)
        master = self._master(name)
        return Use(Role.LINK, name, f"part of {master}" if master else "up, with an address")

    def _reached_by(self) -> Iterator[tuple[str, str]]:
        """Return the interfaces that the host is reached by, and why that is known."""
        for name, destination, mask in self.routes:
            if destination == 0 and mask == 0:
                yield name, "default route"
        yield from ((name, "default route") for name in _default_routes_v6(self.files))
        sessions = (
            [self.session]
            if self.session
            else [own for own, state in _ssh_sockets(self.files) if state == _ESTABLISHED]
        )
        for own in sessions:
            if found := self._interface_of(own):
                yield found, "ssh session"

    def _interface_of(self, own: str) -> str | None:
        """Return the interface that has an address of the host's: by its network, or by the address itself."""
        if "." in own:
            number = _number_v4(own.rpartition(":")[2])
            fitting = [one for one in self.routes if one[2] and number is not None and number & one[2] == one[1]]
            return max(fitting, key=lambda one: one[2].bit_count())[0] if fitting else None
        wanted = _number_v6(own)
        return next((name for number, name, _ in self.addresses_v6 if number == wanted), None)

    def _leaves(self, name: str, depth: int) -> Iterator[str]:
        lower = [one.removeprefix("lower_") for one in self.files.names(_INTERFACES / name) if one.startswith("lower_")]
        if not lower or depth == 0:
            yield name
        for one in lower:
            yield from self._leaves(one, depth - 1)

    def _functions(self, name: str) -> tuple[str, ...]:
        """Return the functions that an interface is on; with a virtual one the physical one that it is of."""
        place = self.files.target(_INTERFACES / name / "device")
        own = addresses(place) if place is not None else ()
        parent = self.files.target(_DEVICES / own[-1] / "physfn") if own else None
        return (*own, *((parent.name,) if parent is not None else ()))

    def _is_in_use(self, name: str) -> bool:
        if name == _LOOPBACK or self.files.text(_INTERFACES / name / "operstate") == "down":
            return False
        has_v4 = any(one[0] == name for one in self.routes)
        has_v6 = any(one == name and scope != _LINK_LOCAL for _, one, scope in self.addresses_v6)
        return has_v4 or has_v6 or self._master(name) is not None or self._is_below(name)

    def _is_below(self, name: str) -> bool:
        """Whether another interface, such as a VLAN, goes over it."""
        return any(one.startswith("upper_") for one in self.files.names(_INTERFACES / name))

    def _master(self, name: str) -> str | None:
        place = self.files.target(_INTERFACES / name / "master")
        return None if place is None else place.name


def _routes(files: Files) -> Iterator[tuple[str, int, int]]:
    """Read /proc/net/route: interface, destination and mask, numbers as the machine holds them."""
    for line in files.text(_NET / "route").splitlines()[1:]:
        words = line.split()
        if len(words) >= _ROUTE_FIELDS and not _hexadecimal(words[3]) & _REJECT:
            yield words[0], _hexadecimal(words[1]), _hexadecimal(words[7])


def _default_routes_v6(files: Files) -> Iterator[str]:
    for line in files.text(_NET / "ipv6_route").splitlines():
        words = line.split()
        if len(words) < _ROUTE_V6_FIELDS or words[:2] != [_EVERYTHING_V6, "00"] or words[9] == _LOOPBACK:
            continue
        if not _hexadecimal(words[8]) & _REJECT:
            yield words[9]


def _addresses_v6(files: Files) -> Iterator[tuple[int, str, int]]:
    """Read /proc/net/if_inet6: address, interface, scope."""
    for line in files.text(_NET / "if_inet6").splitlines():
        words = line.split()
        if len(words) >= _ADDRESS_V6_FIELDS and words[5] != _LOOPBACK:
            yield _hexadecimal(words[0]), words[5], _hexadecimal(words[3])


def _ssh_sockets(files: Files) -> Iterator[tuple[str, str]]:
    """Return the own address and the state of each socket on the port of ssh (/proc/net/tcp, tcp6)."""
    for table in ("tcp", "tcp6"):
        for line in files.text(_NET / table).splitlines()[1:]:
            words = line.split()
            own, _, port = words[1].partition(":") if len(words) >= _SOCKET_FIELDS else ("", "", "")
            if _hexadecimal(port) == _SSH_PORT:
                yield _written(own), words[3]


def _written(own: str) -> str:
    """Return an address of /proc/net/tcp as people write it; words of 32 bits are in the machine's order there."""
    raw = b"".join(bytes.fromhex(own[at : at + 8])[::-1] for at in range(0, len(own), 8)) if len(own) % 8 == 0 else b""
    if raw[:12] == bytes(10) + b"\xff\xff":
        raw = raw[12:]
    if len(raw) == len(_NOTHING) // 2:
        return ".".join(map(str, raw))
    return ":".join(raw[at : at + 2].hex() for at in range(0, len(raw), 2))


def _number_v4(text: str) -> int | None:
    """Return an address as /proc/net/route writes it on a little-endian machine."""
    parts = text.split(".")
    if len(parts) != 4 or not all(part.isdecimal() and int(part) < 256 for part in parts):  # noqa: PLR2004 - a byte
        return None
    return int.from_bytes(bytes(map(int, parts)), "little")


def _number_v6(text: str) -> int | None:
    from ipaddress import IPv6Address  # noqa: PLC0415 - only a session over IPv6 needs it

    try:
        return int(IPv6Address(text.partition("%")[0]))
    except ValueError:
        return None


def _hexadecimal(text: str) -> int:
    try:
        return int(text, 16)
    except ValueError:
        return -1
