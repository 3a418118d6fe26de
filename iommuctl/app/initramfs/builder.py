# SPDX-License-Identifier: Apache-2.0
"""Builder: which tool builds the initramfs of a root, with which commands, and where its images are. Reading only."""

from collections.abc import Callable, Iterable
from pathlib import PurePosixPath

from iommuctl.app.initramfs.mechanism import FOR_DRACUT, FOR_INITRAMFS_TOOLS, OwnFile
from iommuctl.plan import Command
from iommuctl.tree import Tree
from iommuctl.value import NamedTuple

BOOT = PurePosixPath("/boot")
_KEPT_PREFIX = "iommuctl-kept-"  # neither grub-mkconfig nor a builder looks for such a name
_HALF_SUFFIX = ".half"
_NEW_SUFFIX = ".iommuctl-new"
_HOLDS = "the image of {} has to hold the script that binds devices"
_CHECKED = "the image of {} holds the script that binds devices, and vfio-pci"


class Image(NamedTuple):
    """An initramfs by the release of its kernel. `is_kept`: what is there now is kept, for this kernel runs.

    `shows` is what a listing of it must have, each a part of a name.
    """

    release: str
    path: PurePosixPath
    shows: tuple[str, ...]
    is_kept: bool = False

    @property
    def kept(self) -> PurePosixPath:
        """Where the image from before is kept."""
        return self.path.with_name(f"{_KEPT_PREFIX}{self.path.name}")

    def keeping(self) -> tuple[Command, ...]:
        """Return the commands that keep what is there now; none where nothing is to be kept."""
        if not self.is_kept:
            return ()
        reason = f"the image that {self.release} boots with is kept until the new one has booted"
        half = f"{self.kept}{_HALF_SUFFIX}"
        return (
            Command(("cp", "-p", str(self.path), half), reason),
            Command(("sync", half), "the copy is on disk before the image changes"),
            Command(("mv", "-f", half, str(self.kept)), "the copy is whole"),
        )

    def undone_by(self, otherwise: tuple[str, ...]) -> tuple[str, ...]:
        """Return the command that takes a new image back: to the one that was kept, else `otherwise`."""
        return ("mv", "-f", str(self.kept), str(self.path)) if self.is_kept else otherwise


class Builder(NamedTuple):
    """A tool that builds images: how it shows itself, the files of ours that it reads, its image of the script.

    `names` are those of images in /boot, with `{}` for the release. `every` builds all images, as somebody types it.
    """

    name: str
    programs: tuple[PurePosixPath, ...]
    files: tuple[OwnFile, ...]
    script: str
    names: tuple[str, ...]
    every: tuple[str, ...]
    build: Callable[[Image], tuple[Command, ...]]


def _by_initramfs_tools(image: Image) -> tuple[Command, ...]:
    """It writes next to the image, renames, and runs the hooks of who copies images (update-initramfs, 0.142)."""
    argv = ("update-initramfs", "-u", "-k", image.release)
    return (
        *image.keeping(),
        Command(argv, _HOLDS.format(image.release), undo=image.undone_by(argv)),
        Command(("lsinitramfs", str(image.path)), _CHECKED.format(image.release), shows=image.shows),
    )


def _by_dracut(image: Image) -> tuple[Command, ...]:
    """It copies over the image (dracut's own code, 059 and 106), so it writes next to it and the outcome is renamed."""
    new = str(image.path.with_name(f"{image.path.name}{_NEW_SUFFIX}"))
    again = ("dracut", "--force", str(image.path), image.release)
    return (
        Command(("dracut", "--force", new, image.release), _HOLDS.format(image.release), undo=("rm", "-f", new)),
        Command(("lsinitrd", new), _CHECKED.format(image.release), shows=image.shows),
        *image.keeping(),
        Command(
            ("mv", "-f", new, str(image.path)), f"{image.release} boots with the new image", undo=image.undone_by(again)
        ),
    )


_SBIN, _BIN = PurePosixPath("/usr/sbin"), PurePosixPath("/usr/bin")
BUILDERS = (
    Builder(
        "initramfs-tools",
        (_SBIN / "update-initramfs", _SBIN / "mkinitramfs"),
        FOR_INITRAMFS_TOOLS,
        "scripts/init-top/iommuctl-vfio",
        ("initrd.img-{}",),
        ("update-initramfs", "-u", "-k", "all"),
        _by_initramfs_tools,
    ),
    Builder(
        "dracut",
        (_BIN / "dracut",),
        FOR_DRACUT,
        "hooks/pre-udev/30-iommuctl-vfio.sh",
        ("initramfs-{}.img", "initrd.img-{}", "initrd-{}"),
        ("dracut", "--force", "--regenerate-all"),
        _by_dracut,
    ),
)
# What builds images too, and has nothing of ours in them: packages tiny-initramfs, mkinitcpio, booster.
_OTHERS = (_SBIN / "mktirfs", _BIN / "mkinitcpio", _BIN / "booster")
_BUILTIN = PurePosixPath("/lib/modules")
_MODULE = "/vfio-pci.ko"


def builder_of(tree: Tree) -> Builder | None:
    """Return the one tool that builds the images of a root; None where it is another one, or more than one is there."""
    others = [path for path in _OTHERS if _is_there(tree, path)]
    found = [one for one in BUILDERS if all(_is_there(tree, path) for path in one.programs)]
    return found[0] if len(found) == 1 and not others else None


def images_of(tree: Tree, builder: Builder, releases: Iterable[str], booted: str | None) -> tuple[Image, ...]:
    """Return the images of these kernels that are there, that of the booted kernel last: by then the others went well.

    It is kept, unless one is kept there already: that has booted, and what replaced it may not have.
    """
    names = frozenset(tree.names(BOOT))
    found: list[Image] = []
    for release in sorted(releases, key=lambda one: (one == booted, one)):
        name = next((name for one in builder.names if (name := one.format(release)) in names), None)
        if name is None:
            continue
        builtin = tree.read(_BUILTIN / release / "modules.builtin") or b""
        shows = (builder.script,) if f"{_MODULE}\n".encode() in builtin else (builder.script, _MODULE)
        image = Image(release, BOOT / name, shows)
        found.append(image._replace(is_kept=release == booted and image.kept.name not in names))
    return tuple(found)


def kept_images(tree: Tree) -> tuple[tuple[PurePosixPath, PurePosixPath], ...]:
    """Return the images that are kept, each with the path that it was taken from."""
    kept = (name for name in tree.names(BOOT) if name.startswith(_KEPT_PREFIX) and not name.endswith(_HALF_SUFFIX))
    return tuple((BOOT / name, BOOT / name.removeprefix(_KEPT_PREFIX)) for name in kept)


def _is_there(tree: Tree, path: PurePosixPath) -> bool:
    return path.name in tree.names(path.parent)
