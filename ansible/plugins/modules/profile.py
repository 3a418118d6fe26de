#!/usr/bin/python
# SPDX-License-Identifier: Apache-2.0
"""Bring the boot configuration of a host to an IOMMU profile."""

DOCUMENTATION = r"""
module: profile
short_description: Bring the boot configuration of a host to an IOMMU profile
description:
  - Runs C(iommuctl apply) on the managed node and returns its report. Nothing is decided here.
  - In check mode it runs C(iommuctl apply --dry-run), which opens nothing for writing and runs nothing that changes anything.
  - The way back is M(iommuctl.iommu.rollback). What the kernel makes of it, after the reboot, tells
    M(iommuctl.iommu.host_info).
version_added: 0.1.0
author: The iommuctl contributors (@iommuctl)
extends_documentation_fragment:
  - iommuctl.iommu.program
  - iommuctl.iommu.program.choices
  - iommuctl.iommu.program.beside
  - iommuctl.iommu.program.plan
attributes:
  check_mode:
    support: full
  diff_mode:
    support: full
options:
  name:
    description:
      - A profile's name, or the path of a TOML file on the managed node.
      - Needed unless O(plan) names it. A profile that is a file is named with O(plan) too.
    type: str
seealso:
  - module: iommuctl.iommu.rollback
  - module: iommuctl.iommu.host_info
"""

EXAMPLES = r"""
- name: Plan, and show the differences
  iommuctl.iommu.profile:
    name: passthrough-perf
  check_mode: true
  diff: true

- name: Carry out the plan that was looked at, or nothing
  iommuctl.iommu.profile:
    name: passthrough-perf
    fingerprint: "{{ approved[inventory_hostname] }}"

- name: Give a device to guests
  iommuctl.iommu.profile:
    name: vfio-bind
    set:
      vfio-pci.ids: ["10de:1b80", "10de:10f0"]
"""

RETURN = r"""
report:
  description: The whole JSON of iommuctl, with C(files), C(changes), C(findings), C(fingerprint), C(shape) and C(snapshot).
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
    BESIDE_OPTIONS,
    CHOICE_OPTIONS,
    PLAN_OPTIONS,
    PROGRAM_OPTIONS,
    Program,
    ProgramError,
    choice_words,
)


def main():
    """Run the module."""
    options = dict(PROGRAM_OPTIONS, name={"type": "str"})
    options.update(CHOICE_OPTIONS)
    options.update(BESIDE_OPTIONS)
    options.update(PLAN_OPTIONS)
    module = AnsibleModule(
        options,
        required_one_of=[("name", "plan")],
        mutually_exclusive=[("plan", "fingerprint")],
        supports_check_mode=True,
    )
    named = [module.params["name"]] if module.params["name"] else []
    program = Program(module)
    try:
        report, plan = program.change(["apply", *named, *choice_words(module.params)])
    except ProgramError as problem:
        program.fail(problem)
    else:
        program.finish(report, plan)


if __name__ == "__main__":
    main()
