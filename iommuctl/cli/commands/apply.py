# SPDX-License-Identifier: Apache-2.0
"""Apply: bring the boot configuration to a profile."""

import typer

from iommuctl.cli import options
from iommuctl.cli.command import command
from iommuctl.errors import UsageError


@command(
    "apply passthrough-perf --dry-run",
    "apply vfio-bind --device 0000:01:00.0",
    "apply vfio-bind --set vfio-pci.ids=10de:1b80,10de:10f0",
    "apply none --add hugepages=16 --why 'the database'",
    "apply passthrough-perf --dry-run --out plan.json",
    "apply --plan plan.json",
    "apply strict-isolation --root /mnt/image --platform amd --yes",
    verbose=True,
)
def apply(
    context: typer.Context,
    profile: options.ProfileOrPlan = None,
    root: options.Root = options.ROOT,
    platform: options.PlatformOption = "auto",
    backend: options.Backend = None,
    inputs: options.Set = None,
    device: options.Device = None,
    with_group: options.WithGroup = False,
    add: options.Add = None,
    remove: options.Remove = None,
    why: options.Why = None,
    change: options.ChangeOptions = options.ChangeOptions(),  # noqa: B008 - a value
) -> None:
    """Bring the boot configuration to a profile.

    The whole change is shown first, and on a terminal nothing is written before you say yes. The outcome is read back;
    where it is not as planned, everything is put back. What --add and --remove name is kept next to the profile;
    `none` in the place of a profile leaves that as it is.
    """
    from iommuctl.app.change.apply import plan_apply
    from iommuctl.app.change.planning import Choices
    from iommuctl.cli.approval import Request, requested
    from iommuctl.cli.change import finish, opened
    from iommuctl.cli.choice import chosen_devices
    from iommuctl.profile.beside import asked_for

    if profile is None and change.plan is None:
        raise UsageError("iommuctl apply: PROFILE is missing", hint="iommuctl profile list")
    host = opened(root, change)
    asked = profile if change.plan is None else None
    given = options.parse_inputs(inputs)
    chosen = chosen_devices(context, host, asked, given, device, with_group=with_group, backend=backend)
    choices = Choices(
        platform=options.parse_platform(platform),
        backend=backend,
        inputs=chosen.inputs,
        regenerate=change.regenerate,
        force=frozenset(change.force or ()),
        beside=asked_for(add or (), remove or ()),
        why=options.parse_why(why),
        agreed=change.yes,
        devices=chosen.addresses,
    )
    request = requested("apply", host, Request(profile, choices), change)
    finish(context, host, plan_apply(host, request.name or "", request.choices), change, request)
