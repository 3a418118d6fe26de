#!/usr/bin/python
# SPDX-License-Identifier: Apache-2.0
"""Tell what iommuctl knows of a host."""

DOCUMENTATION = r"""
module: host_info
short_description: Tell what iommuctl knows of a host
description:
  - Runs C(iommuctl status), C(verify), C(check), C(history) or C(trial status) on the managed node and returns their JSON.
  - A host that iommuctl refuses is no failure but an RV(error), so that a survey of many hosts comes to its end.
version_added: 0.1.0
author: The iommuctl contributors (@iommuctl)
extends_documentation_fragment:
  - iommuctl.iommu.program
attributes:
  check_mode:
    support: full
  diff_mode:
    support: none
options:
  gather:
    description:
      - What to ask. C(verify), C(check) and C(trial) need the running system.
    type: list
    elements: str
    choices: [status, verify, check, history, trial]
    default: [status]
  profile:
    description:
      - The profile that C(verify) compares with; without it, the one that was applied last.
    type: str
  platform:
    description:
      - Whose IOMMU the host has, for C(verify) and C(check).
    type: str
    choices: [auto, intel, amd, x86, arm64]
    default: auto
  set:
    description:
      - Inputs of O(profile) by name, for C(verify).
    type: dict
    default: {}
seealso:
  - module: iommuctl.iommu.profile
"""

EXAMPLES = r"""
- name: Ask whether the kernel does what the applied profile promises
  iommuctl.iommu.host_info:
    gather: [verify]
  register: host
  failed_when: not (host.verify.ok | default(false))
"""

RETURN = r"""
status:
  description: The JSON of C(iommuctl status); null where it was refused or not asked.
  returned: always
  type: dict
verify:
  description: The JSON of C(iommuctl verify), also where the profile is not active.
  returned: always
  type: dict
check:
  description: The JSON of C(iommuctl check), also where something fails.
  returned: always
  type: dict
history:
  description: The JSON of C(iommuctl history).
  returned: always
  type: dict
trial:
  description: The JSON of C(iommuctl trial status).
  returned: always
  type: dict
errors:
  description: The error object of each that was refused, by its name.
  returned: always
  type: dict
error:
  description: The first of RV(errors) in the order of O(gather), or null.
  returned: always
  type: dict
"""

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.iommuctl.iommu.plugins.module_utils.program import (
    CHOICE_OPTIONS,
    PROGRAM_OPTIONS,
    Program,
    ProgramError,
    choice_words,
)

DIFFERENCE = 1  # the exit code with a report that says no
KINDS = ("status", "verify", "check", "history", "trial")


def words(kind, params):
    """Return how iommuctl is asked for one kind of facts."""
    asked = choice_words({"platform": params["platform"]})
    if kind == "trial":
        return ["trial", "status"]
    if kind == "check":
        return ["check", *asked]
    if kind == "verify":
        named = [params["profile"]] if params["profile"] else []
        return ["verify", *named, *asked, *choice_words({"set": params["set"]})]
    return [kind]


def main():
    """Run the module."""
    module = AnsibleModule(
        dict(
            PROGRAM_OPTIONS,
            gather={"type": "list", "elements": "str", "default": ["status"], "choices": list(KINDS)},
            profile={"type": "str"},
            platform=CHOICE_OPTIONS["platform"],
            set=CHOICE_OPTIONS["set"],
        ),
        supports_check_mode=True,
    )
    program = Program(module)
    found = dict.fromkeys(KINDS)
    errors = {}
    for kind in module.params["gather"]:
        allowed = (0, DIFFERENCE) if kind in ("verify", "check") else (0,)
        try:
            found[kind] = program.run(words(kind, module.params), allowed)
        except ProgramError as problem:
            errors[kind] = problem.error
    first = next((errors[kind] for kind in module.params["gather"] if kind in errors), None)
    module.exit_json(changed=False, errors=errors, error=first, **found)


if __name__ == "__main__":
    main()
