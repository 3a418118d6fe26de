# SPDX-License-Identifier: Apache-2.0
"""Options and attributes that the modules share."""


class ModuleDocFragment:
    """What each module can be told about the program."""

    DOCUMENTATION = r"""
options:
  root:
    description:
      - The tree to work on instead of the running system, such as an image.
      - It is a path on the managed node.
    type: path
    default: /
  executable:
    description:
      - Name or path of the installed program.
    type: str
    default: iommuctl
requirements:
  - iommuctl on the managed node, of any version whose JSON has C(schema_version) 1
attributes:
  platform:
    description: Target operating systems.
    platforms: linux
    support: full
  check_mode:
    description: Can run in check mode and tell what would change without changing it.
  diff_mode:
    description: Returns what changed, or would change in check mode, as differences.
"""

    CHOICES = r"""
options:
  platform:
    description:
      - Whose IOMMU the host has. V(x86) is both vendors'.
      - V(auto) is this CPU's, or what fits the tree of O(root).
    type: str
    choices: [auto, intel, amd, x86, arm64]
    default: auto
  backend:
    description:
      - Which bootloader boots the host, where the evidence does not settle it.
    type: str
    choices: [grub2, bls, systemd-boot]
  set:
    description:
      - Inputs of the profile by name. A list is joined by commas.
    type: dict
    default: {}
  force:
    description:
      - Rules of findings that shall not stop it.
    type: list
    elements: str
    default: []
"""

    BESIDE = r"""
options:
  add:
    description:
      - Parameters to have next to the profile, now and with every later apply of it.
    type: list
    elements: str
    default: []
  remove:
    description:
      - Parameters to take away, or an earlier O(add) to take back.
    type: list
    elements: str
    default: []
  why:
    description:
      - The reason, for the history.
    type: str
"""

    PLAN = r"""
options:
  fingerprint:
    description:
      - Carry out the plan only if this is its fingerprint. Otherwise nothing is written, and RV(ignore:error.kind) is C(stale-plan).
      - A host on which nothing is left to do is unchanged, whatever was expected.
    type: str
  plan:
    description:
      - An approved plan, as O(return_plan) returned it. It is carried out exactly, or what differs is named and nothing is
        written.
      - It is compared and never obeyed, so choices that lift a protection (O(force), O(regenerate)) are given again.
    type: dict
  return_plan:
    description:
      - In check mode, also return the plan as the document that O(plan) takes. In other runs it does nothing.
    type: bool
    default: false
  regenerate:
    description:
      - Whether generated files such as C(grub.cfg) are built anew. V(auto) builds on the running system, and not in another
        O(root), whose programs would have to be trusted.
    type: str
    choices: [auto, always, never]
    default: auto
"""
