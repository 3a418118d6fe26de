# SPDX-License-Identifier: Apache-2.0
# ruff: noqa: PT012 - what is cut off is patched in the block
"""A run that was cut off: every command that reads says so, and a dry-run plans on what its undo will leave."""

import json
import os
from contextlib import nullcontext
from pathlib import Path

import pytest
from console import NEVER, code_of, run
from typer.testing import CliRunner

from iommuctl.app.change.apply import plan_apply
from iommuctl.app.change.execute import carry_out
from iommuctl.app.change.interrupted import interrupted_findings
from iommuctl.app.change.planning import Choices
from iommuctl.app.host import Host
from iommuctl.app.look.lint import lint_host
from iommuctl.app.rollback.plan import plan_rollback
from iommuctl.cli.application import application
from iommuctl.cli.session import Session
from iommuctl.plan import Regenerate
from iommuctl.transaction.recovery import recover
from iommuctl.transaction.transaction import Transaction

NO_GENERATOR = Choices(regenerate=Regenerate.NEVER)
STATE = "var/lib/iommuctl"


class CutOffError(BaseException):
    """A power cut."""


@pytest.fixture(params=["written", "begun", "committed"])
def cut(request: pytest.FixtureRequest, sample_host: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A host whose apply was cut off: when all was written, before the first write, or after the commit."""

    def end(*_arguments: object, **_options: object) -> None:
        raise CutOffError

    where = {"written": "_commit", "begun": "write", "committed": ""}[request.param]
    with monkeypatch.context() as patch:
        patch.setattr(Transaction, "_undo", end)
        if where:
            patch.setattr(Transaction, where, end)
        else:
            patch.setattr("iommuctl.transaction.transaction.complete", end)
        host = Host.open(sample_host)
        with pytest.raises(CutOffError):
            carry_out(host, plan_apply(host, "passthrough-perf", NO_GENERATOR), progress=lambda _: nullcontext())
    assert (sample_host / STATE / "journal.json").exists()
    return sample_host


def files(tree: Path) -> dict[str, bytes]:
    found = (path for path in tree.rglob("*") if path.is_file() and STATE not in str(path))
    return {str(path.relative_to(tree)): path.read_bytes() for path in found}


def told(command: str, cut: Path) -> str:
    """What a command says of the host, in text and in JSON."""
    words = ("passthrough-perf", "--dry-run") if command == "apply" else ()
    results = [
        CliRunner().invoke(application, [command, *words, *more, "--root", str(cut)], obj=Session())
        for more in ((), ("--json",))
    ]
    assert [result.exit_code for result in results] in ([0, 0], [1, 1])
    return min((result.stdout for result in results), key=lambda text: "interrupted-run" in text)


@pytest.mark.parametrize("command", ["status", "history", "lint", "apply"])
def test_every_reading_command_says_so_and_touches_nothing(cut: Path, command: str) -> None:
    before = files(cut)
    assert f"iommuctl recover --root {cut}" in told(command, cut)
    assert files(cut) == before
    recover(Host.open(cut).root, Host.open(cut).store)
    assert "interrupted-run" not in told(command, cut)


@pytest.mark.parametrize("profile", ["passthrough-perf", "strict-isolation"])
def test_a_dry_run_is_what_apply_then_does(cut: Path, profile: str) -> None:
    (cut / "etc/default/.iommuctl-0000000000000000.tmp").touch()  # of nobody's journal: it stays, and counts
    dry = plan_apply(Host.open(cut), profile, NO_GENERATOR)
    recover(Host.open(cut).root, Host.open(cut).store)
    done = plan_apply(Host.open(cut), profile, NO_GENERATOR)
    assert [one.rule for one in dry.steps.findings if one not in done.steps.findings] == ["interrupted-run"]
    assert (dry.steps.edits, dry.steps.changes, dry.steps.commands) == (
        done.steps.edits,
        done.steps.changes,
        done.steps.commands,
    )
    assert dry.steps.fingerprint == done.steps.fingerprint


def test_a_dry_rollback_is_what_the_rollback_then_does(cut: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    recover(Host.open(cut).root, Host.open(cut).store)
    for profile in ("strict-isolation", "translated-lazy"):
        host = Host.open(cut)
        carry_out(host, plan_apply(host, profile, NO_GENERATOR), progress=lambda _: nullcontext())

    def end(*_arguments: object, **_options: object) -> None:
        raise CutOffError

    for where in ("iommuctl.transaction.transaction.settle", "iommuctl.transaction.transaction.complete"):
        host = Host.open(cut)
        with monkeypatch.context() as patch, pytest.raises(CutOffError):
            patch.setattr(Transaction, "_undo", end)
            patch.setattr(where, end)
            carry_out(host, plan_rollback(host, None, NO_GENERATOR), progress=lambda _: nullcontext())
        dry = plan_rollback(Host.open(cut), None, NO_GENERATOR)
        recover(Host.open(cut).root, Host.open(cut).store)
        done = plan_rollback(Host.open(cut), None, NO_GENERATOR)
        assert (dry.of, dry.steps.edits, dry.marks, dry.steps.fingerprint) == (
            done.of,
            done.steps.edits,
            done.marks,
            done.steps.fingerprint,
        )


@pytest.mark.parametrize("journal", [b"{}", b'{"schema_version": 9}', b"\xff"])
def test_a_journal_that_cannot_be_read_is_told_and_stops_the_dry_run_as_it_stops_apply(
    sample_host: Path, journal: bytes
) -> None:
    assert code_of("apply", "passthrough-perf", "--root", str(sample_host), *NEVER) == 0
    (sample_host / STATE / "journal.json").write_bytes(journal)
    status = run("status", "--json", "--root", str(sample_host))
    assert (status.returncode, [one["rule"] for one in json.loads(status.stdout)["findings"]]) == (
        0,
        ["interrupted-run", "sources-disagree"],
    )
    for words in (("--dry-run",), NEVER):
        assert code_of("apply", "strict-isolation", "--root", str(sample_host), *words) == 78


def test_what_may_not_be_looked_at_is_not_passed_over(sample_host: Path) -> None:
    if os.geteuid() != 0:
        pytest.skip("only root can become somebody else")
    assert code_of("apply", "passthrough-perf", "--root", str(sample_host), *NEVER) == 0
    for path in (sample_host, *sample_host.parents):
        if path != Path("/tmp") and path.is_relative_to("/tmp"):
            path.chmod(0o755)
    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:
        try:
            os.seteuid(65534)
            host = Host.open(sample_host)
            rules = [one.rule for one in interrupted_findings(host)]
            rules += [one.finding.rule for one in lint_host(host, platform=None, backend=None, kernels=()).findings]
            os.write(writing, " ".join(rules).encode())
        finally:
            os._exit(0)
    os.close(writing)
    os.waitpid(child, 0)
    said = os.read(reading, 1000).decode().split()
    os.close(reading)
    assert said[0] == "state-unreadable"
    assert said.count("state-unreadable") == 2
