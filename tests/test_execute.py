# SPDX-License-Identifier: Apache-2.0
"""Execute: a plan is carried out only on the host that it was made for."""

from contextlib import AbstractContextManager, nullcontext
from pathlib import Path

import pytest

from iommuctl.app.apply import Choices, plan_apply
from iommuctl.app.execute import carry_out
from iommuctl.app.host import Host
from iommuctl.errors import BusyError
from iommuctl.plan import Command, Regenerate

GRUB_DEFAULT = 'GRUB_CMDLINE_LINUX_DEFAULT="quiet"\nGRUB_CMDLINE_LINUX=""\n'


def quiet(_: Command) -> AbstractContextManager[None]:
    return nullcontext()


@pytest.fixture
def host(tmp_path: Path) -> Host:
    """A tree that tells nothing of its platform."""
    for path, text in {"etc/os-release": "ID=debian\n", "etc/default/grub": GRUB_DEFAULT}.items():
        (tmp_path / path).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / path).write_text(text)
    return Host.open(tmp_path)


def test_an_assumed_platform_is_no_change(host: Host) -> None:
    plan = plan_apply(host, "passthrough-perf", Choices(regenerate=Regenerate.NEVER))
    assert plan.survey.facts.platform_assumed
    assert carry_out(host, plan, progress=quiet).snapshot is not None


@pytest.mark.parametrize(
    ("path", "text"),
    [
        pytest.param("etc/default/grub", f"# a line more\n{GRUB_DEFAULT}", id="source"),
        pytest.param("boot/vmlinuz-6.1.0-40-amd64", "a kernel\n", id="kernel"),
        pytest.param("usr/lib/modules/5.10.0-8/vmlinuz", "a kernel\n", id="kernel among its modules"),
        pytest.param("etc/default/grub.d/x.cfg", "GRUB_TIMEOUT=1\n", id="drop-in that appeared"),
        pytest.param("boot/grub/grub.cfg", "menuentry x {\n}\n", id="menu that appeared"),
        pytest.param("etc/os-release", "ID=arch\n", id="distribution"),
    ],
)
def test_a_host_that_changed_since_the_plan_is_left_alone(host: Host, path: str, text: str) -> None:
    (host.path / "lib").symlink_to("usr/lib")
    plan = plan_apply(host, "passthrough-perf", Choices(regenerate=Regenerate.NEVER))
    (host.path / path).parent.mkdir(parents=True, exist_ok=True)
    (host.path / path).write_text(text)
    before = (host.path / "etc/default/grub").read_bytes()
    with pytest.raises(BusyError):
        carry_out(host, plan, progress=quiet)
    assert (host.path / "etc/default/grub").read_bytes() == before
