#!/usr/bin/python
# SPDX-License-Identifier: Apache-2.0
"""Boot once with an IOMMU profile, keep it, or take the trial away."""

DOCUMENTATION = r"""
module: trial
short_description: Boot once with an IOMMU profile, keep it, or take the trial away
description:
  - Runs C(iommuctl trial start), C(confirm) or C(cancel) on the managed node, which is a running system.
  - It never reboots. With V(armed) the next boot is the trial's, and the boot after it the old one unless it was confirmed.
version_added: 0.1.0
author: The iommuctl contributors (@iommuctl)
extends_documentation_fragment:
  - iommuctl.iommu.program
  - iommuctl.iommu.program.choices
attributes:
  check_mode:
    support: full
  diff_mode:
    support: partial
    details: Arming shows what is written now; confirming and cancelling show nothing.
options:
  state:
    description:
      - V(armed) arms one boot, unless that profile is armed or runs on trial already.
      - V(confirmed) makes permanent what runs on trial. V(absent) takes away a trial that is armed or runs.
    type: str
    choices: [armed, confirmed, absent]
    default: armed
  name:
    description:
      - A profile's name, or the path of a TOML file on the managed node.
    type: str
  fingerprint:
    description:
      - Arm it only if this is the fingerprint of what a confirmation would make permanent. It is compared right before the
        trial is armed.
    type: str
  confirm:
    description:
      - Who makes it permanent, somebody or the checks of C(/etc/iommuctl/confirm.d).
    type: str
    choices: [manual, auto]
    default: manual
  timeout:
    description:
      - End the trial so many seconds after the start of its kernel.
    type: int
    default: 900
  on_failure:
    description:
      - What a failing check, or the end of the time, does.
    type: str
    choices: [reboot, stay]
    default: reboot
seealso:
  - module: iommuctl.iommu.profile
"""

EXAMPLES = r"""
- name: Boot once with a profile, and keep it where every check passes
  iommuctl.iommu.trial:
    name: passthrough-perf
    confirm: auto
    fingerprint: "{{ approved[inventory_hostname] }}"
"""

RETURN = r"""
report:
  description: The whole JSON of iommuctl, with C(state), C(trial), C(plan) and C(permanent).
  returned: success
  type: dict
reboot_required:
  description: Whether a boot is armed.
  returned: success
  type: bool
error:
  description: The error object of iommuctl, with C(code), a stable C(kind), C(brief), C(details) and C(hint).
  returned: failure
  type: dict
rc:
  description: The exit code of iommuctl.
  returned: failure
  type: int
"""

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.iommuctl.iommu.plugins.module_utils.program import (
    CHOICE_OPTIONS,
    PROGRAM_OPTIONS,
    Program,
    ProgramError,
    choice_words,
    plan_diff,
    trouble,
)

UNDER_WAY = ("armed", "running")
STALE = 75  # EX_TEMPFAIL, as iommuctl itself ends


def arm(program, params):
    """Return the report of arming, planned alone in check mode."""
    start = ["trial", "start", params["name"], "--confirm", params["confirm"], "--timeout", str(params["timeout"])]
    start += ["--on-failure", params["on_failure"], *choice_words(params)]
    now = program.run(["trial", "status"])
    if now["state"] in UNDER_WAY and now["trial"]["profile"] == params["name"]:
        return dict(now, changed=False)
    planned = program.run([*start, "--dry-run"])
    would = planned["plan"]["fingerprint"]
    if planned["changed"] and params["fingerprint"] not in (None, would):
        error = trouble(STALE, "stale-plan", "the plan is not the expected one", "look at the new plan")
        error["details"] = ["expected {0}".format(params["fingerprint"]), "but it is {0}".format(would)]
        raise ProgramError(error)
    return planned if program.module.check_mode else program.run([*start, "--yes"])


def settle(program, command, ends):
    """Return the report of a confirmation or cancellation, of the state alone where there is nothing to do."""
    now = program.run(["trial", "status"])
    if now["state"] not in ends:
        if command == "confirm" and now["state"] != "confirmed":
            brief = "no trial runs that could be confirmed: it is {0}".format(now["state"])
            raise ProgramError(trouble(None, "not-found", brief, "iommuctl trial status"))
        return dict(now, changed=False)
    if program.module.check_mode:
        return dict(now, changed=True)
    return program.run(["trial", command])


def main():
    """Run the module."""
    options = dict(
        PROGRAM_OPTIONS,
        state={"type": "str", "default": "armed", "choices": ["armed", "confirmed", "absent"]},
        name={"type": "str"},
        fingerprint={"type": "str"},
        confirm={"type": "str", "default": "manual", "choices": ["manual", "auto"]},
        timeout={"type": "int", "default": 900},
        on_failure={"type": "str", "default": "reboot", "choices": ["reboot", "stay"]},
    )
    options.update(CHOICE_OPTIONS)
    module = AnsibleModule(options, required_if=[("state", "armed", ["name"])], supports_check_mode=True)
    program = Program(module)
    try:
        if module.params["state"] == "armed":
            report = arm(program, module.params)
        elif module.params["state"] == "confirmed":
            report = settle(program, "confirm", ("running", "kept"))
        else:
            report = settle(program, "cancel", ("armed", "running", "kept"))
    except ProgramError as problem:
        program.fail(problem)
    else:
        result = {"changed": report["changed"], "report": report, "reboot_required": report["reboot_required"]}
        if module._diff:
            result["diff"] = plan_diff(report["plan"] or {})
        module.exit_json(**result)


if __name__ == "__main__":
    main()
