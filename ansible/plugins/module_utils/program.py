# SPDX-License-Identifier: Apache-2.0
"""The installed iommuctl: run it, and read its JSON. Nothing of it is imported: this interpreter is another one."""

import json
import os
import tempfile

SCHEMA_VERSION = 1
# Where the program is when it is not on the short path of a session without login.
PLACES = ["/usr/local/bin", "/usr/local/sbin", "/usr/sbin"]

PROGRAM_OPTIONS = {
    "root": {"type": "path", "default": "/"},
    "executable": {"type": "str", "default": "iommuctl"},
}
CHOICE_OPTIONS = {
    "platform": {"type": "str", "default": "auto", "choices": ["auto", "intel", "amd", "x86", "arm64"]},
    "backend": {"type": "str", "choices": ["grub2", "bls", "systemd-boot"]},
    "set": {"type": "dict", "default": {}},
    "force": {"type": "list", "elements": "str", "default": []},
}
BESIDE_OPTIONS = {
    "add": {"type": "list", "elements": "str", "default": []},
    "remove": {"type": "list", "elements": "str", "default": []},
    "why": {"type": "str"},
}
PLAN_OPTIONS = {
    "fingerprint": {"type": "str"},
    "plan": {"type": "dict"},
    "return_plan": {"type": "bool", "default": False},
    "regenerate": {"type": "str", "default": "auto", "choices": ["auto", "always", "never"]},
}


class ProgramError(Exception):
    """Iommuctl did not do what was asked. `error` is its error object, or one like it where it gave none."""

    def __init__(self, error):
        super().__init__(message(error))
        self.error = error


def message(error):
    """Return an error as people read it: what is wrong, the facts, and the next command."""
    lines = [str(error.get("brief", ""))]
    lines += ["    {0}".format(detail) for detail in error.get("details") or []]
    if error.get("hint"):
        lines.append("hint: {0}".format(error["hint"]))
    return "\n".join(lines)


def trouble(code, kind, brief, hint=None):
    """Return an error object for what iommuctl itself could not tell."""
    return {"code": code, "kind": kind, "brief": brief, "details": [], "hint": hint}


def read_report(code, stdout, stderr, allowed=(0,)):
    """Return the report of a run that ended with `code`, or raise its error.

    `stdout` has one JSON object or nothing; an error is the last line of `stderr`.
    """
    if code in allowed and stdout.strip():
        try:
            report = json.loads(stdout)
        except ValueError:
            report = None
        if not isinstance(report, dict):
            raise ProgramError(trouble(code, "no-report", "what iommuctl printed is no JSON object"))
        if report.get("schema_version") != SCHEMA_VERSION:
            brief = "iommuctl speaks version {0} of its JSON, this collection version {1}"
            raise ProgramError(
                trouble(
                    code,
                    "schema-version",
                    brief.format(report.get("schema_version"), SCHEMA_VERSION),
                    "install the collection that came with that iommuctl",
                )
            )
        return report
    lines = stderr.strip().splitlines() or [""]
    try:
        error = json.loads(lines[-1])["error"]
        error["brief"], error["kind"], error["code"]
    except (ValueError, KeyError, TypeError):
        error = trouble(code, "no-report", lines[-1] or "iommuctl ended with {0} and told nothing".format(code))
    raise ProgramError(error)


def plan_diff(report):
    """Return a plan as Ansible shows differences: the diff of each file, then the commands that are run."""
    shown = [
        one.get("diff") or "{0}: {1}\n".format(one.get("path"), one.get("reason")) for one in report.get("files") or []
    ]
    shown += [
        "command: {0}\n    {1}\n".format(" ".join(one["argv"]), one.get("reason"))
        for one in report.get("commands") or []
        if not one.get("left_out")
    ]
    return [{"prepared": text} for text in shown]


def as_text(value):
    """Return an input's value as it is written on the command line: a list is joined by commas."""
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, (list, tuple)):
        return ",".join(as_text(one) for one in value)
    return str(value)


def choice_words(params):
    """Return the options that say what is asked for. Those that are not said are left to iommuctl."""
    words = []
    if params.get("platform") not in (None, "auto"):
        words += ["--platform", params["platform"]]
    if params.get("backend"):
        words += ["--backend", params["backend"]]
    for name, value in sorted((params.get("set") or {}).items()):
        words += ["--set", "{0}={1}".format(name, as_text(value))]
    for parameter in params.get("add") or []:
        words += ["--add", parameter]
    for parameter in params.get("remove") or []:
        words += ["--remove", parameter]
    if params.get("why"):
        words += ["--why", params["why"]]
    if params.get("regenerate") not in (None, "auto"):
        words += ["--regenerate", params["regenerate"]]
    for rule in params.get("force") or []:
        words += ["--force", rule]
    return words


class Program:
    """The iommuctl of this host, with the options that every module has."""

    def __init__(self, module):
        self.module = module
        self.params = module.params
        self.path = module.get_bin_path(self.params["executable"], opt_dirs=PLACES)

    def run(self, words, allowed=(0,)):
        """Return the report of `iommuctl WORDS --json`, or raise ProgramError."""
        if self.path is None:
            raise ProgramError(
                trouble(
                    None,
                    "not-installed",
                    "no program {0!r} on this host".format(self.params["executable"]),
                    "install iommuctl there, or set executable",
                )
            )
        command = [self.path, *words, "--json"]
        if self.params.get("root") not in (None, "/"):
            command += ["--root", self.params["root"]]
        code, stdout, stderr = self.module.run_command(command, environ_update={"LC_ALL": "C.UTF-8"})
        return read_report(code, stdout, stderr, allowed)

    def change(self, words):
        """Plan in check mode, else carry out; return the report, and the plan as a document where it is wanted."""
        words = list(words)
        if self.params["fingerprint"]:
            words += ["--expect", self.params["fingerprint"]]
        if self.params["plan"]:
            words += ["--plan", self._written(self.params["plan"])]
        if not self.module.check_mode:
            return self.run([*words, "--yes"]), None
        if not self.params["return_plan"]:
            return self.run([*words, "--dry-run"]), None
        # The directory is Ansible's own, and goes with the module.
        out = os.path.join(tempfile.mkdtemp(dir=self.module.tmpdir), "plan.json")
        report = self.run([*words, "--dry-run", "--out", out])
        with open(out, encoding="utf-8") as file:
            return report, json.load(file)

    def _written(self, plan):
        path = os.path.join(tempfile.mkdtemp(dir=self.module.tmpdir), "plan.json")
        with open(path, "w", encoding="utf-8") as file:
            json.dump(plan, file)
        return path

    def finish(self, report, plan):
        """End the module with what a change did or would do."""
        result = {
            "changed": report["changed"],
            "report": report,
            "reboot_required": report["reboot_required"],
        }
        if plan is not None:
            result["plan"] = plan
        if self.module._diff:
            result["diff"] = plan_diff(report)
        self.module.exit_json(**result)

    def fail(self, problem):
        """End the module with an error of iommuctl."""
        self.module.fail_json(msg=message(problem.error), rc=problem.error.get("code"), error=problem.error)
