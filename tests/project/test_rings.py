# SPDX-License-Identifier: Apache-2.0
"""What the import contracts and the banned names of pyproject.toml can't say: methods, built-ins, and who writes."""

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest
from project import PACKAGE

# The directories, and modules at the top, that reach no file, stream or process, by any method of any object.
PURE = ("backends", "devices", "formats", "kernel", "lint", "profile", "running")
PURE_MODULES = ("errors", "facts", "findings", "plan", "tree")
# What changes a host; `root` is how all others look at it, and makes directories for the transaction.
# `confine` makes what a confined program finds in /dev, on a file system in memory that nobody else sees.
WRITERS = ("transaction/", "host/root.py", "host/descriptors.py", "host/confine.py")
# The lens tells Augeas where its lenses are, if they are there; the shipped profiles are the package's own files.
EXCEPTIONS = {"formats/lens.py": {"is_dir"}}

WORLDLY_CALLS = {"open", "input", "exec", "eval", "__import__"}
WORLDLY_METHODS = {
    *("read_text", "read_bytes", "write_text", "write_bytes", "iterdir", "rglob", "is_file", "is_dir", "is_symlink"),
    *("unlink", "mkdir", "rmdir", "rename", "symlink_to", "hardlink_to", "readlink", "lstat", "chmod", "touch"),
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


def place(path: Path) -> str:
    return path.relative_to(PACKAGE).as_posix()


SOURCES = sorted(PACKAGE.rglob("*.py"))
INNER = [path for path in SOURCES if place(path).startswith(PURE) or place(path).removesuffix(".py") in PURE_MODULES]


def test_the_pure_modules_are_found() -> None:
    assert {place(path).split("/")[0].removesuffix(".py") for path in INNER} == {*PURE, *PURE_MODULES}


@pytest.mark.parametrize("path", INNER, ids=place)
def test_inner_rings_touch_no_world(path: Path) -> None:
    allowed = EXCEPTIONS.get(place(path), set())
    uses = worldly(ast.parse(path.read_text()))
    assert [f"{path.name}:{line}: {what}" for line, what in uses if what not in allowed] == []


def worldly(tree: ast.AST) -> Iterator[tuple[int, str]]:
    """Every use of a file or a stream by a built-in or a method."""
    for node in ast.walk(tree):
        match node:
            case ast.Call(func=ast.Name(id=name)) if name in WORLDLY_CALLS:
                yield node.lineno, name
            case ast.Call(func=ast.Attribute(attr=name)) if name in WORLDLY_METHODS:
                yield node.lineno, name
            case _:
                pass


@pytest.mark.parametrize("code", ["open('x')", "def f(path):\n    return path.read_text()"])
def test_use_of_the_world_is_seen(code: str) -> None:
    assert list(worldly(ast.parse(code))) != []


@pytest.mark.parametrize("path", [path for path in SOURCES if not place(path).startswith(WRITERS)], ids=place)
def test_only_the_transaction_writes(path: Path) -> None:
    uses = writing(ast.parse(path.read_text()))
    assert [f"{path.name}:{line}: {what}" for line, what in uses] == []


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
