# SPDX-License-Identifier: Apache-2.0
"""The models of the JSON against the values that they are made of: no field of one is forgotten in the other."""

import json
from pathlib import PurePosixPath

import pytest

from iommuctl.app.change.basis import Item
from iommuctl.app.change.planning import Choices
from iommuctl.app.look.check import CheckItem
from iommuctl.app.look.lint import LintedLine, LintResult, LocatedFinding
from iommuctl.app.look.profiles import ProfileListing
from iommuctl.app.look.status import Drift, Status
from iommuctl.backends.base import Entry, Future
from iommuctl.backends.detection.evidence import Evidence
from iommuctl.backends.trial.base import Condition
from iommuctl.devices.inventory import Use
from iommuctl.devices.judgement import Objection
from iommuctl.devices.planned import PlannedDevice
from iommuctl.documents import base, devices, explained, models, planfile, trial
from iommuctl.findings import Finding, Rule, Severity
from iommuctl.kernel.cmdline import Cmdline
from iommuctl.kernel.explain import Said
from iommuctl.kernel.lines import parse_kernels
from iommuctl.kernel.parameters import Advice, Availability, Definition, Myth, Token
from iommuctl.plan import Change, Command, FileEdit
from iommuctl.running.effect.exemption import Exemption
from iommuctl.running.state import Device
from iommuctl.running.verdict import Check, Verification
from iommuctl.transaction.trial.record import TrialCheck

# A value, its model, what the model leaves out of it, and what it has besides.
PAIRS = [
    (Finding, models.FindingReport, set(), set()),
    (Use, devices.UseReport, set(), set()),
    (Objection, devices.ObjectionReport, set(), set()),
    (PlannedDevice, devices.PlannedDeviceReport, set(), set()),
    (Evidence, models.EvidenceReport, {"weight"}, set()),
    (Change, models.ChangeReport, set(), set()),
    (FileEdit, models.FileReport, {"before", "after", "mode"}, {"diff", "before_sha256", "after_sha256"}),
    (Command, models.CommandReport, {"undo", "shows"}, {"left_out", "ran"}),
    (Condition, trial.ConditionReport, {"hint"}, set()),
    (TrialCheck, trial.TrialCheckReport, set(), set()),
    (Item, planfile.ItemReport, set(), set()),
    (Choices, planfile.ChoicesReport, {"agreed", "beside"}, {"added", "removed"}),
    (Entry, models.EntryReport, set(), set()),
    (Future, models.FutureReport, set(), set()),
    (Drift, models.DriftReport, set(), set()),
    (ProfileListing, models.ProfileSummary, set(), set()),
    (LintedLine, models.LineReport, set(), set()),
    (LocatedFinding, models.LocatedFindingReport, {"finding"}, set(models.FindingReport.model_fields)),
    (LintResult, models.LintReport, set(), {"command"}),
    (Availability, explained.AvailabilityReport, {"on", "kernels"}, {"architecture", "since", "until"}),
    (Said, explained.SaidReport, set(), set()),
    (Advice, explained.AdviceReport, {"values"}, set()),
    (Myth, explained.MythReport, {"is_number"}, set()),
    (Check, models.VerifyCheckReport, {"means"}, set()),
    (Exemption, models.ExemptionReport, {"is_certain"}, set()),
    (CheckItem, models.CheckItemReport, {"outcome"}, {"result"}),
    (
        Definition,
        explained.ParameterReport,
        {"lifted", "manages", "needs", "replacement"},
        {"asked", "defaults", "said", "kernels"},
    ),
    (
        Token,
        explained.TokenReport,
        {"conflicts", "ends_list", "exact", "foreign", "group", "inert_since", "needs", "replacement", "takes_value"},
        set(),
    ),
    (
        Device,
        models.DeviceReport,
        {"capabilities", "group", "is_master", "is_removable", "port", "subsystem", "unit"},
        {
            "carries",
            "class_name",
            "device_name",
            "numvfs",
            "obstacles",
            "reset_methods",
            "totalvfs",
            "usable",
            "vendor_name",
        },
    ),
    (Verification, models.VerifyReport, set(), {"command", "ok"}),
    (
        Status,
        models.StatusReport,
        {"beside", "config", "way_in_step"},
        {"added", "command", "entries", "future_kernels", "removed"},
    ),
]


