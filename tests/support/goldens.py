# SPDX-License-Identifier: Apache-2.0
"""What golden trees are compared by."""

import re
import shutil
from pathlib import Path

from consent import agreed
from typer.testing import CliRunner

from iommuctl.cli.application import application
from iommuctl.cli.session import Session

STATE = Path("var/lib/iommuctl")


def run(*arguments: str) -> str:
    """Run a command in this process; give its stdout."""
    result = CliRunner().invoke(application, agreed(arguments), obj=Session(), catch_exceptions=False)
    assert (result.exit_code, result.stderr) == (0, "")
    return result.stdout


def unmarked(output: str, root: Path) -> str:
    """The output without what depends on where the tree is, without fingerprint and shape, which are hashes of all."""
    assert len(re.findall(r"\b[0-9a-f]{64}$", output, re.MULTILINE)) <= 1
    output = re.sub(r'(fingerprint(?:"?): "?)[0-9a-f]{64}', r"\1FINGERPRINT", output)
    output = re.sub(r'("shape": ")[0-9a-f]{64}', r"\1SHAPE", output)
    return output.replace(str(root), "ROOT")


def contents(top: Path) -> dict[str, bytes]:
    """Every file and link of a host but our own state."""
    found = {}
    for path in sorted(top.rglob("*")):
        place = path.relative_to(top)
        if place.is_relative_to(STATE) or (path.is_dir() and not path.is_symlink()):
            continue
        found[str(place)] = str(path.readlink()).encode() if path.is_symlink() else path.read_bytes()
    return found


def stamps(top: Path) -> dict[str, tuple[int, int, int]]:
    """The inode, size and time of everything below a directory, our own state included."""
    stats = {str(path.relative_to(top)): path.lstat() for path in (top, *top.rglob("*"))}
    return {path: (stat.st_ino, stat.st_size, stat.st_mtime_ns) for path, stat in stats.items()}


def keep_difference(before: dict[str, bytes], after: dict[str, bytes], golden: Path) -> None:
    shutil.rmtree(golden, ignore_errors=True)
    for path, content in after.items():
        if before.get(path) != content:
            (golden / path).parent.mkdir(parents=True, exist_ok=True)
            (golden / path).write_bytes(content)
