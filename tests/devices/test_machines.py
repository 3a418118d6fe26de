# SPDX-License-Identifier: Apache-2.0
"""What `devices` says of built machines, as text, as a tree and as JSON. Golden output.

`pytest --update-golden tests/devices/test_machines.py` writes it anew.
"""

import json
from pathlib import Path

import pytest
from devicetrees import MACHINES, Machine
from invoked import invoke, report
from project import PROJECT
from pytest_mock import MockerFixture

from iommuctl.host.root import Root

GOLDEN = PROJECT / "tests" / "golden" / "devices"


@pytest.fixture(autouse=True)
def _running(mocker: MockerFixture) -> None:
    mocker.patch.object(Root, "is_running_system", new_callable=mocker.PropertyMock, return_value=True)


@pytest.mark.parametrize("name", MACHINES)
def test_a_machine_is_told_as_it_is(name: str, tmp_path: Path, request: pytest.FixtureRequest) -> None:
    MACHINES[name](Machine(tmp_path))
    cards, tree = invoke(tmp_path, "devices"), invoke(tmp_path, "devices", "--format", "tree")
    code, document = report(tmp_path, "devices", "devices")
    told = {
        "cards.txt": cards[1],
        "tree.txt": tree[1],
        "devices.json": json.dumps(document, indent=2, ensure_ascii=False) + "\n",
    }
    if request.config.getoption("--update-golden"):
        (GOLDEN / name).mkdir(parents=True, exist_ok=True)
        for file, text in told.items():
            (GOLDEN / name / file).write_text(text)
    assert (cards[0], tree[0], code) == (0, 0, 0)
    assert told == {file: (GOLDEN / name / file).read_text() for file in told}


def test_a_machine_without_devices(tmp_path: Path) -> None:
    assert invoke(tmp_path, "devices") == (0, "no devices on PCI\n")


def test_what_a_tree_says_drives_no_terminal(tmp_path: Path) -> None:
    machine = MACHINES["twins"](Machine(tmp_path))
    machine.mount("/\x1b[31m", "8:2").interface("evil\x1b]0;", "0000:00:06.0")
    text = invoke(tmp_path, "devices")[1]
    assert "\x1b" not in text
    assert "evil" in text
