# SPDX-License-Identifier: Apache-2.0
"""Seals: what a host's files tell of keys in the TPM, and by which PCRs it gives them out."""

import base64
import json
import struct
from collections.abc import Mapping
from pathlib import PurePosixPath

import pytest
from trees import MemoryTree

from iommuctl.errors import NotPermittedError
from iommuctl.running.seals import parse_tokens, read_seals


def luks2(tokens: Mapping[str, object], *, version: int = 2) -> bytes:
    """A LUKS2 header with these tokens."""
    area = json.dumps({"keyslots": {}, "tokens": tokens}).encode()
    head = struct.pack(">6sHQ", b"LUKS\xba\xbe", version, 16384)
    return (head.ljust(4096, b"\0") + area).ljust(16384, b"\0")


def clevis(pcrs: str) -> dict[str, object]:
    header = {"clevis": {"pin": "tpm2", "tpm2": {"pcr_bank": "sha256", "pcr_ids": pcrs}}}
    return {"type": "clevis", "jwe": {"protected": base64.urlsafe_b64encode(json.dumps(header).encode()).decode()}}


@pytest.mark.parametrize(
    ("tokens", "pcrs"),
    [
        ({"0": {"type": "systemd-tpm2", "tpm2-pcrs": [7, 12]}}, ({7, 12},)),
        ({"0": {"type": "systemd-tpm2", "tpm2-pcrs": [], "tpm2_pcrlock": True}}, (None,)),
        ({"0": clevis("4,8"), "1": {"type": "systemd-recovery"}}, ({4, 8},)),
        ({"0": clevis("")}, (set(),)),
        ({"0": {"type": "clevis", "jwe": {"protected": "e30"}}}, (set(),)),
        ({"0": {"type": "clevis", "jwe": 3}}, (None,)),
        ({}, ()),
    ],
)
def test_tokens_of_a_header_name_their_pcrs(tokens: Mapping[str, object], pcrs: tuple[set[int] | None, ...]) -> None:
    assert parse_tokens(luks2(tokens)) == pcrs


@pytest.mark.parametrize("header", [b"", b"LUKS", luks2({}, version=1), luks2({})[:4096], b"\0" * 16384])
def test_what_is_no_header_tells_nothing(header: bytes) -> None:
    assert parse_tokens(header) == ()


TPM_HEADER = luks2({"0": {"type": "systemd-tpm2", "tpm2-pcrs": [7, 9]}})
LOCK = json.dumps({"pcrBank": "sha256", "pcrValues": [{"pcr": 4, "values": []}, {"pcr": 12, "values": []}]})


@pytest.mark.parametrize(
    ("files", "seals"),
    [
        ({"/etc/crypttab": "root UUID=1 - tpm2-device=auto,tpm2-pcrs=7+8\n"}, [("volume 'root'", {7, 8})]),
        ({"/etc/crypttab": "root UUID=1 none luks,tpm2-device=auto\n"}, [("volume 'root'", None)]),
        ({"/etc/crypttab": "# root UUID=1 - tpm2-device=auto\nroot UUID=1 none luks\nswap /dev/sda2\n"}, []),
        (
            {"/etc/crypttab": "root UUID=1 - tpm2-device=auto,header=/boot/root.hdr\n", "/boot/root.hdr": TPM_HEADER},
            [("volume 'root'", {7, 9})],
        ),
        ({"/var/lib/systemd/pcrlock.json": LOCK}, [("what systemd-pcrlock locks", {4, 12})]),
        ({"/var/lib/systemd/pcrlock.json": "[]"}, []),
        ({"/var/lib/systemd/pcrlock.json": "[" * 200_000}, []),
        ({"/etc/crypttab": f"root UUID=1 - tpm2-device=auto,tpm2-pcrs=7+{'9' * 5000}\n"}, [("volume 'root'", {7})]),
        ({"/etc/sysconfig/fde-tools": 'FDE_SEAL_PCR_LIST="4,7,9"\n'}, [("the root volume of fde-tools", {4, 7, 9})]),
        ({"/var/lib/snapd/device/fde/cryptsetup": ""}, [("the volumes that snapd encrypts", {12})]),
        ({}, []),
    ],
)  # fmt: skip
def test_each_file_that_tells_of_a_seal_is_read(
    files: Mapping[str, str | bytes], seals: list[tuple[str, set[int] | None]]
) -> None:
    assert [(one.what, one.pcrs) for one in read_seals(MemoryTree.of(files))] == seals


UUID = "0123456789abcdef0123456789abcdef"
OPEN = {
    "/sys/block/dm-0/dm/uuid": f"CRYPT-LUKS2-{UUID}-root-disk\n",
    "/sys/block/dm-0/slaves/sda3/dev": "8:3\n",
    "/sys/block/dm-1/dm/uuid": "LVM-abc\n",
    "/sys/block/dm-1/slaves/dm-0/dev": "253:0\n",
}
MARKED = {"/etc/crypttab": "root-disk UUID=1 none luks,tpm2-device=auto\n"}


@pytest.mark.parametrize(
    ("files", "header", "seals"),
    [
        (OPEN, luks2({"0": clevis("4,9")}), [("volume 'root-disk'", "/dev/sda3", {4, 9})]),
        (OPEN, luks2({"0": {"type": "systemd-tpm2", "tpm2-pcrs": [7]}}), [("volume 'root-disk'", "/dev/sda3", {7})]),
        (OPEN, luks2({}), []),
        (OPEN | MARKED, luks2({"0": {"type": "systemd-tpm2", "tpm2-pcrs": [7]}}),
         [("volume 'root-disk'", "/dev/sda3", {7})]),
        (OPEN | MARKED, None, [("volume 'root-disk'", "/etc/crypttab", None)]),
        (OPEN, b"LUKS\xba\xbe", []),
        (OPEN, b"\0" * 8192, []),
        (MARKED, b"", [("volume 'root-disk'", "/etc/crypttab", None)]),
    ],
)  # fmt: skip
def test_header_of_an_open_volume_tells_more_than_crypttab(
    files: Mapping[str, str], header: bytes | None, seals: list[tuple[str, str, set[int] | None]]
) -> None:
    asked: list[tuple[str, int]] = []

    def read_device(path: PurePosixPath, size: int) -> bytes:
        asked.append((str(path), size))
        if header is None:
            raise NotPermittedError(path, "read")
        return header[:size]

    found = read_seals(MemoryTree.of(files), read_device)
    assert [(one.what, str(one.path), one.pcrs) for one in found] == seals
    assert {path for path, _ in asked} <= {"/dev/sda3"}
    assert all(size <= 16384 for _, size in asked)


def test_no_device_is_read_of_a_tree_that_is_not_the_running_system() -> None:
    assert read_seals(MemoryTree.of(OPEN)) == ()