def fields_of(value: type) -> set[str]:
    names: tuple[str, ...] = getattr(value, "_fields", None) or tuple(value.__dataclass_fields__)  # type: ignore[attr-defined]  # one or the other
    return set(names)


@pytest.mark.parametrize(("value", "model", "left_out", "besides"), PAIRS, ids=lambda one: getattr(one, "__name__", ""))
def test_a_model_has_every_field_of_its_value(
    value: type, model: type[base.Part], left_out: set[str], besides: set[str]
) -> None:
    assert set(model.model_fields) - {"schema_version"} == fields_of(value) - left_out | besides


def test_values_are_written_as_text() -> None:
    line = LintedLine("the text \udcff", Cmdline.parse("a=\udcff b"), parse_kernels(("6.1",)))
    made = base.report(models.LineReport, line)
    assert json.loads(base.to_json(made)) == {
        "where": "the text \ufffd",
        "cmdline": "a=\ufffd b",
        "kernels": ["6.1"],
        "raw": {"where": b"the text \xff".hex(), "cmdline": b"a=\xff b".hex()},
    }


@pytest.mark.parametrize(
    ("text", "bytes_"),
    [
        ("\udc80x", b"\x80x"),
        ("\udcff", b"\xff"),
        ("\ud800", b"\xed\xa0\x80"),
        ("é\udce9", "é".encode() + b"\xe9"),
    ],
)
def test_json_has_all_bytes_of_what_is_no_utf_8(text: str, bytes_: bytes) -> None:
    made = models.FindingReport(rule="myth", severity=Severity.ERROR, parameter=text, message="", hint=None)
    assert bytes.fromhex(json.loads(base.to_json(made))["raw"]["parameter"]) == bytes_


@pytest.mark.parametrize("text", ["a=\U0010ff80", "\U0010ffff", "\U0010fff0\ufffd"])
def test_no_character_is_taken_for_a_byte_that_is_no_utf_8(text: str) -> None:
    line = LintedLine(text, Cmdline.parse(text), ())
    shown = json.loads(base.to_json(base.report(models.LineReport, line)))
    assert shown == {"where": text, "cmdline": text, "kernels": []}
    assert json.loads(base.to_json(base.report(models.LineReport, line._replace(where=f"{text}\udcff")))) == {
        "where": f"{text}\ufffd",
        "cmdline": text,
        "kernels": [],
        "raw": {"where": f"{text.encode().hex()}ff"},
    }


def test_a_byte_that_is_no_utf_8_is_told_once_however_often_a_model_takes_it() -> None:
    parameter = "a=\udcff\U0010ff80"
    found = base.report(models.FindingReport, Finding(Rule.MYTH, Severity.ERROR, "", parameter, None))
    located = base.report(models.LocatedFindingReport, found, where=("a line",))
    raw = json.loads(base.to_json(located))["raw"]
    assert raw == {"parameter": parameter.encode("utf-8", "surrogateescape").hex()}


def test_json_without_such_bytes_has_no_raw() -> None:
    made = models.FindingReport(
        rule="myth", severity=Severity.ERROR, parameter="é\x1b\x9b\u202e", message="", hint=None
    )
    text = base.to_json(made)
    assert json.loads(text)["parameter"] == "é\x1b\x9b\u202e"
    assert "raw" not in text
    assert all(char.isprintable() or char == "\n" for char in text)


def test_what_is_computed_takes_the_place_of_an_attribute() -> None:
    finding = Finding(Rule.MYTH, Severity.ERROR, "message", "iommu=1", "hint")
    future = Future(Cmdline.parse("quiet"), PurePosixPath("/etc/default/grub"))
    assert base.report(models.FindingReport, finding, hint=None).hint is None
    assert base.report(models.FutureReport, future).source == "/etc/default/grub"
    assert base.to_json(base.report(models.FindingReport, finding)).splitlines()[1] == '  "rule": "myth",'


def test_a_value_that_lacks_a_field_is_refused() -> None:
    with pytest.raises(ValueError, match="severity"):
        base.report(models.FindingReport, Drift("where", "expected", "found"))
