# SPDX-License-Identifier: Apache-2.0
"""/etc/default/grub and its drop-ins as grub-mkconfig reads them: files in, the two variables and their value out."""

from collections.abc import Collection
from functools import cache
from pathlib import PurePosixPath

from iommuctl.backends.grub.distributions import GrubFamily
from iommuctl.errors import BootConfigError, NotRepresentableError
from iommuctl.formats.shell.assignments import Hazard, ShellFile, parse_shell_file
from iommuctl.formats.shell.stops import Stop, first_stop
from iommuctl.formats.shell.variables import Chain, chain
from iommuctl.formats.shell.words import Reach, Shell
from iommuctl.kernel.cmdline import Cmdline
from iommuctl.tree import Tree
from iommuctl.value import NamedTuple

MAIN = PurePosixPath("/etc/default/grub")
LINUX = "GRUB_CMDLINE_LINUX"
DEFAULT = "GRUB_CMDLINE_LINUX_DEFAULT"
DROP_INS = PurePosixPath("/etc/default/grub.d")
_MOST_BYTES = 128 * 1024  # of one file; the largest real one that is known has 40 kB, half of it comments
# How a grub-mkconfig that sources drop-ins names their directory, whatever its sysconfdir variable is called.
_DROP_INS_IN_SCRIPT = b"default/grub.d"
_PROGRAMS = tuple(
    PurePosixPath(path) for path in ("/usr/local/sbin", "/usr/local/bin", "/usr/sbin", "/usr/bin", "/sbin", "/bin")
)
# What grub-mkconfig sources before the settings: its functions are commands to them.
_LIBRARY = "grub-mkconfig_lib"
_LIBRARIES = (PurePosixPath("/usr/share/grub"), PurePosixPath("/usr/share/grub2"))
_OF_EVERY_SYSTEM = frozenset({"sh", "cat"})
_AT_RUNTIME = ("/dev/", "/proc/", "/run/", "/sys/")  # what is there when the settings are read is not in a tree
_SHELLS = tuple(PurePosixPath(path) for path in ("/bin/sh", "/usr/bin/sh"))
_HEAD = 64 * 1024  # bytes of a program, which tell it from any other


class Sources(NamedTuple):
    """The shell files that grub-mkconfig sources, in its order, and what they make of the two variables.

    10_linux writes `${GRUB_CMDLINE_LINUX} ${GRUB_CMDLINE_LINUX_DEFAULT}` into a normal entry, in that order, and only
    the first into a recovery entry (util/grub.d/10_linux.in).
    """

    files: tuple[ShellFile, ...]
    linux: Chain
    default: Chain

    @property
    def chains(self) -> tuple[Chain, Chain]:
        """The two variables in the order in which 10_linux joins them."""
        return self.linux, self.default

    @property
    def cmdline(self) -> Cmdline:
        """What a normal entry gets of them."""
        return Cmdline.parse(f"{self.linux.value} {self.default.value}".strip(" "))


def read(tree: Tree, family: GrubFamily) -> Sources:
    """Read and evaluate the sources.

    Raises BootConfigError, with file and line, where grub-mkconfig cannot source them, and NotRepresentableError for
    what it can, while what it makes of them is not known exactly.
    """
    files = read_files(tree, family)
    return Sources(files, chain(files, LINUX), chain(files, DEFAULT))


def read_files(tree: Tree, family: GrubFamily) -> tuple[ShellFile, ...]:
    """Read the files that grub-mkconfig sources, in its order. Raises what `read` raises."""
    paths = [MAIN, *(drop_ins(tree) if sources_drop_ins(tree, family) else ())]
    for path in paths:
        # Neither a plan in JSON nor a snapshot's manifest could name it.
        if not path.name.isprintable():
            message = "its name has control characters or is not UTF-8"
            raise NotRepresentableError(path, None, message, hint="rename the file")
    shell = shell_of(tree, family)
    contents = ((path, tree.read(path)) for path in paths)
    files = tuple(_parse(tree, path, content, shell) for path, content in contents if content is not None)
    _require_sourceable(tree, family, files)
    return files


def drop_ins(tree: Tree) -> tuple[PurePosixPath, ...]:
    """Return the drop-ins that a shell's `*.cfg` names: none that begins with a dot; sorted as in the C locale."""
    return tuple(DROP_INS / name for name in tree.names(DROP_INS) if name.endswith(".cfg") and name[0] != ".")


