# SPDX-License-Identifier: Apache-2.0
"""Space: what a program may take of it."""

import resource
import subprocess
from pathlib import Path

import pytest

from iommuctl.host.space import files_limited


def write(path: Path, size: int) -> int:
    command = ["dd", "if=/dev/zero", f"of={path}", f"bs={size}", "count=1"]
    return subprocess.run(command, capture_output=True, check=False).returncode


def test_a_program_writes_no_longer_file_than_it_may(tmp_path: Path) -> None:
    with files_limited(4096):
        assert write(tmp_path / "small", 4096) == 0
        assert write(tmp_path / "large", 4097) != 0
    assert [(tmp_path / name).stat().st_size <= 4096 for name in ("small", "large")] == [True, True]
    assert write(tmp_path / "after", 8192) == 0


def test_a_tighter_limit_stays(monkeypatch: pytest.MonkeyPatch) -> None:
    limits = [(1000, 5000)]
    monkeypatch.setattr(resource, "getrlimit", lambda _: limits[-1])
    monkeypatch.setattr(resource, "setrlimit", lambda _, pair: limits.append(pair))
    with files_limited(4096):
        pass
    assert limits == [(1000, 5000)] * 3
