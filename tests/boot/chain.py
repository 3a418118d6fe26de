# SPDX-License-Identifier: Apache-2.0
"""Chain: the boots of one host, each of which verifies what the boot before it prepared, and prepares the next.

The guest runs the installed iommuctl. A boot applies the next profile, has the bootloader choose the next kernel by its
own tool, and powers off; the next one goes through the real bootloader and hands over what `verify` and sysfs say. The
first boot verifies the default line before it applies anything. One profile is held over a kernel that is installed
after it, by dpkg and its hooks, and over its removal; QEMU starts that kernel once by itself with the default line.
With the last profile before a rollback, other parameters are asked for next to it (beside.py).
"""

import json
import re
import shlex
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from enum import StrEnum
from pathlib import Path

from boot import beside, cells, machine, recipes
from boot.archive import Archive
from boot.cells import Cell, Expected, Found, Step
from boot.guest import Job
from boot.images import Image
from boot.machine import Boot, Firmware, Iommu, Kernel, Machine
from boot.recipes import Loader, Recipe, Suite

from iommuctl.facts import KernelVersion, Platform
from iommuctl.kernel.predict import DomainType
from iommuctl.profile.shipped import shipped_catalogue

_VENDORS = {Platform.INTEL: "GenuineIntel", Platform.AMD: "AuthenticAMD", Platform.ARM64: ""}
_BACKENDS = {
    Loader.GRUB_BIOS: "grub2",
    Loader.GRUB_UEFI: "grub2",
    Loader.GRUB_BLS: "bls",
    Loader.SD_BOOT: "systemd-boot",
    Loader.SD_BOOT_UKI: "systemd-boot",
    Loader.GRUB_ARM64: "grub2",
}
# What a rollback must give back byte for byte; a generated menu and GRUB's environment are not among them.
_SOURCES = "/etc/default/grub /etc/kernel/cmdline /boot/loader/entries/*.conf /boot/efi/loader/entries/*.conf"
_KERNEL_FILES = ("vmlinuz", "initrd.img")
_SNAPSHOT = re.compile(r"^snapshot (\S+);", re.MULTILINE)
_HEAD = re.compile(r"(?:apply|rollback) .*\(.*backend (\S+)\)\n")
_FUNCTIONS = f"""
DEBIAN_FRONTEND=noninteractive
export DEBIAN_FRONTEND
sources() {{ for file in {_SOURCES}; do [ ! -f "$file" ] || sha256sum "$file"; done; }}
told() {{
    name=$1
    shift
    iommuctl "$@" >"/run/result/$name" 2>"/run/result/$name.err"
    code=$?
    echo "$code" >"/run/result/$name.code"
    [ "$code" -le 1 ] || {{ echo "iommuctl $*: exit code $code"; cat "/run/result/$name.err"; }}
}}
"""


class Occasion(StrEnum):
    """Why there is a boot, in words where it is another one than that a profile was applied or rolled back."""

    CHANGED = ""
    FRESH = "before any apply"
    NEXT = "a kernel installed after it"
    DIRECT = "that kernel, started by QEMU"
    AFTER_NEXT = "that kernel removed"


@dataclass(frozen=True, slots=True)
class Stop:
    """One boot of a chain: of which kernel, why, and whether other parameters were asked for next to the profile."""

    cell: Cell
    release: str
    occasion: Occasion = Occasion.CHANGED
    has_beside: bool = False

    @property
    def name(self) -> str:
        """What is booted, in words."""
        said = ", ".join(text for text in (self.occasion, beside.WORDS if self.has_beside else "") if text)
        return f"{self.cell}{f' ({said})' if said else ''}"


@dataclass(frozen=True, slots=True)
class Record:
    """How a stop came out, and which kernel ran; `problems` is empty where it showed what it must."""

    stop: Stop
    suite: str
    expected: Expected
    found: Found
    booted: str
    seconds: float
    retries: int
    problems: tuple[str, ...]


