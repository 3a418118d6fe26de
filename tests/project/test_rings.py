# SPDX-License-Identifier: Apache-2.0
"""The rings of docs/architecture.md: who may import whom, and who may touch the world."""

import ast
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from project import PACKAGE

CORE, BACKENDS, EDGES, OUTSIDE = range(4)

# A new module goes here, into the innermost ring that it can be in. A name that ends in `.` stands for a package.
RINGS = {
    CORE: """
        __init__ errors words cmdline parameters cataloguefile facts firmware arguments conform plan profile resolve
        predict shell grammar hazards variables grubcfg blsentry grubenv kernelcmdline peimage spelling lint mends rules
        hostrules observed pciids promise exemption verify explain report
    """,
    BACKENDS: "lens backends.",
    EDGES: """
        root durable commands freeze interrupts locks probe preflight journal snapshot transaction recovery shipped
        surroundings sysfs volume mounts trial
    """,
    OUTSIDE: "app app. cli cli. __main__",
}
RING_OF = {name: ring for ring, names in RINGS.items() for name in names.split()}

# Which modules (and everything below a name that ends in `.`) may import a library.
SOLE_IMPORTERS = {
    "augeas": ("lens",),
    "subprocess": ("commands",),
    "typer": ("cli", "cli."),
    "rich": ("cli", "cli."),
    "click": ("cli", "cli."),
}
# The transaction and what it is made of: nothing else changes a file.
WRITERS = {"root", "durable", "freeze", "locks", "journal", "snapshot", "transaction", "recovery"}
CORE_LIBRARIES = {"pydantic", "pydantic_core", "annotated_types", "typing_extensions"}
# What no module of ring 0 or 1 imports: they reach files, processes, the network or the clock by themselves.
WORLDLY_MODULES = {
    *("subprocess", "shutil", "tempfile", "socket", "fcntl", "glob", "mmap", "multiprocessing", "threading", "asyncio"),
    *("signal", "time", "urllib", "http", "importlib", "ctypes", "fileinput", "logging", "random", "secrets", "io"),
}
# What no module of ring 0 or 1 calls or reads, by its dotted name or by its last part.
WORLDLY_CALLS = {"open", "input", "print", "exec", "eval", "__import__"}
WORLDLY_METHODS = {
    *("read_text", "read_bytes", "write_text", "write_bytes", "iterdir", "rglob", "is_file", "is_dir", "is_symlink"),
    *("unlink", "mkdir", "rmdir", "rename", "symlink_to", "hardlink_to", "readlink", "lstat", "chmod", "touch"),
    *("now", "utcnow", "today"),
}
WORLDLY_NAMES = {
    *("Path", "PosixPath", "environ", "getenv", "environb", "stdin", "stdout", "stderr"),
    *("system", "popen", "getcwd", "listdir", "scandir"),
}
# What changes a file, as a function of os, as a method, or as a flag of open.
WRITING_FUNCTIONS = {
    *(
        "rename",
        "renames",
        "replace",
        "unlink",
        "remove",
        "rmdir",
        "removedirs",
        "mkdir",
        "makedirs",
        "mknod",
        "mkfifo",
    ),
    *("write", "pwrite", "truncate", "ftruncate", "link", "symlink", "chmod", "fchmod", "lchmod", "chown", "fchown"),
    *("lchown", "utime", "setxattr", "removexattr", "copy_file_range", "sendfile"),
}
WRITING_METHODS = {
    *("write_text", "write_bytes", "unlink", "mkdir", "rmdir", "touch", "symlink_to", "hardlink_to", "lchmod"),
    *("make_directories",),
}
WRITING_FLAGS = {"O_CREAT", "O_TRUNC", "O_APPEND", "O_RDWR", "O_TMPFILE"}
# The lens tells Augeas which folder of the package its lenses are in, if it is there; it opens nothing itself.
EXCEPTIONS = {"lens": {"Path", "is_dir"}}


def module_name(path: Path) -> str:
    parts = path.relative_to(PACKAGE).with_suffix("").parts
    if parts[-1] == "__init__" and len(parts) > 1:
        parts = parts[:-1]
    return ".".join(parts)


def ring_of(name: str) -> int | None:
    if name in RING_OF:
        return RING_OF[name]
    top = name.split(".", maxsplit=1)[0]
    return RING_OF.get(f"{top}.")


def is_one_of(name: str, allowed: tuple[str, ...]) -> bool:
    return any(name == one or (one.endswith(".") and name.startswith(one)) for one in allowed)


def imports(path: Path) -> Iterator[tuple[int, str]]:
    """Line and absolute dotted name of every import, those inside functions included."""
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            for alias in node.names:
                yield node.lineno, alias.name
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}:{node.lineno}: a relative import"
            assert node.module is not None
            for alias in node.names:
                yield node.lineno, f"{node.module}.{alias.name}"


def own_target(dotted: str) -> str | None:
    """The module of ours that an import names, without the package's name; None for a library."""
    parts = dotted.split(".")
    if parts[0] != PACKAGE.name:
        return None
    for length in range(len(parts), 1, -1):
        relative = PACKAGE.joinpath(*parts[1:length])
        if relative.with_suffix(".py").is_file() or (relative / "__init__.py").is_file():
            return ".".join(parts[1:length])
    return "__init__"


SOURCES = sorted(PACKAGE.rglob("*.py"))
INNER = [path for path in SOURCES if ring_of(module_name(path)) in (CORE, BACKENDS)]
named = pytest.mark.parametrize("path", SOURCES, ids=module_name)


