# SPDX-License-Identifier: Apache-2.0
"""Options: each command-line option is declared once, here."""

from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from iommuctl.cli.session import remember_debug, remember_json, remember_root, remember_verbose
from iommuctl.facts import Platform
from iommuctl.plan import Regenerate
from iommuctl.value import NamedTuple

if TYPE_CHECKING:
    from iommuctl.kernel.lines import Kernel


def _complete_backend(incomplete: str) -> list[str]:
    from iommuctl.app.completion import backend_names

    return _fitting(backend_names(), incomplete)


def complete_profile(context: typer.Context, incomplete: str) -> list[str]:
    """Return the profiles whose names begin so, for the shell's completion."""
    from iommuctl.app.completion import profile_names
    from iommuctl.cli.completion import root_of

    none = ("none",) if context.info_name in ("apply", "start") else ()
    return _fitting((*profile_names(root_of(context)), *none), incomplete)


def complete_snapshot(context: typer.Context, incomplete: str) -> list[str]:
    """Return the snapshots whose ids begin so, for the shell's completion."""
    from iommuctl.app.completion import snapshot_ids
    from iommuctl.cli.completion import root_of

    return _fitting(snapshot_ids(root_of(context)), incomplete)


def _complete_platform(incomplete: str) -> list[str]:
    return _fitting(PLATFORMS, incomplete)


def _complete_force(context: typer.Context, incomplete: str) -> list[str]:
    from iommuctl.app.completion import forcible_rules
    from iommuctl.cli.completion import profile_of, root_of

    profile = None if context.info_name == "rollback" else profile_of(context) or ""
    return _fitting(forcible_rules(root_of(context), profile), incomplete)


def _complete_input(context: typer.Context, incomplete: str) -> list[str]:
    from iommuctl.app.completion import input_values
    from iommuctl.cli.completion import profile_of, root_of

    offered = input_values(root_of(context), profile_of(context) or "")
    # A value is offered once its name is typed: before that there would be as many rows as there are devices.
    name, equals, value = incomplete.partition("=")
    if not equals:
        return _fitting((one for one in offered if one.endswith("=")), incomplete)
    before = value[: value.rfind(",") + 1]
    values = (one.removeprefix(f"{name}=") for one in offered if one.startswith(f"{name}="))
    return _fitting((f"{name}={before}{one}" for one in values if one), incomplete)


def _complete_device(context: typer.Context, incomplete: str) -> list[tuple[str, str]]:
    from iommuctl.app.completion import device_names
    from iommuctl.cli.completion import root_of

    # A shell that shows what a word is for shows the name next to the address.
    return [one for one in device_names(root_of(context)) if one[0].startswith(incomplete)]


def _complete_parameter(incomplete: str) -> list[str]:
    from iommuctl.app.completion import parameter_names

    return list(parameter_names(incomplete))


def _complete_kernel(context: typer.Context, incomplete: str) -> list[str]:
    from iommuctl.app.completion import kernel_releases
    from iommuctl.cli.completion import root_of

    return _fitting(kernel_releases(root_of(context)), incomplete)


def _fitting(names: Iterable[str], incomplete: str) -> list[str]:
    return [name for name in names if name.startswith(incomplete)]


ROOT = Path("/")
MOST_OF_A_REASON = 500  # characters; it is in every line of the index of snapshots
REASON = f"one line of text, at most {MOST_OF_A_REASON} characters"
PLATFORMS = ("auto", *Platform)
Profile = Annotated[
    str,
    typer.Argument(
        metavar="PROFILE", help="A profile's name, or the path of a TOML file.", autocompletion=complete_profile
    ),
]
ProfileOrPlan = Annotated[
    str | None,
    typer.Argument(
        metavar="PROFILE",
        help="A profile's name, or the path of a TOML file; without one, --plan names what to do.",
        autocompletion=complete_profile,
    ),
]
Snapshot = Annotated[
    str | None,
    typer.Argument(
        metavar="SNAPSHOT",
        help="Go back to before this snapshot (history lists them); without it, before the newest apply in force.",
        autocompletion=complete_snapshot,
    ),
]


def _parse_root(text: str) -> Path:
    """Read the value of --root. Empty is what a script's variable holds that is not set, and never the folder here."""
    if not text:
        raise typer.BadParameter("it is empty; the running system is /", param_hint="'--root'")
    try:
        return Path(text).absolute()
    except OSError as error:
        raise typer.BadParameter("the folder here is gone, so name a whole path", param_hint="'--root'") from error


