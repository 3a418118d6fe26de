# SPDX-License-Identifier: Apache-2.0
"""Start-up: most of a run's time is spent on loading modules, so what a dry-run loads is limited. Nothing is timed."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from project import PROJECT

# Typer's releases differ: they need click or hold a copy of it, and newer ones need pydantic.
LIBRARIES = {
    *("typer", "click", "shellingham", "annotated_doc"),
    *("pydantic", "pydantic_core", "annotated_types", "typing_extensions", "typing_inspection"),
    *("augeas", "_augeas", "_cffi_backend", "cffi"),
}
ONLY_TO_WRITE = {
    *("transaction.freeze", "transaction.journal", "transaction.locks", "transaction.recovery"),
    *("transaction.restoration", "transaction.snapshot", "transaction.statefile", "transaction.store"),
    *("transaction.transaction",),
}
ONLY_FOR_JSON = {"documents.models"}
ONLY_FOR_A_USERS_PROFILE = {"profile.schema"}
ONLY_FOR_DEVICES = {"running.effect.binding", "running.state", "running.sysfs", "running.verdict"}
ONLY_FOR_ENTRIES = {
    *("formats.blsentry", "backends.bls.backend", "backends.entries.survey"),
    "backends.systemd_boot.backend",
}

RUN = """
import sys
before = set(sys.modules)
from iommuctl.cli import main
sys.argv[1:] = {arguments!r}
try:
    main()
except SystemExit as end:
    assert not end.code