@named
def test_module_is_in_a_ring(path: Path) -> None:
    name = module_name(path)
    assert ring_of(name) is not None, f"module {name!r} is in no ring: add it to RINGS in {Path(__file__).name}"


@named
def test_imports_point_inward(path: Path) -> None:
    own = ring_of(module_name(path))
    outward = [
        f"{path.name}:{line} imports {dotted}"
        for line, dotted in imports(path)
        if (target := own_target(dotted)) is not None and (ring_of(target) or 0) > (own or 0)
    ]
    assert outward == []


@named
def test_only_one_module_meets_each_library(path: Path) -> None:
    name = module_name(path)
    wrong = [
        f"{path.name}:{line} imports {dotted}"
        for line, dotted in imports(path)
        if (allowed := SOLE_IMPORTERS.get(dotted.split(".")[0])) is not None and not is_one_of(name, allowed)
    ]
    assert wrong == []


@pytest.mark.parametrize("path", INNER, ids=module_name)
def test_inner_rings_import_pure_libraries_only(path: Path) -> None:
    allowed = {*CORE_LIBRARIES, PACKAGE.name}
    if module_name(path) == "lens":
        allowed.add("augeas")
    wrong = []
    for line, dotted in imports(path):
        top = dotted.split(".")[0]
        if top in WORLDLY_MODULES or (top not in allowed and top not in sys.stdlib_module_names):
            wrong.append(f"{path.name}:{line} imports {dotted}")
    assert wrong == []


@pytest.mark.parametrize("path", INNER, ids=module_name)
def test_inner_rings_touch_no_world(path: Path) -> None:
    allowed = EXCEPTIONS.get(module_name(path), set())
    uses = worldly(ast.parse(path.read_text()))
    assert [f"{path.name}:{line}: {what}" for line, what in uses if what not in allowed] == []


def worldly(tree: ast.AST) -> Iterator[tuple[int, str]]:
    """Every use of a file, the environment, a stream or the clock."""
    for node in ast.walk(tree):
        match node:
            case ast.Call(func=ast.Name(id=name)) if name in WORLDLY_CALLS:
                yield node.lineno, name
            case ast.Call(func=ast.Attribute(attr=name)) if name in WORLDLY_METHODS:
                yield node.lineno, name
            case ast.Attribute(attr=name) | ast.Name(id=name) if name in WORLDLY_NAMES:
                yield node.lineno, name
            case ast.ImportFrom(names=aliases):
                yield from ((node.lineno, alias.name) for alias in aliases if alias.name in WORLDLY_NAMES)
            case _:
                pass


@pytest.mark.parametrize(
    "code",
    [
        "open('x')",
        "import os\nos.environ['x']",
        "from os import environ",
        "from datetime import datetime\ndatetime.now()",
        "from pathlib import Path",
        "import pathlib\npathlib.Path('/x')",
        "def f(path):\n    return path.read_text()",
        "import sys\nsys.stdout.write('x')",
    ],
)
def test_use_of_the_world_is_seen(code: str) -> None:
    assert list(worldly(ast.parse(code))) != []


@named
def test_only_the_transaction_writes(path: Path) -> None:
    uses = writing(ast.parse(path.read_text()))
    assert module_name(path) in WRITERS or [f"{path.name}:{line}: {what}" for line, what in uses] == []


def writing(tree: ast.AST) -> Iterator[tuple[int, str]]:
    """Every use of what changes a file."""
    for node in ast.walk(tree):
        match node:
            case ast.Attribute(value=ast.Name(id="os"), attr=name) if name in WRITING_FUNCTIONS | WRITING_FLAGS:
                yield node.lineno, f"os.{name}"
            case ast.Attribute(attr=name) if name in WRITING_METHODS:
                yield node.lineno, name
            case ast.ImportFrom(module="os", names=aliases):
                wanted = (alias.name for alias in aliases)
                yield from ((node.lineno, name) for name in wanted if name in WRITING_FUNCTIONS | WRITING_FLAGS)
            case ast.Import(names=aliases):
                yield from ((node.lineno, alias.name) for alias in aliases if alias.name in {"shutil", "tempfile"})
            case ast.Call(func=ast.Name(id="open") | ast.Attribute(attr="open")) if _has_writing_mode(node):
                yield node.lineno, "open"
            case _:
                pass


def _has_writing_mode(call: ast.Call) -> bool:
    arguments = call.args[1:] if isinstance(call.func, ast.Name) else call.args
    values = (*arguments, *(keyword.value for keyword in call.keywords))
    modes = (value.value for value in values if isinstance(value, ast.Constant) and isinstance(value.value, str))
    return any(set(mode) <= set("rwaxbt+") and set(mode) & set("wax+") for mode in modes)


@pytest.mark.parametrize(
    "code",
    [
        "import os\nos.rename('a', 'b')",
        "import os\nos.open('a', os.O_RDWR)",
        "from os import unlink",
        "def f(path):\n    path.write_bytes(b'')",
        "open('a', 'w')",
        "def f(path):\n    path.open(mode='ab')",
        "import shutil",
    ],
)
def test_writing_is_seen(code: str) -> None:
    assert list(writing(ast.parse(code))) != []


@pytest.mark.parametrize("code", ["open('a')", "open('a', 'rb')", "'a'.replace('b', 'c')", "import os\nos.O_RDONLY"])
def test_reading_is_not_writing(code: str) -> None:
    assert list(writing(ast.parse(code))) == []