Root = Annotated[
    Path,
    typer.Option(
        "--root",
        metavar="DIR",
        parser=_parse_root,
        callback=remember_root,
        help="Work on the tree below DIR instead of the running system.",
    ),
]
RunningRoot = Annotated[
    Path,
    typer.Option("--root", metavar="DIR", help="Nothing but / will do: no kernel runs in another tree."),
]
Backend = Annotated[
    str | None,
    typer.Option(
        "--backend",
        metavar="grub2|bls|systemd-boot",
        help="Which bootloader boots this host, where the evidence does not settle it.",
        autocompletion=_complete_backend,
    ),
]
DryRun = Annotated[
    bool, typer.Option("--dry-run", "-n", help="Show the whole plan; write nothing, run nothing that changes anything.")
]
ExitCode = Annotated[bool, typer.Option("--exit-code", help="With --dry-run: exit 1 when something would change.")]
Json = Annotated[bool, typer.Option("--json", help="Print the result as one JSON object.", callback=remember_json)]
Yes = Annotated[bool, typer.Option("--yes", "-y", help="Do not ask before writing.")]
NoPager = Annotated[bool, typer.Option("--no-pager", help="Show a long plan at once, not through $PAGER.")]
Add = Annotated[
    list[str] | None,
    typer.Option(
        "--add",
        metavar="NAME[=VALUE]",
        help="Have this parameter next to the profile, now and with every later apply of it; may be repeated.",
        autocompletion=_complete_parameter,
    ),
]
Remove = Annotated[
    list[str] | None,
    typer.Option(
        "--remove",
        metavar="NAME[=VALUE]",
        help="Have this parameter taken away, or take back an --add of it; may be repeated.",
        autocompletion=_complete_parameter,
    ),
]
Why = Annotated[str | None, typer.Option("--why", metavar="TEXT", help="The reason, for the history.")]
Out = Annotated[
    Path | None,
    typer.Option("--out", metavar="FILE", help="With --dry-run: also write the plan to FILE, to be approved."),
]
Overwrite = Annotated[bool, typer.Option("--overwrite", help="Replace FILE where it is there already.")]
PlanOption = Annotated[
    Path | None,
    typer.Option("--plan", metavar="FILE", help="Carry out exactly the plan of FILE without asking, or nothing."),
]
Expect = Annotated[
    str | None,
    typer.Option("--expect", metavar="FINGERPRINT", help="Carry out the plan only if its fingerprint is this one."),
]
RegenerateOption = Annotated[
    Regenerate,
    typer.Option(
        "--regenerate",
        help="Whether generated files such as grub.cfg are built anew; auto: on the running system, never in another "
        "root; always: there too, by programs of that root.",
    ),
]
Force = Annotated[
    list[str] | None,
    typer.Option(
        "--force",
        metavar="RULE",
        help="Go on in spite of what is shown as error[RULE]; may be repeated.",
        autocompletion=_complete_force,
    ),
]
PlatformOption = Annotated[
    str,
    typer.Option(
        "--platform",
        metavar="auto|intel|amd|x86|arm64",
        help="Whose IOMMU the host has; x86 is both vendors. auto: this CPU's, or what fits the tree of --root.",
        autocompletion=_complete_platform,
    ),
]
Set = Annotated[
    list[str] | None,
    typer.Option(
        "--set",
        metavar="NAME=VALUE",
        help="Fill an input of the profile, such as vfio-pci.ids=10de:1b80; may be repeated.",
        autocompletion=_complete_input,
    ),
]
Device = Annotated[
    list[str] | None,
    typer.Option(
        "--device",
        metavar="ADDRESS|NAME",
        help="Give this device to guests, with all functions of its card; may be repeated. devices lists them.",
        autocompletion=_complete_device,
    ),
]
WithGroup = Annotated[
    bool, typer.Option("--with-group", help="With --device: also what has to go along, of the same IOMMU group.")
]
KernelOption = Annotated[
    list[str] | None,
    typer.Option(
        "--kernel",
        metavar="RELEASE",
        help="The kernel that reads it, such as 6.1 or 4.18.0-553.el8_10; may be repeated.",
        autocompletion=_complete_kernel,
    ),
]


def parse_kernels(texts: list[str] | None) -> "tuple[Kernel, ...]":
    """Read the values of --kernel. Raises a usage error (exit code 2)."""
    from iommuctl.kernel import lines

    for text in texts or ():
        if lines.Kernel.parse(text) is None:
            raise typer.BadParameter(f"{text!r} is no kernel release such as 6.1", param_hint="'--kernel'")
    return lines.parse_kernels(tuple(texts or ()))


Verbose = Annotated[
    bool,
    typer.Option(
        "--verbose", "-v", help="Also say what was looked at, and the reason of each change.", callback=remember_verbose
    ),
]
Debug = Annotated[bool, typer.Option("--debug", help="Show a traceback with an error.", callback=remember_debug)]


class ChangeOptions(NamedTuple):
    """The options of everything that changes a host."""

    dry_run: DryRun = False
    exit_code: ExitCode = False
    yes: Yes = False
    regenerate: RegenerateOption = Regenerate.AUTO
    force: Force = None
    no_pager: NoPager = False
    out: Out = None
    overwrite: Overwrite = False
    plan: PlanOption = None
    expect: Expect = None

    @property
    def pages(self) -> bool:
        """Whether a text that the terminal does not hold goes through a pager."""
        return not self.no_pager


def parse_platform(text: str) -> Platform | None:
    """Read the value of --platform; None for `auto`. Raises a usage error (exit code 2)."""
    if text == "auto":
        return None
    try:
        return Platform(text)
    except ValueError as error:
        from iommuctl.cli.usage import choice_error

        raise choice_error("--platform", text, PLATFORMS, hint="iommuctl check tells the platform of a host") from error


def parse_why(text: str | None) -> str | None:
    """Read the value of --why. Raises a usage error (exit code 2)."""
    if text is not None and not is_reason(text):
        raise typer.BadParameter(f"it is {REASON}", param_hint="'--why'")
    return text


def is_reason(text: str) -> bool:
    """Whether a text is what --why may be: it is kept in a snapshot, which has to be read again."""
    return bool(text.strip()) and text.isprintable() and len(text) <= MOST_OF_A_REASON


def parse_inputs(pairs: list[str] | None) -> dict[str, str]:
    """Read the values of --set. Raises a usage error (exit code 2)."""
    inputs: dict[str, str] = {}
    for pair in pairs or ():
        name, equals, value = pair.partition("=")
        if not equals or not name:
            raise typer.BadParameter(f"{pair!r} is not NAME=VALUE", param_hint="'--set'")
        if name in inputs:
            raise typer.BadParameter(f"{name!r} is set twice", param_hint="'--set'")
        inputs[name] = value
    return inputs
