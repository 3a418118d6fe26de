# SPDX-License-Identifier: Apache-2.0
"""Layout: what boots a host by systemd-boot, which of it boots by default, and who writes it."""

from collections.abc import Iterable, Iterator
from fnmatch import fnmatchcase
from pathlib import PurePosixPath
from typing import NamedTuple

from iommuctl.backends.detection.bootmounts import MOUNT_POINTS, distinct, unmounted
from iommuctl.backends.entries import cmdlinefile, survey
from iommuctl.backends.entries.survey import FoundEntry, Reading
from iommuctl.backends.systemd_boot import images
from iommuctl.backends.systemd_boot.images import Builder, Image
from iommuctl.backends.systemd_boot.wrappers import Wrapper, wrapper_of
from iommuctl.errors import BootConfigError, UnavailableError
from iommuctl.facts import Facts, Runtime
from iommuctl.findings import Finding, Rule, Severity
from iommuctl.formats.blsentry import BlsEntry, identity
from iommuctl.formats.kernelcmdline import KERNEL_CMDLINE
from iommuctl.kernel.cmdline import Cmdline
from iommuctl.tree import Tree

_ENTRIES = PurePosixPath("loader/entries")
_SETTINGS = PurePosixPath("loader/loader.conf")
_BY_PATTERN = "@"  # what begins so names no entry (loader.conf(5))
_SAVED = "@saved"  # the entry that booted last


class Layout(NamedTuple):
    """What boots a host: its entries and images, and who writes them."""

    found: tuple[FoundEntry, ...]
    images: tuple[Image, ...]
    wrapper: Wrapper | None
    builder: Builder | None

    @property
    def ours(self) -> tuple[FoundEntry, ...]:
        """The entries of this system."""
        return tuple(each for each in self.found if each.ours)

    @property
    def default(self) -> FoundEntry | None:
        """The entry that boots by default, where it is one of this system's."""
        return next((each for each in self.ours if each.default), next(iter(self.ours), None))

    @property
    def wrapped(self) -> tuple[FoundEntry, ...]:
        """The entries of this system that the wrapper writes."""
        return tuple(each for each in self.ours if self.wrapper and each.entry.id.endswith(self.wrapper.writes))

    @property
    def built(self) -> tuple[Image, ...]:
        """The images of this system."""
        return tuple(each for each in self.images if each.left_alone is None)

    @property
    def is_seen(self) -> bool:
        """Whether anything that boots can be seen."""
        hidden = self.wrapper is not None and self.wrapper.hides_entries
        return bool(self.ours or self.built or self.builder) or hidden


def look_anyhow(tree: Tree, facts: Facts) -> tuple[Layout, tuple[Finding, ...]]:
    """Look at a host; images that cannot be built anew are a finding, for there is still something to show."""
    try:
        return look(tree, facts), ()
    except (UnavailableError, BootConfigError) as error:
        finding = Finding(Rule.UNIFIED_IMAGE_REFUSED, Severity.WARNING, error.brief, hint=error.hint)
        return look(tree, facts, builds=False), (finding,)


def look(tree: Tree, facts: Facts, *, builds: bool = True) -> Layout:
    """Look at a host; `builds` says whether it has to be known who builds its images.

    Raises UnavailableError where nothing that boots can be seen, and what `images.builder_of` raises.
    """
    wrapper = wrapper_of(tree)
    found = survey.survey_entries(tree, facts, distinct(tree, _ENTRIES), _reading(tree, facts.runtime))
    layout = Layout(found, (), wrapper, None)
    layout = layout._replace(images=images.images(tree, _booted(tree, facts, layout)))
    if builds and layout.images and wrapper is None:
        layout = layout._replace(builder=images.builder_of(tree, facts, layout.built))
    if layout.is_seen:
        return layout
    missing = unmounted(tree, facts.runtime)
    if missing:
        raise UnavailableError(
            f"the boot file system {str(missing[0])!r} is not mounted",
            hint=f"mount {missing[0]}, then run the same again",
        )
    raise UnavailableError(
        "no boot entry of this system on the boot file systems",
        details=tuple(f"{each.entry.path}: {each.reason}" for each in layout.found),
        hint=survey.claim(layout.found)
        or "mount the ESP (bootctl --print-esp-path tells where), then run the same command again",
    )


def _booted(tree: Tree, facts: Facts, layout: Layout) -> Cmdline | None:
    """What tells whose an image is: what runs; in another root the default entry, else what images are built of."""
    if facts.runtime is not None:
        return Cmdline.parse(facts.runtime.cmdline)
    if layout.default is not None:
        return layout.default.cmdline
    files = (cmdlinefile.read_file(tree, path) for path in (KERNEL_CMDLINE, cmdlinefile.VENDOR))
    return next((file.cmdline for file in files if file is not None and file.cmdline.named("root")), None)


def _reading(tree: Tree, runtime: Runtime | None) -> Reading:
    def cmdline(entry: BlsEntry) -> Cmdline:
        return Cmdline.parse(" ".join(line.unquoted for line in entry.options))

    def default(candidates: Iterable[BlsEntry]) -> BlsEntry | None:
        listed = survey.by_specification(candidates)
        named = (survey.matching(listed, pattern) for pattern in _default_patterns(tree, runtime))
        return next((entry for entry in named if entry is not None), None) or next(iter(listed), None)

    return Reading(cmdline, default)


def _default_patterns(tree: Tree, runtime: Runtime | None) -> Iterator[str]:
    """What names the default entry: the variable that bootctl set-default writes, then each loader.conf."""
    named = [] if runtime is None or runtime.entry_default is None else [runtime.entry_default]
    for point in MOUNT_POINTS:
        lines = (tree.read(point / _SETTINGS) or b"").decode("utf-8", "replace").split("\n")
        words = (line.split(None, 1) for line in lines)
        named += [each[1].strip() for each in words if len(each) > 1 and each[0] == "default"][-1:]
    for pattern in named:
        if pattern == _SAVED and runtime is not None and runtime.entry_selected is not None:
            yield identity(PurePosixPath(runtime.entry_selected)).name
        elif not pattern.startswith(_BY_PATTERN):
            yield pattern


def default_image(tree: Tree, facts: Facts, layout: Layout) -> Image | None:
    """The image that boots by default: the first that is named, else the newest where there is no entry."""
    newest = images.newest_first(layout.built)
    entry = layout.default
    for pattern in _default_patterns(tree, facts.runtime):
        if entry is not None and survey.matching((entry.entry,), pattern):
            return None
        named = next((each for each in newest if fnmatchcase(each.id.lower(), pattern.lower())), None)
        if named is not None:
            return named
    return next(iter(newest), None) if entry is None else None
