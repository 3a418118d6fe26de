#!/usr/bin/python
# SPDX-License-Identifier: Apache-2.0
"""Take the boot configuration of a host back to before an apply."""

DOCUMENTATION = r"""
module: rollback
short_description: Take the boot configuration of a host back to before an apply
description:
  - Runs C(iommuctl rollback) on the managed node and returns its report.
  - Where no apply is in force, and no O(snapshot) is named, there is nothing to do.
  - Each run without O(snapshot) takes back one more apply, if there is one. With it, the second run changes nothing.
version_added: 0.1.0
author: The iommuctl contributors (@iommuctl)
extends_documentation_fragment:
  - iommuctl.iommu.program
  - iommuctl.iommu.program.plan
attributes:
  check_mode:
    support: full
  diff_mode:
    support: full
options:
  snapshot:
    description:
      - Go back to before this snapshot. Without it, before the newest apply in force.
    type: str
  backend:
    description:
      - Which bootloader boots the host, where the evidence does not settle it.
    type: str
    choices: [grub2, bls, systemd-boot]
  force:
    description:
      - Rules of findings that shall not stop it.
    type: list
    elements: str
    default: []
seealso:
  - module: iommuctl.iommu.profile
"""

EXAMPLES = r"""
- name: Show what going back would change
  iommuctl.iommu.rollback:
  check_mode: true
  diff: true

- name: Go back to before the apply of this play
  iommuctl.iommu.rollback:
    snapshot: "{{ applied.report.snapshot }}"
  when: applied.report.snapshot
"""

RETURN = r"""
report:
  description: The whole JSON of iommuctl; null where no apply is in force.
  returned: success
  type: dict
reboot_required:
  description: Whether a reboot is needed before the kernel has the parameters.
  returned: success
  type: bool
plan:
  description: The plan as a document to be approved.
  returned: in check mode with O(return_plan)
  type: dict
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
    PLAN_OPTIONS,
    PROGRAM_OPTIONS,
    Program,
    ProgramError,
    choice_words,
)


def nothing_in_force(program):
    """Whether the history has no apply that a rollback could take back."""
    try:
        snapshots = program.run(["history"])["snapshots"]
    except ProgramError:
        return False
    return not any(one["action"] == "apply" and one["state"] == "applied" for one in snapshots)


def main():
    """Run the module."""
    options = dict(
        PROGRAM_OPTIONS,
        snapshot={"type": "str"},
        backend=CHOICE_OPTIONS["backend"],
        force=CHOICE_OPTIONS["force"],
    )
    options.update(PLAN_OPTIONS)
    module = AnsibleModule(options, mutually_exclusive=[("plan", "fingerprint")], supports_check_mode=True)
    named = [module.params["snapshot"]] if module.params["snapshot"] else []
    program = Program(module)
    try:
        report, plan = program.change(["rollback", *named, *choice_words(module.params)])
    except ProgramError as problem:
        if problem.error.get("kind") == "not-found" and not named and nothing_in_force(program):
            module.exit_json(changed=False, report=None, reboot_required=False, msg=problem.error["brief"])
        program.fail(problem)
    else:
        program.finish(report, plan)


if __name__ == "__main__":
    main()
