# SPDX-License-Identifier: Apache-2.0
"""Applied: what a snapshot shows that an apply asked for, where its profile cannot be read again."""

from iommuctl.facts import Platform
from iommuctl.kernel.cmdline import Parameter
from iommuctl.profile.desired import DesiredArguments, Unwanted, Wanted
from iommuctl.transaction.snapshot import Manifest


def arguments_of(manifest: Manifest, platform: Platform) -> DesiredArguments:
    """Return what a snapshot's changes brought and took away; what was in place before it is not known of it.

    A file that was made holds the rest of its line too, so those that were there before count, if there are any.
    """
    made = {file.path for file in manifest.files if file.before_sha256 is None}
    changes = [change for change in manifest.changes if change.path not in made] or manifest.changes
    reason = f"changed by snapshot {manifest.id}"
    wanted: dict[str, Wanted] = {}
    unwanted: dict[str, Unwanted] = {}
    for change in changes:
        if change.after is not None:
            parameter = Parameter.parse(change.after)
            wanted[parameter.key] = Wanted(parameter.name, parameter.value, reason)
        elif change.before is not None:
            parameter = Parameter.parse(change.before)
            unwanted[change.before] = Unwanted(parameter.name, parameter.value, reason)
    gone = tuple(one for one in unwanted.values() if Parameter.parse(str(one)).key not in wanted)
    return DesiredArguments(manifest.profile, platform, tuple(wanted.values()), gone)
