# SPDX-License-Identifier: Apache-2.0
"""Run the fuzzer on each target, some at a time, and say what each came to. Ends with 1 where something was found.

With `--runs N` each target gets the N inputs that the seed makes; else Atheris has it for its part of the time.
"""

import argparse
import os
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

HERE = Path(__file__).resolve().parent
sys.path[:0] = [str(HERE), str(HERE.parent / "support"), str(HERE.parent.parent)]

from targets import TARGETS  # noqa: E402 - found by the line above

FOUND = HERE.parent.parent / "build" / "fuzz"


def fuzz(name: str, runs: int, seed: int, seconds: float) -> tuple[str, bool]:
    """Return what one target came to, and whether it is sound. Without a number of runs it is stopped by the clock."""
    place = FOUND / name
    engine = ["blind.py", name, str(runs)] if runs else ["drive.py", name, str(seconds)]
    argv = [sys.executable, str(HERE / engine[0]), *engine[1:], str(seed), str(place)]
    start = time.monotonic()
    done = subprocess.run(argv, capture_output=True, text=True, errors="backslashreplace", check=False)
    said = next(
        (line for line in done.stdout.splitlines() if line.startswith(f"{name}: ")), f"{name}: nothing was said"
    )
    found = sorted(place.glob("found-*"))
    if done.returncode == 0 and not found:
        return f"{said}; {time.monotonic() - start:.0f} s", True
    tail = "\n".join(done.stderr.splitlines()[-30:])
    return f"{said}; FOUND {', '.join(map(str, found)) or done.returncode}\n{tail}", False


def main() -> None:
    """Fuzz what is named, or everything."""
    parser = argparse.ArgumentParser(description=__doc__)
    for option, default in (("--seconds", 120), ("--runs", 0), ("--seed", 1), ("--jobs", os.cpu_count() or 1)):
        parser.add_argument(option, type=int, default=default)
    parser.add_argument("targets", nargs="*", metavar="TARGET")
    asked = parser.parse_args()
    names = asked.targets or list(TARGETS)
    if unknown := [name for name in names if name not in TARGETS]:
        parser.error(f"no such target: {unknown[0]}; there are {', '.join(TARGETS)}")
    each = asked.seconds * asked.jobs / len(names)
    with ThreadPoolExecutor(asked.jobs) as pool:
        results = list(pool.map(lambda name: fuzz(name, asked.runs, asked.seed, each), names))
    for text, _ in results:
        sys.stdout.write(f"{text}\n")
    sound = sum(is_sound for _, is_sound in results)
    sys.stdout.write(f"{sound} passed, {len(results) - sound} failed\n")
    sys.exit(sound != len(results))


if __name__ == "__main__":
    main()
