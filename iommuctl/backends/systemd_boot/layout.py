# SPDX-License-Identifier: Apache-2.0
"""Layout: what boots a host by systemd-boot, which of it boots by default, and who writes it."""

from collections.abc import Iterable, Mapping
from contextlib import suppress
from pathlib import PurePosixPath
from types import MappingProxyType

from iommuctl.backends.detection.bootmounts import distinct, unmounted
from iommuctl.backends.entries import cmdlinefile, survey
from iommuctl.backends.entries.survey import FoundEntry, Reading
from iommuctl.backends.systemd_boot import builders, images, menu
from iommuctl.backends.systemd_boot.builder import Builder
from iommuctl.backends.systemd_boot.images import Image
from iommuctl.backends.systemd_boot.menu import Item
from iommuctl.backends.systemd_boot.wrappers import Wrapper, wrapper_of
from iommuctl.errors import BootConfigError, UnavailableError
from iommuctl.facts import Facts, Runtime
from iommuctl.findings import Finding, Rule, Severity
from iommuctl.formats.blsentry import BlsEntry
from iommuctl.formats.kernelcmdline import KERNEL_CMDLINE
from iommuctl.formats.peimage import parse_image
from iommuctl.kernel.cmdline import Cmdline
from iommuctl.tree import Tree
from iommuctl.value import NamedTuple

_ENTRIES = PurePosixPath("loader/entries")


class Layout(NamedTuple):
    """What boots a host: its entries and images, and who writes them.

    `menu` is what the loader lists, in its order, `boots` which of it by default, `items` the entries' lines of it.
    """

    found: tuple[FoundEntry, ...]
    images: tuple[Image, ...]
    wrapper: Wrapper | None
    builder: Builder | None
    menu: tuple[Item, ...] = ()
    boots: Item | None = None
    items: Mapping[PurePosixPath, Item] = MappingProxyType({})

    @property
    def ours(self) -> tuple[FoundEntry, ...]:
        """The entries of this system."""
        return tuple(each for each in self.found if each.ours)

    @property
    def basis(self) -> FoundEntry | None:
        """The entry of this system that a new source is made of: the default one, else the first of the menu."""
        return next((each for each in self.ours if each.is_basis), next(iter(self.ours), None))

    @property
    def wrapped(self) -> tuple[FoundEntry, ...]:
        """The entries of this system that the wrapper writes."""
        return tuple(each for each in self.ours if self.wrapper and each.entry.id.endswith(self.wrapper.writes))

    @property
    def newest_image(self) -> Image | None:
        """The image of this system that is the first of them in the menu."""
        own = {each.item: each for each in self.built}
        return next((own[item] for item in self.menu if item in own), None)

    @property
    def own_item(self) -> Item | None:
        """The first line of the menu that is of this system."""
        own = {*(self.items.get(each.entry.path) for each in self.ours), *(each.item for each in self.built)}
        return next((item for item in self.menu if item in own), None)

    def started(self, found: FoundEntry) -> Image | None:
        """The image of this system that an entry starts with nothing but what is inside; None where it does not."""
        item, path = self.items.get(found.entry.path), image_path(found.entry)
        if item is None or path is None or found.entry.options or found.entry.value("extra") is not None:
            return None
        same = (each for each in self.built if each.path == path and each.item is not None)
        return next((each for each in same if each.item and each.item.profile == item.profile), None)

    @property
    def built(self) -> tuple[Image, ...]:
        """The images of this system."""
        return tuple(each for each in self.images if each.left_alone is None)

    @property
    def rebuilt(self) -> tuple[Image, ...]:
        """The images of this system where a builder is there that makes them anew."""
        return self.built if self.builder is not None else ()

    @property
    def is_empty(self) -> bool:
        """Whether no entry and no image is there, whoever's, as before the first kernel of an image."""
        return not self.found and not self.images

    @property
    def is_seen(self) -> bool:
        """Whether anything that boots can be seen."""
        return bool(self.ours or self.built or self.builder) or self.hides_entries

    @property
    def hides_entries(self) -> bool:
        """Whether the entries are on file systems that are mounted only while their wrapper runs."""
        return self.wrapper is not None and self.wrapper.hides_entries


def look_anyhow(tree: Tree, facts: Facts) -> tuple[Layout, tuple[Finding, ...]]:
    """Look at a host; images that cannot be built anew are a finding, for there is still something to show."""
    try:
        return look(tree, facts), ()
    except (UnavailableError, BootConfigError) as error:
        finding = Finding(Rule.UNIFIED_IMAGE_REFUSED, Severity.WARNING, error.brief, hint=error.hint)
        return look(tree, facts, builds=False), (finding,)


