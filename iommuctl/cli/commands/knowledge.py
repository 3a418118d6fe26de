# SPDX-License-Identifier: Apache-2.0
"""Knowledge: the commands that tell what a command line says, and what a parameter does. They change nothing."""

# The use cases are imported inside the commands: `--version`, `--help` and completion load none of them.
# ruff: noqa: PLC0415

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from iommuctl.cli import options
from iommuctl.cli.session import print_result, wants_colour

if TYPE_CHECKING:
    from iommuctl.app.lint import LintResult
    from iommuctl.kernel.lines import Kernel

_ROOT = Path("/")
_ERRORS_FOUND = 1


def _complete_parameter(context: typer.Context, incomplete: str) -> list[str]:
    from iommuctl.app.explain import parameter_names

    before: list[str] = list(context.params.get("parameters") or ())
    if before[-1:] == ["="]:  # bash parts words at `=` and wants what comes after it
        start = "".join(before[-2:])
        return [name.removeprefix(start) for name in parameter_names(start + incomplete)]
    return list(parameter_names(incomplete))


def lint(
    context: typer.Context,
    profile: Annotated[
        str | None,
        typer.Argument(
            metavar="PROFILE",
            help="Lint the line that this profile makes; without it, what the host boots with.",
            autocompletion=options.complete_profile,
        ),
    ] = None,
    cmdline: Annotated[
        str | None, typer.Option("--cmdline", metavar="TEXT", help="Lint this command line instead.")
    ] = None,
    root: options.Root = _ROOT,
    platform: options.PlatformOption = "auto",
    kernel: Annotated[
        list[str] | None,
        typer.Option("--kernel", metavar="VERSION", help="The kernel that reads it, such as 6.1; may be repeated."),
    ] = None,
    backend: options.Backend = None,
    inputs: options.Set = None,
    json: options.Json = False,
    verbose: options.Verbose = False,
    debug: options.Debug = False,
) -> None:
    """Find myths, contradictions, deprecated and unsafe parameters.

    Each comes with the mend. Exit code 1 where one is an error.
    """
    if profile is not None and cmdline is not None:
        raise typer.BadParameter("a profile and a text are two things to lint", param_hint="'--cmdline'")
    from iommuctl.app import lint as use_case
    from iommuctl.app.host import Host
    from iommuctl.cli.output.explain import lint_report, lint_text

    chosen, kernels = options.parse_platform(platform), _parse_kernels(kernel)
    found: LintResult
    if cmdline is not None:
        found = use_case.lint_text(cmdline, platform=chosen, kernels=kernels)
    elif profile is not None:
        host, values = Host.open(root), options.parse_inputs(inputs)
        found = use_case.lint_profile(host, profile, inputs=values, platform=chosen, kernels=kernels)
    else:
        host = Host.open(root)
        found = use_case.lint_host(host, platform=chosen, backend=backend, kernels=kernels)
    print_result(
        context,
        lambda: lint_report(found),
        lambda: lint_text(found, colour=wants_colour(sys.stdout), verbose=verbose),
    )
    raise typer.Exit(_ERRORS_FOUND if found.has_errors else 0)


def explain(
    context: typer.Context,
    parameters: Annotated[
        list[str],
        typer.Argument(
            metavar="PARAMETER[=VALUE]", help="Such as iommu=pt or intel_iommu.", autocompletion=_complete_parameter
        ),
    ],
    json: options.Json = False,
    debug: options.Debug = False,
) -> None:
    """Tell what a parameter does, on which hardware and kernels.

    Also what it conflicts with, and the place in the kernel's source that says so.
    """
    from iommuctl.app.explain import explain_parameters
    from iommuctl.cli.output.explain import explain_report, explain_text

    found = explain_parameters(tuple(parameters))
    print_result(context, lambda: explain_report(found), lambda: explain_text(found))


def register(application: typer.Typer) -> None:
    """Add these commands to the application."""
    lint_examples = ("lint", "lint --cmdline 'intel_iommu=on iommu=1'", "lint strict-isolation --platform amd")
    application.command(epilog=options.examples(*lint_examples))(lint)
    application.command(epilog=options.examples("explain iommu=1", "explain intel_iommu iommu.strict=0"))(explain)


def _parse_kernels(texts: list[str] | None) -> "tuple[Kernel, ...]":
    """Read the values of --kernel. Raises a usage error (exit code 2)."""
    from iommuctl.kernel.lines import Kernel, parse_kernels

    for text in texts or ():
        if Kernel.parse(text) is None:
            raise typer.BadParameter(f"{text!r} is no kernel release such as 6.1", param_hint="'--kernel'")
    return parse_kernels(tuple(texts or ()))
