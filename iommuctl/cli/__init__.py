# SPDX-License-Identifier: Apache-2.0
"""The command line: options, text and JSON. Decides nothing about boot configurations."""

import atexit
import gc
import os
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING

from iommuctl.cli.pipe import Pipe, outlive_the_reader
from iommuctl.errors import BootConfigError, InternalError, InterruptionError, IommuctlError
from iommuctl.host.signals import SIGNAL_EXIT, InterruptedRun, end_on_signals

if TYPE_CHECKING:
    from iommuctl.cli.session import Session


def main() -> None:
    """Run iommuctl on this process's arguments and end the process with its exit code."""
    # A run is over before cycles matter, and the collector would go through every module again while others load.
    gc.disable()
    # The interpreter collects once more at its end, disabled or not, unless there is nothing left to look at.
    atexit.register(gc.freeze)
    # Pydantic would look through every installed package for plugins: slow, and foreign code in a root process.
    os.environ["PYDANTIC_DISABLE_PLUGINS"] = "__all__"
    end_on_signals("nothing was being changed")
    outlive_the_reader()
    if not sys.stdout.isatty():
        os.environ.pop("COLUMNS", None)  # what goes into a pipe is the same, however wide a terminal is
    sys.exit(run(sys.argv[1:]))


def run(arguments: Sequence[str]) -> int:
    """Run iommuctl on these arguments, report what goes wrong, and return the exit code."""
    with _without_rich():
        from iommuctl.cli.session import Session
    # What is asked for is on the line as well as in the session: a run that fails while options are still being
    # read has no session yet.
    if isinstance(sys.stdout, Pipe):
        sys.stdout.wraps = "--json" not in arguments
    session = Session(arguments, json="--json" in arguments, debug="--debug" in arguments)
    try:
        from iommuctl.cli.application import application

        if os.environ.get("_IOMMUCTL_COMPLETE", "").startswith("complete_"):
            from iommuctl.cli.completion import answer

            return answer(lambda: application(args=arguments, obj=session, prog_name="iommuctl"))
        # What Typer finds wrong is told here, in this program's words.
        return application(args=arguments, obj=session, prog_name="iommuctl", standalone_mode=False) or 0
    except IommuctlError as error:
        return _fail(error, session, arguments)
    except InterruptedRun as end:
        signalled = InterruptionError(end.signal.name, SIGNAL_EXIT + end.signal, end.outcome)
        return _fail(signalled, session, arguments)
    except Exception as error:  # noqa: BLE001 - the last resort: a defect must not look like a finding (exit code 1)
        from iommuctl.cli.usage import usage_error

        if (usage := usage_error(error)) is not None:
            return _fail(usage, session, arguments)
        _print_traceback(error)
        hint = "this is a bug of iommuctl; report it with the lines above"
        return _fail(InternalError(f"{type(error).__name__}: {error}", hint=hint), session, arguments)


@contextmanager
def _without_rich() -> Iterator[None]:
    """Keep rich from Typer while that is imported: older releases (0.15) load all of it, though nothing needs it."""
    if "rich" in sys.modules:
        yield
        return
    sys.modules["rich"] = None  # type: ignore[assignment] # documented: makes `import rich` a ModuleNotFoundError
    try:
        yield
    finally:
        del sys.modules["rich"]


def _print_traceback(error: Exception) -> None:
    import traceback

    traceback.print_exception(error)


def _fail(error: IommuctlError, session: "Session", arguments: Sequence[str]) -> int:
    """Report an error on stderr, as text or as one JSON object, and return its exit code."""
    from iommuctl.cli.output.text import visible

    if error.correction is not None:
        from iommuctl.cli.usage import suggest

        suggest(error, arguments)
    if session.root is not None and isinstance(error, BootConfigError):
        error.add(f"the path is one inside {session.root}")
    if session.debug and not session.json:
        _print_traceback(error)
    if session.json:
        from iommuctl.documents.base import report, to_json
        from iommuctl.documents.models import ErrorDetail, ErrorReport

        print(to_json(ErrorReport(error=report(ErrorDetail, error)), indent=None), file=sys.stderr)
    else:
        lines = [f"iommuctl: error: {error.brief}", *(f"    {fact}" for fact in error.details)]
        if error.hint:
            lines.append(f"hint: {error.hint}")
        print("\n".join(map(visible, lines)), file=sys.stderr)
    return error.code
