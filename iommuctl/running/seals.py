# SPDX-License-Identifier: Apache-2.0
"""Seals: keys that the TPM gives out by the values of its PCRs, as files of the host tell of them. Reading only."""

import re
import struct
from collections.abc import Callable, Iterator
from pathlib import PurePosixPath

from iommuctl.errors import IommuctlError
from iommuctl.kernel.environment import Seal
from iommuctl.pattern import pattern
from iommuctl.tree import Tree, known_names

_CRYPTTAB = PurePosixPath("/etc/crypttab")
_PCRLOCK = PurePosixPath("/var/lib/systemd/pcrlock.json")  # systemd-pcrlock(8)
_FDE_TOOLS = PurePosixPath("/etc/sysconfig/fde-tools")  # openSUSE's fde-tools: FDE_SEAL_PCR_LIST
_SNAPD = PurePosixPath("/var/lib/snapd/device/fde")  # snapd's full disk encryption, sealed with the command line
_SNAPD_PCRS = frozenset({12})  # snapcore/secboot: the kernel command line is measured by the stub
_FDE_LIST = pattern(r'^\s*FDE_SEAL_PCR_LIST\s*=\s*"?([\d, ]*)', re.MULTILINE)
_NUMBER = pattern(r"[0-9]{1,9}")  # a TPM has 24 PCRs, and int() takes no digits without end
# LUKS2 on-disk format, section 2.1: magic, version, size of the header; the JSON area begins after 4096 bytes.
_LUKS2 = struct.Struct(">6sHQ")
# Documentation/ABI/testing/sysfs-block-dm: the type and name of a volume that cryptsetup opened, and what it is on.
_BLOCKS, _VOLUME, _DEVICES = PurePosixPath("/sys/block"), "CRYPT-LUKS2-", PurePosixPath("/dev")
_MAGIC, _VERSION, _JSON_START, _HEADER_LIMIT = b"LUKS\xba\xbe", 2, 4096, 4 * 1024 * 1024


ReadDevice = Callable[[PurePosixPath, int], bytes | None]


def read_seals(tree: Tree, read_device: ReadDevice | None = None) -> tuple[Seal, ...]:
    """Return every seal that files of a host tell of; what may not be read tells of none.

    `read_device` reads the beginning of a block device of the running system: of the volumes that are open the headers
    are looked at too. Without it, or without the right, crypttab alone tells of volumes.
    """
    opened = {} if read_device is None else dict(_opened(tree, read_device))
    sealed = (Seal(f"volume {name!r}", path, pcrs) for name, (path, tokens) in opened.items() for pcrs in tokens)
    return (*_crypttab(tree, frozenset(opened)), *sealed, *_pcrlock(tree), *_fde_tools(tree), *_snapd(tree))


def parse_tokens(header: bytes) -> tuple[frozenset[int] | None, ...]:
    """Return the PCRs of each token of a LUKS2 header that the TPM opens; none for what is no such header."""
    if len(header) < _LUKS2.size:
        return ()
    magic, version, size = _LUKS2.unpack_from(header)
    if magic != _MAGIC or version != _VERSION:
        return ()
    import json  # noqa: PLC0415 - few hosts seal a key

    area = header[_JSON_START : min(size, len(header))].partition(b"\0")[0]
    try:
        tokens = json.loads(area)["tokens"].values()
        return tuple(_pcrs_of(token) for token in tokens if token.get("type") in {"systemd-tpm2", "clevis"})
    except (ValueError, KeyError, AttributeError, TypeError, RecursionError):
        return ()


def _pcrs_of(token: dict[str, object]) -> frozenset[int] | None:
    if token["type"] == "clevis":
        return _clevis(token)
    if token.get("tpm2_pcrlock"):
        return None  # pcrlock.json tells
    pcrs = token.get("tpm2-pcrs")
    return _numbers(pcrs) if isinstance(pcrs, list) else None


def _clevis(token: dict[str, object]) -> frozenset[int] | None:
    """clevis-encrypt-tpm2(1): the pins are in the protected header of the token's JWE."""
    jwe = token.get("jwe")
    protected = jwe.get("protected") if isinstance(jwe, dict) else None
    if not isinstance(protected, str):
        return None
    import json  # noqa: PLC0415
    from base64 import urlsafe_b64decode  # noqa: PLC0415

    try:
        header = json.loads(urlsafe_b64decode(protected + "=" * (-len(protected) % 4)))
        ids = header["clevis"]["tpm2"].get("pcr_ids", "")
    except (ValueError, KeyError, AttributeError, TypeError, RecursionError):
        return frozenset()  # another pin (tang, sss): no PCR that is told here
    return _numbers(str(ids).split(","))