def sources_drop_ins(tree: Tree, family: GrubFamily) -> bool:
    """Whether the installed grub-mkconfig says so itself; by the distribution's row where it is not in the tree."""
    for path in _programs(family.mkconfig):
        script = tree.read(path)
        if script is not None:
            return _DROP_INS_IN_SCRIPT in script
    return family.drop_ins


def shell_of(tree: Tree, family: GrubFamily) -> Shell:
    """Return what /bin/sh is in a tree, by its content; the distribution's own where that does not tell."""
    own = next((head for path in _SHELLS if (head := _head(tree, path))), None)
    for shell in Shell if own else ():
        if any(own == _head(tree, path.with_name(shell.value)) for path in _SHELLS):
            return shell
    return family.shell


def decode(path: PurePosixPath, content: bytes) -> str:
    """Read a file's text. Raises NotRepresentableError with the line where it is not UTF-8."""
    try:
        return content.decode("utf-8")
    except UnicodeDecodeError as error:
        raise NotRepresentableError(path, content.count(b"\n", 0, error.start) + 1, "is not UTF-8") from error


def _parse(tree: Tree, path: PurePosixPath, content: bytes, shell: Shell) -> ShellFile:
    if len(content) > _MOST_BYTES:
        raise NotRepresentableError(path, None, f"larger than {_MOST_BYTES} bytes")
    file = parse_shell_file(path, decode(path, content), shell)
    # A file that is read only where it is there, and is not there, changes nothing.
    hazards = (each for each in file.hazards if not each.guarded or _is_there(tree, PurePosixPath(each.included or "")))
    return file._replace(hazards=tuple(_narrowed(tree, each, shell) for each in hazards))


def _narrowed(tree: Tree, hazard: Hazard, shell: Shell) -> Hazard:
    """Return a hazard with the variables that the file which is read there assigns, where that can be told."""
    if hazard.included is None or hazard.reach is not Reach.EARLIER or hazard.included.startswith(_AT_RUNTIME):
        return hazard
    path = PurePosixPath(hazard.included)
    try:
        content = tree.read(path)
        if content is None or len(content) > _MOST_BYTES:
            return hazard
        file = parse_shell_file(path, decode(path, content), shell)
    except BootConfigError:
        return hazard
    names = {each.name for each in file.assignments}
    for inner in file.hazards:
        if inner.names is None or inner.reach is not Reach.EARLIER:
            return hazard
        names.update(inner.names)
    if file.functions or _first_stop(tree, file, frozenset()) is not None:
        return hazard
    return hazard._replace(names=tuple(sorted(names)))


def _require_sourceable(tree: Tree, family: GrubFamily, files: tuple[ShellFile, ...]) -> None:
    """Raise BootConfigError, with the line, where grub-mkconfig would end in one of its settings files."""
    functions: set[str] = set()
    for file in files:
        functions |= file.functions
        stop = _first_stop(tree, file, functions)
        if stop is not None:
            hint = f"edit line {stop.line} of {file.path}, then try it with {family.mkconfig} -o /dev/null"
            raise BootConfigError(file.path, stop.line, f"{family.mkconfig} ends here: {stop.message}", hint=hint)


def _first_stop(tree: Tree, file: ShellFile, functions: Collection[str]) -> Stop | None:
    return first_stop(
        file.calls,
        file.last_list,
        file.shell,
        is_there=lambda path: path.startswith(_AT_RUNTIME) or _is_there(tree, PurePosixPath(path)),
        is_missing_program=lambda name: _is_missing_program(tree, name),
        functions=functions,
    )


def _is_there(tree: Tree, path: PurePosixPath) -> bool:
    try:
        return tree.read_part(path, 0, 1) is not None
    except BootConfigError:
        return True


def _is_missing_program(tree: Tree, name: str) -> bool:
    """Whether a name is certainly none that can be run; a tree without a shell and `cat` is only a part of one."""
    if "/" in name:
        return False
    found = [tree.names(folder) for folder in _PROGRAMS]
    there = frozenset(program for names in found for program in names)
    if name in there or not there >= _OF_EVERY_SYSTEM:
        return False
    libraries = (tree.read(folder / _LIBRARY) for folder in _LIBRARIES)
    return not any(name.encode("utf-8", "surrogateescape") in library for library in libraries if library is not None)


@cache  # of the few names that distributions have for grub-mkconfig
def _programs(name: str) -> tuple[PurePosixPath, ...]:
    return tuple(folder / name for folder in _PROGRAMS)


def _head(tree: Tree, path: PurePosixPath) -> bytes | None:
    try:
        return tree.read_part(path, 0, _HEAD)
    except BootConfigError:
        return None
