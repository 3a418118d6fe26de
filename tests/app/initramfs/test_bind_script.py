# SPDX-License-Identifier: Apache-2.0
"""The script that the initramfs runs: by the shells of such images, on a sysfs that a small program answers for."""

import subprocess
from pathlib import Path

import pytest
from lacking import program

from iommuctl.app.initramfs.mechanism import script

SHELLS = (("dash",), ("busybox", "sh"))
CHOSEN, TWIN = "0000:00:06.0", "0000:00:05.0"
ID = "8086:10d3"
BOTH_OURS = f"iommuctl.vfio={TWIN}@{ID},{CHOSEN}@{ID}"
OURS = f"iommuctl.vfio={CHOSEN}@{ID}"
TAKEN = f"iommuctl: {CHOSEN} is with vfio-pci"

# What the kernel does with a word that is written to a file of its PCI bus.
KERNEL = """#!/bin/sh
pci=$(dirname "$0")/sys/bus/pci
[ -e "$2" ] || exit 1
echo "$1" >"$2"
case $2 in
*/unbind)
    name=$(cat "$pci/devices/$1/driver/name")
    rm -rf "$pci/drivers/$name/$1" "$pci/devices/$1/driver"
    ;;
*/drivers_probe)
    wanted=$(cat "$pci/devices/$1/driver_override")
    [ -e "$pci/devices/$1/refused" ] && [ "$wanted" = vfio-pci ] && exit
    name=${wanted:-e1000e}
    [ -d "$pci/drivers/$name" ] || exit
    mkdir -p "$pci/drivers/$name/$1"
    ln -sfn "$pci/drivers/$name" "$pci/devices/$1/driver"
    ;;
esac
"""


class Machine:
    """A machine with two cards of one model in its early boot; the drivers that are loaded are those of `loaded`."""

    def __init__(self, folder: Path, line: str, *, loaded: tuple[str, ...] = (), has_module: bool = True) -> None:
        self.folder = folder
        self.pci = folder / "sys/bus/pci"
        (folder / "proc").mkdir()
        (folder / "proc/cmdline").write_text(f"{line}\n")
        (folder / "dev").mkdir()
        (self.pci / "drivers").mkdir(parents=True)
        (self.pci / "drivers_probe").touch()
        for address in (TWIN, CHOSEN):
            device = self.pci / "devices" / address
            device.mkdir(parents=True)
            (device / "vendor").write_text("0x8086\n")
            (device / "device").write_text("0x10d3\n")
            (device / "driver_override").write_text("\n")
        for name in loaded:
            self._load(name)
        self._program("kernel", KERNEL)
        load = f"mkdir {self.pci}/drivers/vfio-pci" if has_module else "exit 1"
        self._program("modprobe", f'#!/bin/sh\necho "$@" >>{folder}/loaded\n{load}\n')

    def _load(self, name: str) -> None:
        driver = self.pci / "drivers" / name
        driver.mkdir()
        (driver / "name").write_text(f"{name}\n")
        (driver / "unbind").touch()
        if name != "vfio-pci":
            for device in (self.pci / "devices").iterdir():
                (driver / device.name).mkdir()
                (device / "driver").symlink_to(driver)

    def _program(self, name: str, text: str) -> None:
        path = self.folder / name
        path.write_text(text)
        path.chmod(0o755)

    def run(self, shell: tuple[str, ...]) -> tuple[str, ...]:
        """Run the script, and return what it said in the kernel's log."""
        text = script("bind.sh").decode()
        for old, new in (
            ("/sys/bus", f"{self.folder}/sys/bus"),
            ("/proc/cmdline", f"{self.folder}/proc/cmdline"),
            (">/dev/kmsg", f">>{self.folder}/dev/kmsg"),
            ('{ echo "$1" >"$2"; } 2>/dev/null', f'{self.folder}/kernel "$1" "$2"'),
            ("|| modprobe", f"|| {self.folder}/modprobe"),  # some builds of busybox prefer their own
        ):
            assert old in text
            text = text.replace(old, new)
        argv = (program(shell[0]), *shell[1:], "-u", "-c", f"{text}\necho the end")
        environment = {"PATH": "/usr/bin:/bin"}
        done = subprocess.run(argv, capture_output=True, text=True, check=True, env=environment, timeout=60)
        assert (done.stdout, done.stderr) == ("the end\n", "")
        log = self.folder / "dev/kmsg"
        return tuple(log.read_text().splitlines()) if log.exists() else ()

    def drivers(self) -> tuple[str, str]:
        """Return the drivers of the twin and of the card that is chosen; empty for none."""
        return self._driver(TWIN), self._driver(CHOSEN)

    def _driver(self, address: str) -> str:
        link = self.pci / "devices" / address / "driver"
        return link.readlink().name if link.is_symlink() else ""