def _numbers(values: object) -> frozenset[int]:
    items = values if isinstance(values, list) else []
    return frozenset(int(one) for one in items if _NUMBER.fullmatch(str(one).strip()))


def _opened(
    tree: Tree, read_device: ReadDevice
) -> Iterator[tuple[str, tuple[PurePosixPath, tuple[frozenset[int] | None, ...]]]]:
    """Return each LUKS2 volume that is open, by its name, with its device and the PCRs of the tokens in its header."""
    for block in known_names(tree, _BLOCKS):
        if not block.startswith("dm-"):
            continue
        known = _text(tree, _BLOCKS / block / "dm/uuid").strip()
        if not known.startswith(_VOLUME):
            continue
        _, _, name = known.removeprefix(_VOLUME).partition("-")  # after the volume's own id
        for slave in known_names(tree, _BLOCKS / block / "slaves"):
            if header := _header(_DEVICES / slave, read_device):
                yield name, (_DEVICES / slave, parse_tokens(header))


def _header(device: PurePosixPath, read_device: ReadDevice) -> bytes | None:
    """Read the header of a volume, and nothing after it; None for what is no such volume or may not be read."""
    try:
        start = read_device(device, _LUKS2.size) or b""
        if len(start) < _LUKS2.size or not start.startswith(_MAGIC):
            return None
        return read_device(device, min(_LUKS2.unpack(start)[2], _HEADER_LIMIT))
    except (IommuctlError, OSError):
        return None


def _crypttab(tree: Tree, looked_into: frozenset[str]) -> Iterator[Seal]:
    """crypttab(5): tpm2-device= opens with the TPM, by the PCRs of tpm2-pcrs= or of the token in the header.

    The header of the volumes in `looked_into` tells more than that.
    """
    for line in _text(tree, _CRYPTTAB).splitlines():
        fields = line.split()
        if len(fields) < len(("name", "device")) or fields[0].startswith("#"):
            continue
        options = dict(_option(one) for one in fields[3].split(",")) if len(fields) > len(("n", "d", "k")) else {}
        what = f"volume {fields[0]!r}"
        if header := options.get("header"):
            content = _read(tree, PurePosixPath(header)) if header.startswith("/") else None
            yield from (Seal(what, PurePosixPath(header), pcrs) for pcrs in parse_tokens(content or b""))
        elif options.get("tpm2-device"):
            named = options.get("tpm2-pcrs")
            if named is None and fields[0] in looked_into:
                continue
            yield Seal(what, _CRYPTTAB, None if named is None else _numbers(re.split(r"[+,:]", named)))


def _option(text: str) -> tuple[str, str]:
    name, _, value = text.partition("=")
    return name, value


def _pcrlock(tree: Tree) -> Iterator[Seal]:
    text = _text(tree, _PCRLOCK)
    if not text:
        return
    import json  # noqa: PLC0415

    try:
        values = json.loads(text).get("pcrValues", [])
        pcrs = _numbers([one["pcr"] for one in values])
    except (ValueError, KeyError, AttributeError, TypeError, RecursionError):
        return
    if pcrs:
        yield Seal("what systemd-pcrlock locks", _PCRLOCK, pcrs)


def _fde_tools(tree: Tree) -> Iterator[Seal]:
    text = _text(tree, _FDE_TOOLS)
    if text and (found := _FDE_LIST.search(text)):
        yield Seal("the root volume of fde-tools", _FDE_TOOLS, _numbers(re.split(r"[, ]+", found[1])))


def _snapd(tree: Tree) -> Iterator[Seal]:
    if known_names(tree, _SNAPD):
        yield Seal("the volumes that snapd encrypts", _SNAPD, _SNAPD_PCRS)


def _text(tree: Tree, path: PurePosixPath) -> str:
    return (_read(tree, path) or b"").decode("utf-8", "replace")


def _read(tree: Tree, path: PurePosixPath) -> bytes | None:
    try:
        return tree.read_part(path, 0, _HEADER_LIMIT)
    except IommuctlError:
        return None
