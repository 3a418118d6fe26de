# SPDX-License-Identifier: Apache-2.0
"""Space: what a program may take of it."""

import resource
import subprocess
from pathlib import Path, PurePosixPath

import pytest
from smalldisk import small_disk

from iommuctl.errors import ExecutionError
from iommuctl.host.commands import SystemRunner
from iommuctl.host.root import Root
from iommuctl.host.space import KEPT_FREE, files_limited, room_kept


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


def test_a_program_may_take_half_of_little_room_and_most_of_much(tmp_path: Path) -> None:
    (tmp_path / "tree").mkdir()
    for size, kept in ((8 << 20, 4 << 20), (1 << 30, KEPT_FREE)):
        with (
            small_disk(tmp_path / "tree/disk", size),
            room_kept(Root(tmp_path / "tree"), PurePosixPath("/disk")) as room,
        ):
            assert room.kept == kept
            assert room.where == str(tmp_path / "tree/disk")
            subprocess.run(["fallocate", "-l", str(size - kept), str(tmp_path / "tree/disk/most")], check=True)
            assert not room.is_short()
            (tmp_path / "tree/disk/more").write_bytes(b"x")
            assert room.is_short()


def test_a_program_that_takes_all_the_room_is_stopped(tmp_path: Path) -> None:
    program = tmp_path / "program"
    program.write_text('#!/bin/sh\nwhile :; do i=x$i; head -c 1048576 /dev/zero >"$1/$i"; done\n')
    program.chmod(0o755)
    with small_disk(tmp_path / "disk", 8 << 20) as disk:
        folder = PurePosixPath(disk)
        with room_kept(Root(Path("/")), folder) as room, pytest.raises(ExecutionError) as caught:
            SystemRunner(Path("/")).run((str(program), str(disk)), room=room)
    assert caught.value.brief == (
        f"{str(program)!r} left less than {4 << 20} bytes free in the file system of its output and was stopped"
    )
    assert caught.value.hint == f"df {disk}"


def test_a_program_that_takes_some_of_the_room_is_left_alone(tmp_path: Path) -> None:
    with small_disk(tmp_path / "disk", 8 << 20) as disk, room_kept(Root(Path("/")), PurePosixPath(disk)) as room:
        assert SystemRunner(Path("/")).run(("fallocate", "-l", "3M", str(disk / "some")), room=room).returncode == 0
