# SPDX-License-Identifier: Apache-2.0
"""Devices: cards and functions as text: what they are, what hangs on them, what speaks against them."""

from collections.abc import Iterable, Iterator

from iommuctl.cli.output.style import Style, styled
from iommuctl.cli.output.text import visible
from iommuctl.devices.cards import Card, card_name
from iommuctl.devices.inventory import Function, Inventory, Role
from iommuctl.devices.judgement import JudgedCard
from iommuctl.findings import Severity
from iommuctl.running.pci_ids import Names

_STYLES = {Severity.ERROR: Style.RED, Severity.WARNING: Style.YELLOW, Severity.INFO: Style.CYAN}
_INDENT = "   "
_FREE = (Role.DISK, Role.INTERFACE)


def card_lines(judged: JudgedCard, names: Names, *, colour: bool) -> Iterator[str]:
    """Return a card as a small tree: its functions, what hangs on each, what goes along, what speaks against it."""
    yield visible(card_title(judged.card, names))
    rows = [visible(row) for row in _rows(judged, names)]
    for one in judged.objections:
        mark = styled(f"{one.severity}[{one.rule}]", _STYLES[one.severity], colour=colour)
        about = f"{one.address}: " if len(judged.card.functions) > 1 else ""
        rows.append(f"{mark} {visible(about + one.message)}")
    for number, row in enumerate(rows, 1):
        is_last = all(later.startswith(_INDENT) for later in rows[number:])
        if row.startswith(_INDENT):
            yield f"{' ' if is_last else '|'} {row}"
        else:
            yield f"{'`-' if is_last else '|-'} {row}"


def card_title(card: Card, names: Names) -> str:
    """Return the name of a card, and its slot where the firmware names it."""
    slot = card.main.slot
    return card_name(card, names) + (f"  slot {slot}" if slot else "")


def function_text(function: Function, names: Names) -> str:
    """Return one function: address, class, ids, then what matters for giving it away."""
    device = function.device
    kind = names.device_class(device.device_class) or f"class {device.device_class}"
    marks = [device.driver or "no driver", "no group" if device.group is None else f"group {device.group}"]
    marks.append(f"reset: {' '.join(device.reset) or 'none'}")
    if device.maximal_virtual_functions:
        marks.append(f"SR-IOV: {device.virtual_functions} of {device.maximal_virtual_functions}")
    if device.physical_function is not None:
        marks.append(f"function of {device.physical_function}")
    return f"{function.address}  {kind} ({device.vendor}:{device.device})  [{', '.join(marks)}]"


def uses_text(function: Function) -> str | None:
    """Return what hangs on a function; None where nothing does."""
    if not function.uses:
        return None
    used = [use for use in function.uses if use.role not in _FREE]
    free = [f"{use.name} (not in use)" for use in function.uses if use.role in _FREE]
    return f"has {', '.join([*(use.text for use in used), *free])}"


def tree_lines(inventory: Inventory, names: Names) -> Iterator[str]:
    """Return every function as a tree by the bridges that it is below, as lspci -tv does."""
    below: dict[str, list[Function]] = {}
    for function in inventory.functions:
        above = next((one for one in reversed(function.above) if one in inventory.addresses), "")
        below.setdefault(above, []).append(function)

    def walk(above: str, margin: str) -> Iterator[str]:
        found = below.get(above, [])
        for number, function in enumerate(found, 1):
            is_last = number == len(found)
            uses = uses_text(function)
            text = f"{function_text(function, names)}{'' if uses is None else f'  {uses}'}"
            yield f"{margin}{'`-' if is_last else '|-'} {visible(text)}"
            yield from walk(function.address, f"{margin}{'   ' if is_last else '|  '}")

    yield from walk("", "")


def _rows(judged: JudgedCard, names: Names) -> Iterator[str]:
    for function in judged.card.functions:
        yield function_text(function, names)
        if (uses := uses_text(function)) is not None:  # what belongs to the row before it
            yield f"{_INDENT}{uses}"
    if judged.mates:
        yield f"goes to a guest only with {_listed(judged.mates)}"
    if judged.twins:
        yield f"has the ids of {_listed(judged.twins)}"


def _listed(functions: Iterable[Function]) -> str:
    return ", ".join(f"{one.address} ({_where(one)})" for one in functions)


def _where(function: Function) -> str:
    driver = function.device.driver or "no driver"
    return f"slot {function.slot}, {driver}" if function.slot else driver