def plan(recipe: Recipe, chosen: Iterable[Cell], releases: dict[Suite, str], next_release: str) -> list[Stop]:
    """Order the cells of one host: like machines together, rollbacks last, the next kernel before the last it suits."""
    ours = [cell for cell in chosen if recipes.recipe_for(cell.loader, cell.kernel) == recipe]
    ordered = sorted(ours, key=lambda cell: (cell.step is Step.ROLLBACK, cell.iommu is Iommu.AMD, cell))
    newest = recipe.kernels[-1]  # that every bootloader starts where nothing else was chosen
    fresh = replace(ordered[0], step=Step.NOTHING, kernel=newest)
    stops = [Stop(fresh, releases[newest], Occasion.FRESH), *(Stop(cell, releases[cell.kernel]) for cell in ordered)]
    # The next kernel is Debian's for clouds, which is built without AMD's driver.
    suited = [at for at, stop in enumerate(stops) if _suits_next(stop.cell)]
    if suited and _takes_next(recipe):
        at = suited[-1]
        coming = [Stop(stops[at].cell, next_release, Occasion.NEXT)]
        if _starts_directly(recipe):
            direct = replace(fresh, iommu=Iommu.INTEL, kernel=recipe.suite)
            coming.append(Stop(direct, next_release, Occasion.DIRECT))
        stops[at] = replace(stops[at], occasion=Occasion.AFTER_NEXT)
        stops[at:at] = coming
    last = next((at for at, stop in enumerate(stops) if stop.cell.step is Step.ROLLBACK), 0) - 1
    if last > 0 and recipe.loader in beside.LOADERS and stops[last].occasion is Occasion.CHANGED:
        stops[last] = replace(stops[last], has_beside=True)
    return stops


def _suits_next(cell: Cell) -> bool:
    return cell.iommu is Iommu.INTEL and not cell.step.is_default and cell.step is not Step.OFF


def _takes_next(recipe: Recipe) -> bool:
    """Whether it is the first host with its bootloader: another one has the same scripts."""
    return recipe == next(one for one in recipes.RECIPES if one.loader is recipe.loader)


def _starts_directly(recipe: Recipe) -> bool:
    """Whether it is the last PC of its suite: the next kernel is the same for them all."""
    return recipe == [one for one in recipes.RECIPES if one.suite is recipe.suite and not one.is_foreign][-1]


def drive(image: Image, stops: list[Stop], wheel: Path, folder: Path) -> Iterator[Record]:
    """Boot a host once for every stop; the first one installs the wheel as well."""
    fresh, *others = stops
    own = image.copy(folder, fresh.cell.iommu, _VENDORS[fresh.cell.platform])
    added = Archive(image.recipe.suite).kernel("linux-image-cloud-amd64")
    packages = {path.name: path.read_bytes() for path in Archive(image.recipe.suite).slim(added)}
    state = _State(image.recipe, added.release, added.names, packages)
    install = f"{recipes.install_wheel(wheel.name)}\nsources >/run/result/before\n"
    files = {wheel.name: wheel.read_bytes()}
    boot = _boot(own, fresh, install, _coming(others), state, files, folder / "00")
    assert boot.ended, f"{image.recipe.name}: the first profile was not applied: {boot.told()}"
    before, default, prepared = boot.text("before"), boot.text("cmdline"), boot
    yield _record(fresh, image, boot, boot, before, default)
    for number, stop in enumerate(others, 1):
        place = folder / f"{number:02}"
        if stop.occasion is Occasion.DIRECT:
            yield _record(
                stop, image, prepared, _start_directly(own, stop, image.recipe, prepared, place), before, default
            )
            continue
        state.note(prepared)
        boot = _boot(own, stop, "", _coming(others[number:]), state, {}, place)
        yield _record(stop, image, prepared, boot, before, default)
        prepared = boot


def _coming(stops: list[Stop]) -> Stop | None:
    """The next boot that the bootloader makes."""
    return next((stop for stop in stops if stop.occasion is not Occasion.DIRECT), None)


