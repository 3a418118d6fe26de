# SPDX-License-Identifier: Apache-2.0
"""Drive the fuzzer: one target in this process, by Atheris, which learns from what of our code an input reaches.

`python drive.py TARGET SECONDS SEED DIRECTORY`. The directory keeps a file for each input that broke a promise, took
more than SECONDS or more than MEBIBYTES. Ends with 0 where there is none.
"""

import os
import resource
import sys
import time
from pathlib import Path

HERE = Path(__file__).resolve().parent
sys.path[:0] = [str(HERE), str(HERE.parent / "support"), str(HERE.parent.parent)]

import atheris  # noqa: E402 - found by the line above
from inputs import LONGEST  # noqa: E402

# A whole plan runs through so much code that following it costs twenty times the plan: there the mutations are blind.
_FOLLOWED = ["iommuctl.formats", "iommuctl.profile.schema", "iommuctl.transaction.statefile", "iommuctl.host.probe"]
if sys.argv[1].startswith(("plan", "backend")):
    from targets import TARGETS, takes
else:
    with atheris.instrument_imports(include=_FOLLOWED, enable_loader_override=False):
        from targets import TARGETS, takes

SECONDS = 60  # of a clock on the wall, which a busy machine stretches
MEBIBYTES = 700


def main() -> None:
    """Feed one target, and print what came of it."""
    name, seconds, seed, directory = sys.argv[1:5]
    end = time.monotonic() + float(seconds)
    target, place = TARGETS[name], Path(directory)
    counts = {True: 0, False: 0}
    slowest = [0.0]
    (place / "corpus").mkdir(parents=True, exist_ok=True)
    for number, content in enumerate(target.seeds()):
        (place / "corpus" / f"seed-{number}").write_bytes(content[:LONGEST])
    words = ("".join(f"\\x{byte:02x}" for byte in word.encode()) for word in target.words)
    (place / "words").write_text("".join(f'"{word}"\n' for word in words))

    def feed(data: bytes) -> None:
        start = time.perf_counter()
        counts[takes(target, data)] += 1
        slowest[0] = max(slowest[0], time.perf_counter() - start)
        if time.monotonic() > end:
            peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
            sys.stdout.write(
                f"{name}: {sum(counts.values())} inputs, {counts[True]} taken, {counts[False]} refused; "
                f"slowest {slowest[0] * 1000:.0f} ms; peak {peak:.0f} MiB\n"
            )
            sys.stdout.flush()
            os._exit(0)  # libFuzzer's own end would say nothing and keep what it learnt

    options = {
        "seed": seed,
        "dict": str(place / "words"),
        "max_len": LONGEST,
        "timeout": SECONDS,
        "rss_limit_mb": MEBIBYTES,
        "artifact_prefix": f"{place}/found-",
        "verbosity": 0,
        "print_final_stats": 0,
    }
    atheris.Setup([sys.argv[0], *(f"-{key}={value}" for key, value in options.items()), str(place / "corpus")], feed)
    atheris.Fuzz()


if __name__ == "__main__":
    main()