loaded = set(sys.modules) - before
print({expression})
"""
INSTALLED = (
    "sorted(name for name in loaded if '.' not in name and name != 'iommuctl'"
    " and '-packages' in (getattr(sys.modules[name], '__file__', None) or ''))"
)
# Modules of ours that have something of pydantic: Typer's own use of it is not ours to end.
WITH_PYDANTIC = (
    "sorted(name for name in loaded if name.startswith('iommuctl.') and any("
    "str(getattr(one, '__module__', '')).startswith('pydantic') for one in vars(sys.modules[name]).values()))"
)
OURS = "sorted(name.removeprefix('iommuctl.') for name in loaded if name.startswith('iommuctl.'))"


@pytest.fixture
def host(tmp_path: Path) -> Path:
    return Path(shutil.copytree(PROJECT / "examples" / "debian-12", tmp_path / "host", symlinks=True))


def last_line(host: Path, expression: str, *arguments: str) -> str:
    """What Python makes of the expression after a command on the host, a dry-run unless another is given."""
    arguments = arguments or ("apply", "passthrough-perf", "--root", str(host), "--dry-run")
    script = RUN.format(arguments=arguments, expression=expression)
    done = subprocess.run([sys.executable, "-c", script], cwd=PROJECT, capture_output=True, text=True, check=True)
    return done.stdout.splitlines()[-1]


def names(line: str) -> set[str]:
    return set(line.strip("[]").replace("'", "").split(", "))


def test_a_dry_run_loads_few_libraries(host: Path) -> None:
    loaded = names(last_line(host, INSTALLED))
    assert {"typer", "augeas"} <= loaded
    assert loaded <= LIBRARIES


def test_a_dry_run_loads_no_module_that_it_does_not_need(host: Path) -> None:
    loaded = names(last_line(host, OURS))
    assert "backends.grub.backend" in loaded
    unneeded = ONLY_TO_WRITE | ONLY_FOR_JSON | ONLY_FOR_DEVICES | ONLY_FOR_ENTRIES | ONLY_FOR_A_USERS_PROFILE
    assert loaded & unneeded == set()


def test_a_dry_run_of_a_shipped_profile_reads_no_toml_and_needs_no_pydantic(host: Path) -> None:
    assert last_line(host, f"{WITH_PYDANTIC}, 'tomllib' in loaded") == "[] False"


def test_a_dry_run_loads_no_openssl(host: Path) -> None:
    assert last_line(host, "'hashlib' in loaded, '_hashlib' in loaded") == "False False"


def test_a_dry_run_compiles_few_expressions_that_it_does_not_need(host: Path) -> None:
    ours = "(one for name in loaded if name.startswith('iommuctl.') for one in vars(sys.modules[name]).values())"
    # Those that were not used have nothing but what they are made of.
    unused = f"sum(type(one).__name__ == '_Pattern' and len(vars(one)) == 2 for one in {ours})"
    assert int(last_line(host, unused)) > 30


def test_a_profile_that_a_user_wrote_is_checked_by_pydantic(host: Path, tmp_path: Path) -> None:
    mine = tmp_path / "mine.toml"
    mine.write_text('name = "mine"\nsummary = "s"\nextends = "passthrough-perf"\n')
    arguments = ("apply", str(mine), "--root", str(host), "--dry-run")
    assert last_line(host, WITH_PYDANTIC, *arguments) == "['iommuctl.profile.schema']"


def commands_loaded(host: Path, *arguments: str) -> set[str]:
    loaded = names(last_line(host, OURS, *arguments))
    return {name.removeprefix("cli.commands.") for name in loaded if name.startswith("cli.commands.")}


def test_a_command_is_loaded_with_its_own_module_alone(host: Path) -> None:
    assert commands_loaded(host) == {"apply"}
    assert commands_loaded(host, "--version") == set()


@pytest.fixture
def applied(host: Path) -> Path:
    """The host with a profile that is applied, so that there is history to read."""
    apply = [sys.executable, "-m", "iommuctl", "apply", "passthrough-perf", "--root", str(host), "--yes"]
    subprocess.run([*apply, "--regenerate", "never"], cwd=PROJECT, capture_output=True, check=True)
    return host


@pytest.mark.parametrize(
    "words",
    [("status",), ("lint",), ("lint", "strict-isolation", "--platform", "amd"), ("history",), ("profile", "list")],
    ids=" ".join,
)
def test_text_for_people_needs_no_pydantic(applied: Path, words: tuple[str, ...]) -> None:
    assert last_line(applied, WITH_PYDANTIC, *words, "--root", str(applied)) == "[]"


def test_an_explanation_needs_no_pydantic(host: Path) -> None:
    assert last_line(host, WITH_PYDANTIC, "explain", "iommu=pt") == "[]"


def test_a_way_back_as_text_loads_no_model_of_the_json(applied: Path) -> None:
    arguments = ("rollback", "--dry-run", "--root", str(applied))
    assert names(last_line(applied, OURS, *arguments)) & ONLY_FOR_JSON == set()


def test_json_loads_the_models(host: Path) -> None:
    arguments = ("status", "--json", "--root", str(host))
    assert names(last_line(host, OURS, *arguments)) & ONLY_FOR_JSON == ONLY_FOR_JSON


def test_an_error_as_text_loads_no_model_of_the_json() -> None:
    script = (
        "import sys\nfrom iommuctl.cli import main\nsys.argv[1:] = ['apply', 'x', '--root', '/no/such']\n"
        "try:\n    main()\nexcept SystemExit as end:\n    print(end.code, 'iommuctl.documents.models' in sys.modules)\n"
    )
    done = subprocess.run([sys.executable, "-c", script], cwd=PROJECT, capture_output=True, text=True, check=False)
    assert done.stdout == "66 False\n"


def test_the_collector_of_cycles_is_at_rest(host: Path) -> None:
    assert last_line(host, "__import__('gc').isenabled()") == "False"


def test_rich_is_kept_from_typer_alone(host: Path) -> None:
    assert last_line(host, "'rich' in loaded, __import__('rich').__name__") == "False rich"


@pytest.mark.parametrize("words", ["iommuctl ro", "iommuctl apply pass", "iommuctl history sh"])
def test_a_key_in_the_shell_loads_no_use_case(words: str) -> None:
    environment = {**os.environ, "_IOMMUCTL_COMPLETE": "complete_bash", "COMP_WORDS": words}
    script = RUN.format(arguments=[], expression=f"{OURS} + {INSTALLED}")
    command = [sys.executable, "-c", script]
    environment["COMP_CWORD"] = str(len(words.split()) - 1)
    done = subprocess.run(command, cwd=PROJECT, env=environment, capture_output=True, text=True, check=True)
    loaded = names(done.stdout.splitlines()[-1])
    assert loaded & {"pydantic", "augeas", "rich"} == set()
    rooms = ("app.", "backends.", "kernel.", "profile.")
    assert {name for name in loaded if name.startswith(rooms)} <= {"app.completion", "profile.names"}