def _start_directly(own: Machine, stop: Stop, recipe: Recipe, prepared: Boot, folder: Path) -> Boot:
    """Start the kernel that the boot before handed over past the bootloader, with the host's default line."""
    folder.mkdir(parents=True)
    for name in _KERNEL_FILES:
        (folder / name).write_bytes(prepared.result.get(name, b""))
    image, initrd = (folder / name for name in _KERNEL_FILES)
    direct = replace(
        own,
        iommu=stop.cell.iommu,
        cpu_vendor=_VENDORS[stop.cell.platform],
        firmware=Firmware.BIOS,
        variables=None,
        kernel=Kernel(image, initrd, recipe.cmdline),
        job=Job("\n".join((_FUNCTIONS, *_look(stop), "exit 0\n")), {}),
    )
    return machine.run(direct, folder)


class _State:
    """What has to be known of a host from one boot to the next: the snapshot before which nothing was applied."""

    def __init__(self, recipe: Recipe, added: str, names: tuple[str, ...], packages: dict[str, bytes]) -> None:
        self.recipe, self.added, self.names, self.packages = recipe, added, names, packages
        self.first: str | None = None

    def note(self, boot: Boot) -> None:
        """Take the first snapshot's id from what an apply said."""
        said = _SNAPSHOT.search(boot.text("apply"))
        if self.first is None and said is not None:
            self.first = said[1]


def _boot(
    own: Machine, now: Stop, begin: str, coming: Stop | None, state: _State, files: dict[str, bytes], folder: Path
) -> Boot:
    script = [_FUNCTIONS, begin, *_look(now)]
    if coming is not None:
        script += _prepare(now, coming, state)
        files = {**files, **(state.packages if coming.occasion is Occasion.NEXT else {})}
    booting = replace(
        own,
        iommu=now.cell.iommu,
        cpu_vendor=_VENDORS[now.cell.platform],
        memory=beside.MEMORY if now.has_beside else own.memory,
        job=Job("\n".join([*script, "exit 0\n"]), files),
    )
    return machine.run(booting, folder)


def _look(stop: Stop) -> Iterator[str]:
    """The commands that tell what a boot is like; the files of a kernel that is soon removed are handed over."""
    yield f"told verify verify {stop.cell.step.profile} --json"
    yield "sources >/run/result/sources"
    if stop.has_beside:
        yield "told beside verify --json"
        yield f"cp {beside.PAGES} /run/result/pages"
    if stop.occasion is Occasion.NEXT:
        yield from (f"cp /boot/{name}-{stop.release} /run/result/{name} || exit 3" for name in _KERNEL_FILES)


def _prepare(now: Stop, coming: Stop, state: _State) -> Iterator[str]:
    """The commands that make the next boot what it is to be."""
    step = coming.cell.step
    same = now.occasion is Occasion.NEXT
    # JSON costs two seconds under emulation, and only of what changes something does the text name the backend.
    form = ("--json",) if now.cell.step is step else ()
    if step is Step.ROLLBACK:
        if state.first is None:
            yield f"told apply apply {Step.PASSTHROUGH} --yes"
            yield "first=$(sed -n 's/^snapshot \\(.*\\);.*/\\1/p' /run/result/apply)"
        else:
            yield f"first={shlex.quote(state.first)}"
        yield " ".join(("told", "rollback", "rollback", "--yes", '"$first"', *form))
    elif not same:
        # By itself apply asks the processor; the next machine may have another.
        platform = () if now.cell.platform is coming.cell.platform else ("--platform", coming.cell.platform.value)
        more = beside.OPTIONS if coming.has_beside else ()
        yield " ".join(("told", "apply", "apply", step.value, "--yes", *more, *platform, *form))
    if coming.occasion is Occasion.NEXT:
        yield "dpkg --install ./linux-*.deb || exit 3"
    if same:
        # It is the running one: the answer of an administrator who is asked whether to abort.
        yield "echo 'linux-base linux-base/removing-running-kernel boolean false' | debconf-set-selections"
        yield f"dpkg --purge {' '.join(state.names)} || exit 3"
        yield f"[ ! -e /boot/vmlinuz-{state.added} ] || exit 3"
    yield f"{_choose(state.recipe.loader, coming.release)} || exit 4"


