# SPDX-License-Identifier: Apache-2.0
"""The command line: options, text and JSON. Decides nothing about boot configurations."""

import atexit
import gc
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from iommuctl.cli.pipe import outlive_the_reader
from iommuctl.errors import BootConfigError, InternalError, InterruptionError, IommuctlError, UsageError
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
    with _without_rich():
        from iommuctl.cli.session import Session
    # What is asked for is on the line as well as in the session: a run that fails while options are still being
    # read has no session yet.
    session = Session(json="--json" in sys.argv[1:], debug="--debug" in sys.argv[1:])
    try:
        from iommuctl.cli.application import application

        # Typer reports what it finds wrong itself, but only as text.
        sys.exit(application(obj=session, prog_name="iommuctl", standalone_mode=not session.json))
    except IommuctlError as error:
        sys.exit(_fail(error, session))
    except InterruptedRun as end:
        sys.exit(_fail(InterruptionError(end.signal.name, SIGNAL_EXIT + end.signal, end.outcome), session))
    except Exception as error:  # noqa: BLE001 - the last resort: a defect must not look like a finding (exit code 1)
        if (usage := _usage_error(error)) is not None:
            sys.exit(_fail(usage, session))
        _print_traceback(error)
        hint = "this is a bug of iommuctl; report it with the lines above"
        sys.exit(_fail(InternalError(f"{type(error).__name__}: {error}", hint=hint), session))


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


def _usage_error(error: Exception) -> UsageError | None:
    """Give what Typer says of a wrong command line; None for any other error."""
    # The base class of these errors is private to Typer; the method is what its releases have in common.
    message = getattr(error, "format_message", None)
    if message is None:
        return None
    text = str(message()).removesuffix(".")
    command = getattr(getattr(error, "ctx", None), "command_path", "iommuctl")
    return UsageError(f"{text[:1].lower()}{text[1:]}", hint=f"{command} --help")


def _print_traceback(error: Exception) -> None:
    import traceback

    traceback.print_exception(error)


def _fail(error: IommuctlError, session: "Session") -> int:
    """Report an error on stderr, as text or as one JSON object, and give its exit code."""
    from iommuctl.cli.output.text import visible

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
