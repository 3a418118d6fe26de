# SPDX-License-Identifier: Apache-2.0
"""Documents of hosts, as `report` reads them, and the files that they are in."""

import json
import os
from pathlib import Path

SHAPE = "ab" * 32


def plan(**more: object) -> dict[str, object]:
    """What a dry-run said."""
    diff = "--- a/etc/default/grub\n+++ b/etc/default/grub\n@@ -1 +1 @@\n-quiet\n+quiet iommu=pt\n"
    document: dict[str, object] = {
        "command": "apply",
        "dry_run": True,
        "changed": True,
        "profile": "passthrough-perf",
        "platform": "intel",
        "backend": "grub2",
        "shape": SHAPE,
        "fingerprint": "cd" * 32,
        "files": [{"path": "/etc/default/grub", "diff": diff, "reason": "why"}],
        "commands": [{"argv": ["grub-mkconfig", "-o", "x"]}],
        "findings": [{"rule": "myth", "severity": "warning", "parameter": "iommu=1", "message": "a myth"}],
        "evidence": [{"probe": "/boot/grub", "found": "grub.cfg", "says": "GRUB"}],
    }
    return document | more


def error(code: int, kind: str, **more: object) -> dict[str, object]:
    """An error of iommuctl."""
    return {"error": {"code": code, "kind": kind, "brief": "brief", "details": ["fact"], "hint": "do this", **more}}


def plan_file(created: str, **more: object) -> dict[str, object]:
    """What --dry-run --out wrote."""
    return {"schema_version": 1, "command": "plan", "created": created, "basis": [], "plan": plan(**more)}


def done(command: str, day: str, **more: object) -> dict[str, object]:
    """A change that was carried out that day, and waits for a reboot."""
    known = {"command": command, "dry_run": False, "snapshot": f"{day}T080000Z-abcdef", "reboot_required": True}
    return plan(**known | more)


def write(directory: Path, name: str, document: object, modified: int | None = None) -> None:
    """Write a document, or a text as it is; `modified` is in seconds."""
    directory.mkdir(exist_ok=True)
    (directory / name).write_text(document if isinstance(document, str) else json.dumps(document))
    if modified is not None:
        os.utime(directory / name, (modified, modified))