@pytest.mark.parametrize("shell", SHELLS, ids=lambda shell: shell[0])
@pytest.mark.parametrize(
    ("line", "loaded", "drivers", "said"),
    [
        ("ro quiet", (), ("", ""), ()),
        ("ro quiet", ("e1000e",), ("e1000e", "e1000e"), ()),
        (OURS, (), ("", "vfio-pci"), (TAKEN,)),
        (f"ro {OURS} quiet", ("e1000e",), ("e1000e", "vfio-pci"), (TAKEN,)),
        (f'ro "{OURS}"', (), ("", "vfio-pci"), (TAKEN,)),
        (f'ro iommuctl.vfio="{CHOSEN}@{ID}"', (), ("", "vfio-pci"), (TAKEN,)),
        (f"iommuctl.vfio={TWIN}@{ID} {OURS}", (), ("", "vfio-pci"), (TAKEN,)),
        (f"{OURS} iommuctl.vfio=", (), ("", ""), ()),
        (f"ro -- {OURS}", (), ("", ""), ()),
        (f'dyndbg="file a {OURS} +p" ro', (), ("", ""), ()),
        (f'dyndbg="file a" {OURS}', (), ("", "vfio-pci"), (TAKEN,)),
        (f"* {OURS} ?", (), ("", "vfio-pci"), (TAKEN,)),
        (BOTH_OURS, ("e1000e",), ("vfio-pci", "vfio-pci"), (f"iommuctl: {TWIN} is with vfio-pci", TAKEN)),
        (
            f"iommuctl.vfio={TWIN}@8086:ffff,{CHOSEN}@{ID}",
            ("e1000e",),
            ("e1000e", "vfio-pci"),
            (f"iommuctl: {TWIN} is {ID}, not 8086:ffff: left alone", TAKEN),
        ),
        (f"iommuctl.vfio=0000:07:00.0@{ID}", (), ("", ""), ("iommuctl: 0000:07:00.0 is not there: left alone",)),
    ],
)
def test_exactly_what_the_line_chooses_is_bound(
    shell: tuple[str, ...],
    line: str,
    loaded: tuple[str, ...],
    drivers: tuple[str, str],
    said: tuple[str, ...],
    tmp_path: Path,
) -> None:
    machine = Machine(tmp_path, line, loaded=loaded)
    assert machine.run(shell) == said
    assert machine.drivers() == drivers


@pytest.mark.parametrize("shell", SHELLS, ids=lambda shell: shell[0])
@pytest.mark.parametrize(
    "value",
    [
        CHOSEN,
        f"00:06.0@{ID}",
        f"0000:00:06.8@{ID}",
        f"0000:00:26.0@{ID}",
        f"0000:00:06.0@{ID}0",
        f"00000:00:06.0@{ID}",
        f"{CHOSEN}@8086:10D3",
        f"{CHOSEN}@{ID},",
        f",{CHOSEN}@{ID}",
        f"{CHOSEN}@{ID},,{TWIN}@{ID}",
        f"{CHOSEN}@{ID},{CHOSEN}@{ID}",
        f"../../../x@{ID}",
        f"{CHOSEN}@{ID},*@{ID}",
        f"$(touch${{IFS}}owned)@{ID}",
    ],
)
def test_what_cannot_be_read_binds_nothing(shell: tuple[str, ...], value: str, tmp_path: Path) -> None:
    machine = Machine(tmp_path, f"ro iommuctl.vfio={value} quiet", loaded=("e1000e",))
    said = machine.run(shell)
    assert said == (f"iommuctl: {value} names no device, or one twice: all left alone",)
    assert machine.drivers() == ("e1000e", "e1000e")
    assert not (tmp_path / "loaded").exists()


@pytest.mark.parametrize("shell", SHELLS, ids=lambda shell: shell[0])
def test_without_the_module_the_host_keeps_its_card(shell: tuple[str, ...], tmp_path: Path) -> None:
    machine = Machine(tmp_path, OURS, loaded=("e1000e",), has_module=False)
    assert machine.run(shell) == (f"iommuctl: vfio-pci cannot be loaded: {CHOSEN} left alone",)
    assert machine.drivers() == ("e1000e", "e1000e")
    assert (machine.pci / "devices" / CHOSEN / "driver_override").read_text() == "\n"


@pytest.mark.parametrize("shell", SHELLS, ids=lambda shell: shell[0])
def test_what_vfio_pci_refuses_goes_back_to_the_host(shell: tuple[str, ...], tmp_path: Path) -> None:
    machine = Machine(tmp_path, OURS, loaded=("e1000e",))
    (machine.pci / "devices" / CHOSEN / "refused").touch()
    assert machine.run(shell) == (f"iommuctl: vfio-pci does not take {CHOSEN}: left alone",)
    assert machine.drivers() == ("e1000e", "e1000e")


@pytest.mark.parametrize("shell", SHELLS, ids=lambda shell: shell[0])
def test_a_driver_that_is_built_in_is_not_loaded(shell: tuple[str, ...], tmp_path: Path) -> None:
    machine = Machine(tmp_path, OURS, loaded=("e1000e", "vfio-pci"))
    assert machine.run(shell) == (TAKEN,)
    assert machine.drivers() == ("e1000e", "vfio-pci")
    assert not (tmp_path / "loaded").exists()


@pytest.mark.parametrize("shell", SHELLS, ids=lambda shell: shell[0])
def test_it_tells_initramfs_tools_that_it_waits_for_nothing(shell: tuple[str, ...]) -> None:
    argv = (program(shell[0]), *shell[1:], "-c", script("bind.sh").decode(), "bind", "prereqs")
    done = subprocess.run(argv, capture_output=True, text=True, check=True, timeout=60)
    assert (done.stdout, done.stderr) == ("\n", "")