def look(tree: Tree, facts: Facts, *, builds: bool = True) -> Layout:
    """Look at a host; `builds` says whether it has to be known who builds its images.

    Raises UnavailableError where nothing that boots can be seen, and what `builders.builder_of` raises.
    """
    wrapper = wrapper_of(tree)
    found = survey.survey_entries(tree, facts, distinct(tree, _ENTRIES), _reading(tree, facts.runtime))
    layout = Layout(found, (), wrapper, None)
    layout = _with_menu(tree, facts, layout._replace(images=images.images(tree, _booted(tree, facts, layout))))
    if builds and layout.images and wrapper is None:
        layout = layout._replace(builder=builders.builder_of(tree, facts, layout.built))
    if layout.is_seen:
        return layout
    missing = unmounted(tree, facts.runtime)
    if not missing and facts.runtime is None and layout.is_empty and survey.has_source(tree):
        return layout
    if missing:
        raise UnavailableError(
            f"the boot file system {str(missing[0])!r} is not mounted",
            hint=f"mount {missing[0]}, then run the same again",
        )
    raise UnavailableError(
        "no boot entry of this system on the boot file systems",
        details=(
            *(f"{each.entry.path}: {each.reason}" for each in layout.found),
            *(f"{each.path}: {each.left_alone}" for each in layout.images),
        ),
        hint=survey.claim(layout.found) or _way_on(layout),
    )


def _way_on(layout: Layout) -> str:
    """Return what gets on where nothing of this system can be seen: an image is there to be extended, or is missing."""
    if not layout.images:
        return "mount the ESP (bootctl --print-esp-path tells where), then run the same command again"
    path = layout.images[0].path
    return f"add an addon next to it (ukify build --cmdline=… --output={path}.extra.d/iommuctl.addon.efi)"


def _booted(tree: Tree, facts: Facts, layout: Layout) -> Cmdline | None:
    """What tells whose an image is: what runs; in another root the default entry, else what images are built of."""
    if facts.runtime is not None:
        return Cmdline.parse(facts.runtime.cmdline)
    if layout.basis is not None:
        return layout.basis.cmdline
    files = (cmdlinefile.read_file(tree, path) for path in (KERNEL_CMDLINE, cmdlinefile.VENDOR))
    return next((file.cmdline for file in files if file is not None and file.cmdline.named("root")), None)


def _reading(tree: Tree, runtime: Runtime | None) -> Reading:
    def cmdline(entry: BlsEntry) -> Cmdline:
        return Cmdline.parse(" ".join(line.unquoted for line in entry.options))

    def default(candidates: Iterable[BlsEntry]) -> BlsEntry | None:
        items = {item: entry for entry in candidates if (item := menu.entry_item(entry)) is not None}
        first = menu.chosen(menu.in_order(items), wishes, by_stem=True)
        return None if first is None else items[first]

    def starts_image(entry: BlsEntry) -> bool:
        return entry.names_image or (entry.value("efi") is not None and _is_image(tree, image_path(entry)))

    wishes = tuple(menu.wishes(tree, runtime))
    return Reading(cmdline, default, starts_image)


def image_path(entry: BlsEntry) -> PurePosixPath | None:
    """The program that an entry starts, on its own file system; None where it names none."""
    program = entry.value("uki") or entry.value("efi")
    path = None if program is None else entry.path.parents[2] / program.replace("\\", "/").lstrip("/")
    return None if path is None or ".." in path.parts else path


def _is_image(tree: Tree, path: PurePosixPath | None) -> bool:
    """Whether a program is a unified kernel image."""
    if path is None or not tree.read_part(path, 0, 2):
        return False
    with suppress(BootConfigError):
        return parse_image(path, lambda start, size: tree.read_part(path, start, size) or b"").has_kernel
    return False


def _with_menu(tree: Tree, facts: Facts, layout: Layout) -> Layout:
    """The layout with its menu, entries and images in one, and with the one entry marked that boots by default."""
    items = {each.entry.path: item for each in layout.found if (item := menu.entry_item(each.entry)) is not None}
    listed = menu.in_order((*items.values(), *(each.item for each in layout.images if each.item is not None)))
    boots = menu.chosen((*listed, *menu.found_items(tree)), menu.wishes(tree, facts.runtime))
    found = tuple(
        each._replace(default=boots is not None and items.get(each.entry.path) == boots) for each in layout.found
    )
    return layout._replace(found=found, menu=listed, boots=boots, items=items)
