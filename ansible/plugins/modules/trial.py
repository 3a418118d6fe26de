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
  - iommuctl.iommu.program.beside
attributes:
  check_mode:
    support: full
  diff_mode:
    support: partial
    details: Arming shows what is written now; confirming and cancelling show nothing.
options:
  state:
    description:
      - V(armed) arms one boot, unless that profile is armed or runs on trial already, on the same terms (O(confirm),
        O(timeout), O(on_failure)). Any other trial that is under way is left alone, and this fails.
      - V(confirmed) makes permanent what runs on trial. V(absent) takes away a trial that is under way, however far it is.
    type: str
    choices: [armed, confirmed, absent]
    default: armed
  name:
    description:
      - A profile's name, or the path of a TOML file on the managed node.
    type: str
  fingerprint:
    description:
      - Arm it only if this is the fingerprint of what a confirmation would make permanent. It is that which
        M(iommuctl.iommu.profile) returns in check mode for the same choices.
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
    BESIDE_OPTIONS,
    CHOICE_OPTIONS,
    PROGRAM_OPTIONS,
    Program,
    ProgramError,
    choice_words,
    plan_diff,
    trouble,
)

UNDER_WAY = ("armed", "running")
OVER = ("none", "confirmed", "returned", "cancelled")
STALE = 75  # EX_TEMPFAIL, as iommuctl itself ends
TERMS = ("confirm", "timeout", "on_failure")


def arm(program, params):
    """Return the report of arming, planned alone in check mode."""
    start = ["trial", "start", params["name"], "--confirm", params["confirm"], "--timeout", str(params["timeout"])]
    start += ["--on-failure", params["on_failure"], *choice_words(params)]
    now = program.run(["trial", "status"])
    if now["state"] in UNDER_WAY and is_asked_for(now["trial"], params):
        return dict(now, changed=False)
    planned = program.run([*start, "--dry-run"])
    permanent = planned["permanent"]["fingerprint"]
    if planned["changed"] and params["fingerprint"] not in (None, permanent):
        error = trouble(STALE, "stale-plan", "the plan is not the expected one", "look at the new plan")
        error["details"] = ["expected {0}".format(params["fingerprint"]), "but it is {0}".format(permanent)]
        raise ProgramError(error)
    if program.module.check_mode or not planned["changed"]:
        return planned
    # What was compared is what is armed: the trial's own fingerprint is of the same permanent change.
    return program.run([*start, "--expect", planned["plan"]["fingerprint"], "--yes"])


def is_asked_for(under_way, params):
    """Return whether a trial is of the profile and on the terms that are asked for."""
    return under_way["profile"] == params["name"] and all(under_way[name] == params[name] for name in TERMS)


def confirm(program):
    """Return the report of a confirmation, of the state alone where there is nothing to do."""
    now = program.run(["trial", "status"])
    if now["state"] == "confirmed":
        return dict(now, changed=False)
    if now["state"] not in ("running", "kept"):
        brief = "no trial runs that could be confirmed: it is {0}".format(now["state"])
        raise ProgramError(trouble(None, "not-found", brief, "iommuctl trial status"))
    return dict(now, changed=True) if program.module.check_mode else program.run(["trial", "confirm"])


def cancel(program):
    """Return the report of a cancellation, of the state alone where no trial is under way."""
    now = program.run(["trial", "status"])
    if now["state"] in OVER:
        return dict(now, changed=False)
    return dict(now, changed=True) if program.module.check_mode else program.run(["trial", "cancel"])


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
    options.update(BESIDE_OPTIONS)
    module = AnsibleModule(options, required_if=[("state", "armed", ["name"])], supports_check_mode=True)
    program = Program(module)
    try:
        if module.params["state"] == "armed":
            report = arm(program, module.params)
        elif module.params["state"] == "confirmed":
            report = confirm(program)
        else:
            report = cancel(program)
    except ProgramError as problem:
        program.fail(problem)
    else:
        result = {"changed": report["changed"], "report": report, "reboot_required": report["reboot_required"]}
        if module._diff:
            result["diff"] = plan_diff(report["plan"] or {})
        module.exit_json(**result)


if __name__ == "__main__":
    main()
