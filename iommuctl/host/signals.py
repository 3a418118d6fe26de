# SPDX-License-Identifier: Apache-2.0
"""Interrupts: a signal to end becomes an exception where work can be undone, and waits where it must not be cut."""

import signal
import threading
from types import FrameType
from typing import Self

SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
SIGNAL_EXIT = 128  # sh(1): a program ended by signal n gives 128 + n


UNTOLD = "what was under way was brought to its end first"


class InterruptedRun(SystemExit):
    """A signal that ends the run, with the exit code of a shell. `outcome` says what became of the work under way."""

    def __init__(self, number: int, outcome: str = UNTOLD) -> None:
        super().__init__(SIGNAL_EXIT + number)
        self.signal = signal.Signals(number)
        self.outcome = outcome


def end_on_signals(outcome: str) -> None:
    """Raise InterruptedRun for SIGINT, SIGTERM and SIGHUP from now on, with this outcome; ignored ones stay ignored."""

    def end(number: int, _frame: FrameType | None) -> None:
        raise InterruptedRun(number, outcome)

    for number in SIGNALS:
        if signal.getsignal(number) is not signal.SIG_IGN:
            signal.signal(number, end)


class Interrupts:
    """A context in which SIGINT, SIGTERM and SIGHUP are held; `listen` raises InterruptedRun for the next one.

    One is enough: what comes after it is held again, so that an impatient second one cannot cut the undo. Leaving the
    context normally delivers one that came while they were held. A signal that was ignored stays ignored; outside the
    main thread nothing changes.
    """

    def __init__(self) -> None:
        self._held = True
        self._pending: int | None = None
        self._previous: list[tuple[signal.Signals, signal._HANDLER]] = []

    def __enter__(self) -> Self:
        if threading.current_thread() is threading.main_thread():
            for number in SIGNALS:
                previous = signal.getsignal(number)
                if previous is not signal.SIG_IGN:
                    self._previous.append((number, previous))
                    signal.signal(number, self._note)
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: object) -> None:
        self.hold()
        for number, previous in self._previous:
            signal.signal(number, previous)
        if error is None:
            self._deliver()

    def hold(self) -> None:
        """Keep what comes for later."""
        self._held = True

    def listen(self) -> None:
        """Raise InterruptedRun for a signal, beginning with one that came while they were held."""
        self._held = False
        self._deliver()

    def drop(self) -> None:
        """Forget one that came: the work has failed already, and says so."""
        self._pending = None

    def _note(self, number: int, _frame: FrameType | None) -> None:
        self._pending = number
        if not self._held:
            self._deliver()

    def _deliver(self) -> None:
        if self._pending is not None:
            number, self._pending = self._pending, None
            self._held = True
            raise InterruptedRun(number)
