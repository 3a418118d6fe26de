# SPDX-License-Identifier: Apache-2.0
"""Write a document of a host to the control machine. It runs there, in Ansible itself: no process, no connection."""

import os
import tempfile

from ansible.errors import AnsibleActionFail
from ansible.plugins.filter.core import to_json

from ansible.plugins.action import ActionBase

MODE = 0o644
STEPS = ("plan", "apply", "rollback", "verify")
# A host that is planned or converted begins anew, whatever an earlier campaign said.
AFRESH = ("plan", "apply")


class ActionModule(ActionBase):
    """What was said last stands: an error takes the place of the one before, and a document that of the errors."""

    TRANSFERS_FILES = False
    _requires_connection = False

    def run(self, tmp=None, task_vars=None):
        """Write, also in check mode: nothing of a host is touched."""
        result = super().run(tmp, task_vars)
        _valid, args = self.validate_argument_spec(
            {
                "directory": {"type": "str", "required": True},
                "name": {"type": "str", "required": True},
                "report": {"type": "dict", "default": {}},
                "error": {"type": "dict", "default": {}},
            }
        )
        if os.sep in args["name"]:
            raise AnsibleActionFail("{0!r} is no name of a file".format(args["name"]))
        directory = self._loader.path_dwim(args["directory"])
        path = os.path.join(directory, args["name"])
        try:
            os.makedirs(directory, exist_ok=True)
            if args["error"]:
                write(path + ".error.json", {"schema_version": 1, "error": args["error"]})
            else:
                host, _dot, step = args["name"].rpartition(".")
                over = ["{0}.{1}".format(host, one) for one in STEPS] if step in AFRESH else [args["name"]]
                for name in over:
                    remove(os.path.join(directory, name + ".error.json"))
            if args["report"] and not args["error"]:
                write(path + ".json", args["report"])
        except OSError as error:
            raise AnsibleActionFail("cannot write {0}: {1}".format(error.filename or path, error.strerror)) from error
        result["changed"] = False
        return result


def remove(path):
    """Remove a file, if it is there."""
    if os.path.lexists(path):
        os.unlink(path)


def write(path, document):
    """Write a document whole, or leave the one that is there."""
    descriptor, beside = tempfile.mkstemp(dir=os.path.dirname(path), prefix=".document-")
    try:
        with open(descriptor, "w", encoding="utf-8") as file:
            file.write(to_json(document))
        os.chmod(beside, MODE)
        os.replace(beside, path)
    except BaseException:
        os.unlink(beside)
        raise
