#!/usr/bin/python
# SPDX-License-Identifier: Apache-2.0
"""Write a document of a host to the control machine."""

DOCUMENTATION = r"""
module: document
short_description: Write a document of a host to the control machine
description:
  - Writes the JSON of iommuctl, or its error object, where C(iommuctl report) finds it. It runs in Ansible itself, on the
    control machine, so that a thousand hosts cost a thousand files and no process.
  - An error takes the place of the one before; a document, or neither, takes the error away. One whose name ends in C(.plan)
    or C(.apply) takes away what failed on that host at any step, C(plan), C(apply), C(rollback) and C(verify).
version_added: 0.1.0
author: The iommuctl contributors (@iommuctl)
attributes:
  check_mode:
    support: full
    description: It writes in check mode too, for nothing of a host is touched.
  diff_mode:
    support: none
    description: What a host said is no change of it.
options:
  directory:
    description:
      - Where documents are. What is relative is meant from the playbook's directory. It is made where it is not there.
    type: str
    required: true
  name:
    description:
      - The beginning of the name; C(.json) or C(.error.json) is added.
    type: str
    required: true
  report:
    description:
      - A document of iommuctl.
    type: dict
    default: {}
  error:
    description:
      - An error object of iommuctl, written instead of O(report).
    type: dict
    default: {}
seealso:
  - module: iommuctl.iommu.host_info
"""

EXAMPLES = r"""
- name: Keep the status of each host
  iommuctl.iommu.document:
    directory: plans
    name: "{{ inventory_hostname }}.status"
    report: "{{ host.status | default({}, true) }}"
    error: "{{ host.error | default({}, true) }}"
"""

RETURN = r""" # """