def _choose(loader: Loader, release: str) -> str:
    """The command by which a bootloader's own tool chooses the kernel of the next boot, once."""
    entry = f"{recipes.MACHINE_ID}-{release}"
    match loader:
        case Loader.GRUB_BIOS | Loader.GRUB_UEFI | Loader.GRUB_ARM64:
            advanced = f"gnulinux-advanced-{recipes.ROOT_UUID}>gnulinux-{release}-advanced-{recipes.ROOT_UUID}"
            return f"grub-reboot '{advanced}'"
        case Loader.GRUB_BLS:
            # By its title: with an id that begins with a digit, GRUB 2.14 was seen to boot another entry.
            return f"grub-reboot 'Debian GNU/Linux {release}'"
        case Loader.SD_BOOT:
            return f"bootctl set-oneshot {entry}.conf"
        case Loader.SD_BOOT_UKI:
            return f"bootctl set-oneshot {entry}.efi"


def _record(stop: Stop, image: Image, prepared: Boot, boot: Boot, before: str, default: str) -> Record:
    version = KernelVersion.parse(stop.release)
    assert version is not None
    expected = cells.expect(stop.cell.iommu, stop.cell.step, version, shipped_catalogue())
    report = _json(boot, "verify")
    groups = [line.split() for line in boot.text("groups").splitlines()]
    found = Found(
        frozenset(words[1] for words in groups if len(words) == 2),
        str(report.get("verdict")),
        None if (by := report.get("by")) is None else str(by),
        int(boot.text("verify.code") or -1),
    )
    problems = list(_of_the_way(stop, image.recipe, prepared, boot))
    problems += cells.judge(expected, found)
    if expected.type is not DomainType.OFF and not groups:
        problems.append("there is no group")
    if stop.cell.step is Step.ROLLBACK and boot.text("sources") != before:
        problems.append(f"not as before:\n{before}after the rollback:\n{boot.text('sources')}")
    if stop.cell.step is Step.ROLLBACK:
        problems += beside.judge_rollback(default, boot.text("cmdline"))
    if stop.has_beside:
        problems += beside.judge(default, boot.text("cmdline"), boot.text("pages"), _json(boot, "beside"))
    if problems:
        problems.append(f"verify: {boot.text('verify')}{boot.text('verify.err')}")
        problems.append(f"the boot before: {prepared.text('log')}")
        problems.append(boot.told())
    booted = boot.text("release").strip()
    return Record(stop, str(image.recipe.suite), expected, found, booted, boot.seconds, boot.retries, tuple(problems))


def _of_the_way(stop: Stop, recipe: Recipe, prepared: Boot, boot: Boot) -> Iterator[str]:
    """What was wrong before anything could be verified."""
    if not boot.ended:
        yield "the machine did not come to the end of its job"
    if boot.text("release").strip() != stop.release:
        yield f"kernel {stop.release} expected, {boot.text('release').strip()!r} booted"
    done = "rollback" if stop.cell.step is Step.ROLLBACK else "apply"
    if stop.occasion in {Occasion.FRESH, Occasion.DIRECT, Occasion.AFTER_NEXT}:
        return
    if prepared.text(f"{done}.code").strip() != "0":
        yield f"{done} ended with {prepared.text(f'{done}.code').strip()!r}: {prepared.text(f'{done}.err')}"
    if (backend := told_backend(prepared, done)) != _BACKENDS[recipe.loader]:
        yield f"backend {_BACKENDS[recipe.loader]} expected, {backend} found"


def told_backend(boot: Boot, done: str) -> object:
    """Return the backend that an apply or a rollback named, in its JSON or at the head of its text; else None."""
    head = _HEAD.match(boot.text(done))
    return _json(boot, done).get("backend") if head is None else head[1]


def _json(boot: Boot, name: str) -> dict[str, object]:
    text = boot.text(name)
    try:
        report = json.loads(text) if text else {}
    except json.JSONDecodeError:
        return {}
    return report if isinstance(report, dict) else {}
