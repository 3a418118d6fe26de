# SPDX-License-Identifier: Apache-2.0
"""Private roots: trees that the whole program meets as `/`, one after the other, in a mount namespace of its own.

Such a root has this machine's programs, and the tree's alone of what tells of booting: `/boot`, `/etc`, `/sys`,
`/proc/cmdline` and the like. Nothing outside sees the mounts, which end with the process.
"""

import json
import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

from lacking import lacks
from project import PROJECT

from iommuctl.cli import main

_OF_THE_TREE = ("boot", "efi", "etc", "run", "sys", "var")
_UNSHARED = ("unshare", "--mount", "--propagation=private")


def on_each(trees: Sequence[Path], place: Path, *argv: str) -> list[tuple[int, str]]:
    """Run the program once on each tree; give exit codes and what it printed. `place` is an empty directory."""
    if os.geteuid() != 0:
        lacks("a root of its own is made of mounts, for which one must be root")
    if why := subprocess.run((*_UNSHARED, "true"), capture_output=True, text=True, check=False).stderr.strip():
        lacks(f"no mounts of its own, as in a chroot(2) of a plain directory: {why}")
    paths = [str(PROJECT), *(path for path in sys.path if path.endswith("-packages"))]
    environment = {"PATH": "/usr/sbin:/usr/bin:/sbin:/bin", "LC_ALL": "C.UTF-8", "PYTHONPATH": os.pathsep.join(paths)}
    command = (*_UNSHARED, sys.executable, __file__, str(place), json.dumps(argv), *map(str, trees))
    done = subprocess.run(
        command,
        env=environment | {"PYTHONDONTWRITEBYTECODE": "1"},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=True,
    )
    return [tuple(one) for one in json.loads(done.stdout)]


def _mount(*words: str) -> None:
    subprocess.run(("mount", *words), check=True)


def _build(root: Path) -> None:
    """Bind what every tree has in common: this machine's directories and, aside, its /proc."""
    _mount("-t", "tmpfs", "-o", "mode=755", "none", str(root))
    for top in sorted(Path("/").iterdir()):
        own = root / top.name
        if top.is_symlink():
            own.symlink_to(top.readlink())
        elif top.is_dir():
            own.mkdir()
            if top.name not in (*_OF_THE_TREE, "proc"):
                _mount("--rbind", str(top), str(own))
    for name in (*_OF_THE_TREE, ".proc"):
        (root / name).mkdir(exist_ok=True)
    _mount("--rbind", "/proc", str(root / ".proc"))


def _show(root: Path, tree: Path) -> list[Path]:
    """Mount a tree's own directories; give what is to be taken off again."""
    for name in ("proc", *_OF_THE_TREE):
        (tree / name).mkdir(exist_ok=True)
        _mount("--bind", str(tree / name), str(root / name))
    for name in (one.name for one in Path("/proc").iterdir() if not one.name.isdigit()):
        if not (tree / "proc" / name).exists():
            (tree / "proc" / name).symlink_to(f"/.proc/{name}")
    return [root / name for name in ("proc", *_OF_THE_TREE)]


def _run(root: Path, argv: Sequence[str]) -> tuple[int, str]:
    """Run the program in the root, in a process of its own that has it loaded already."""
    source, sink = os.pipe()
    child = os.fork()
    if child == 0:
        os.close(source)
        os.dup2(sink, 1)
        os.dup2(sink, 2)
        os.chroot(root)
        os.chdir("/")
        sys.argv[1:] = argv
        main()
    os.close(sink)
    with os.fdopen(source, encoding="utf-8") as pipe:
        said = pipe.read()
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), said


def _main(place: str, argv: str, *trees: str) -> None:
    root = Path(place)
    _build(root)
    results = []
    for tree in trees:
        mounted = _show(root, Path(tree))
        results.append(_run(root, json.loads(argv)))
        subprocess.run(("umount", *map(str, mounted)), check=True)
    sys.stdout.write(json.dumps(results))


if __name__ == "__main__":
    _main(*sys.argv[1:])
