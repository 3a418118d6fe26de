# SPDX-License-Identifier: Apache-2.0
"""EFI variables as efivarfs wants them written: attributes and value in one write, the immutable flag lifted first."""

import fcntl
import os
from pathlib import Path, PurePosixPath

import crash
import efivars
import pytest
from lacking import lacks
from pytest_mock import MockerFixture

from iommuctl.host.root import Root
from iommuctl.transaction import efivar

PATH = PurePosixPath(f"/{efivars.FOLDER}/LoaderEntryOneShot-{efivars.LOADER}")
VALUE = "iommuctl-trial-20261128-090457-ab12cd.conf"


@pytest.fixture
def root(tmp_path: Path) -> Root:
    (tmp_path / efivars.FOLDER).mkdir(parents=True)
    return Root(tmp_path)


def test_a_variable_is_one_write_of_attributes_and_text(root: Root, mocker: MockerFixture) -> None:
    written = mocker.spy(os, "write")
    efivar.write_text(root, PATH, VALUE)
    ((_, content),) = (call.args for call in written.call_args_list)
    # Non-volatile, for the boot services and at runtime; UTF-16 with its final NUL.
    assert content == b"\x07\0\0\0" + f"{VALUE}\0".encode("utf-16-le")
    assert efivar.read_text(root, PATH) == VALUE


def test_what_is_not_there_reads_as_nothing_and_goes_without_a_word(root: Root) -> None:
    assert efivar.read_text(root, PATH) == ""
    efivar.remove(root, PATH)


@pytest.mark.programs
@pytest.mark.parametrize("action", ["write", "remove"])
def test_a_variable_that_the_kernel_shows_as_immutable_is_changed(root: Root, action: str) -> None:
    file = root.path / str(PATH).lstrip("/")
    file.write_bytes(efivars.text("old.conf"))
    with file.open() as opened:
        try:
            fcntl.ioctl(opened, efivar._SET_FLAGS, efivar._IMMUTABLE.to_bytes(efivar._LONG, "little"))
        except OSError as error:
            lacks(f"no file here can be made immutable: {error}")
    with pytest.raises(PermissionError):
        file.unlink()
    if action == "write":
        efivar.write_text(root, PATH, VALUE)
        assert efivar.read_text(root, PATH) == VALUE
    else:
        efivar.remove(root, PATH)
        assert crash.observe(file.parent, without="nothing", times=False) == {}
