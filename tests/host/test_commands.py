# SPDX-License-Identifier: Apache-2.0
"""Commands: real processes, run and ended as promised."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from grubtree import GrubTree, grub_host
from project import PROJECT

from iommuctl.errors import ExecutionError, NotPermittedError, UnavailableError
from iommuctl.host import commands, descendants
from iommuctl.host.commands import Completed, SystemRunner

__all__ = ["grub_host"]  # the fixture

WITNESS = """\
#!/bin/sh
printf '<%s>\\n' "$#" "$@"
tr '\\0' '\\n' < /proc/$$/environ | sort
pwd
cat
"""


@pytest.fixture
def system() -> SystemRunner:
    return SystemRunner(Path("/"))


def make_program(folder: Path, text: str, name: str = "program") -> str:
    path = folder / name
    path.write_text(text)
    path.chmod(0o755)
    return str(path)


def make_script(folder: Path, body: str) -> str:
    return make_program(folder, f"#!/bin/sh\n{body}\n")


def is_running(pid: int) -> bool:
    """Whether a process is there and no zombie."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] not in "ZX"
    except OSError:
        return False


def test_a_program_sees_its_arguments_and_a_bare_environment(
    system: SystemRunner, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LD_PRELOAD_X", "from the caller")
    monkeypatch.chdir(tmp_path)
    program = make_program(tmp_path, WITNESS)
    argv = (program, "$(touch here)", "a b", "", "'; exit 1")
    output = "<4>\n<$(touch here)>\n<a b>\n<>\n<'; exit 1>\nLC_ALL=C\nPATH=/usr/sbin:/usr/bin:/sbin:/bin\n/\n"
    assert system.run(argv) == Completed(argv, 0, output, "")


def test_a_program_gets_neither_the_callers_input_nor_its_mask(system: SystemRunner, tmp_path: Path) -> None:
    program = make_script(tmp_path, "umask; cat")
    reader, writer = os.pipe()
    os.write(writer, b"for the caller\n")
    os.close(writer)
    stdin, mask = os.dup(0), os.umask(0o077)
    os.dup2(reader, 0)
    try:
        assert system.run((program,)).stdout == "0022\n"
    finally:
        os.umask(mask)
        os.dup2(stdin, 0)
        os.close(stdin)
        os.close(reader)


def test_a_program_is_found_on_the_fixed_path(system: SystemRunner, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "/nowhere")
    assert system.run(("echo", "x")) == Completed(("echo", "x"), 0, "x\n", "")


def test_a_program_leads_a_session_of_its_own(system: SystemRunner, tmp_path: Path) -> None:
    fields = system.run((make_script(tmp_path, "exec cat /proc/self/stat"),)).stdout.split()
    pid, group, session = fields[0], fields[4], fields[5]
    assert (group, session) == (pid, pid)


def test_both_streams_are_kept_whole(system: SystemRunner, tmp_path: Path) -> None:
    body = "head -c 300000 /dev/zero | tr '\\0' a; head -c 300000 /dev/zero | tr '\\0' b >&2; printf '\\377'"
    completed = system.run((make_script(tmp_path, body),))
    assert (completed.stdout, completed.stderr) == ("a" * 300000 + "\udcff", "b" * 300000)


def test_a_failure_shows_the_command_the_status_and_the_last_words(system: SystemRunner, tmp_path: Path) -> None:
    body = "for i in 1 2 3 4 5 6 7 8 9 10 11; do echo line $i >&2; done; printf '\\033[2Jgone\\n\\n' >&2; exit 3"
    program = make_script(tmp_path, body)
    with pytest.raises(ExecutionError) as caught:
        system.run((program, "a b"))
    assert caught.value.code == 74
    assert caught.value.brief == f"{program!r} failed"
    assert caught.value.details == (
        f"command: {program} 'a b'",
        "exit status: 3",
        *(f"line {number}" for number in range(3, 12)),
        "\\x1b[2Jgone",
    )


def test_a_program_that_is_killed_is_a_failure(system: SystemRunner, tmp_path: Path) -> None:
    program = make_script(tmp_path, "kill -KILL $$")
    with pytest.raises(ExecutionError) as caught:
        system.run((program,))
    assert caught.value.details == (f"command: {program}", "killed by SIGKILL")


@pytest.mark.parametrize(
    ("name", "hint"),
    [
        ("grub-mkconfig", "install the package grub-common, on other distributions grub"),
        ("proxmox-boot-tool", "install the package proxmox-kernel-helper"),
        ("mkinitcpio", "install the package mkinitcpio"),
    ],
)
def test_a_missing_program_names_its_package(tmp_path: Path, name: str, hint: str) -> None:
    with pytest.raises(UnavailableError) as caught:
        SystemRunner(tmp_path).run((name,))
    places = ", ".join(f"{folder}/{name}" for folder in ("/usr/sbin", "/usr/bin", "/sbin", "/bin"))
    assert caught.value.code == 69
    assert caught.value.brief == f"no program {name!r}"
    assert caught.value.details == (f"root: {tmp_path}", f"looked for: {places}")
    assert caught.value.hint == hint


def test_only_an_executable_file_is_a_program(system: SystemRunner, tmp_path: Path) -> None:
    (tmp_path / "folder").mkdir()
    (tmp_path / "text").write_text("#!/bin/sh\n")
    for name in ("folder", "text"):
        with pytest.raises(UnavailableError):
            system.run((str(tmp_path / name),))


def test_what_the_kernel_cannot_start_is_an_execution_error(system: SystemRunner, tmp_path: Path) -> None:
    program = make_program(tmp_path, "neither a script nor a binary")
    with pytest.raises(ExecutionError, match=f"^cannot start {program!r}: Exec format error$"):
        system.run((program,))


def test_a_program_that_takes_too_long_is_ended_with_its_children(system: SystemRunner, tmp_path: Path) -> None:
    pids = tmp_path / "pids"
    program = make_script(tmp_path, f"sleep 60 & echo $$ $! > {pids}; wait")
    with pytest.raises(ExecutionError) as caught:
        system.run((program,), timeout=0.3)
    assert caught.value.brief == f"{program!r} did not end in 0.3 s and was stopped"
    assert [is_running(int(pid)) for pid in pids.read_text().split()] == [False, False]


def test_a_program_may_clean_up_when_it_is_ended(system: SystemRunner, tmp_path: Path) -> None:
    program = make_script(tmp_path, f"trap 'echo cleaned > {tmp_path}/trace; exit 1' TERM; sleep 60 & wait")
    with pytest.raises(ExecutionError, match="did not end"):
        system.run((program,), timeout=0.3)
    assert (tmp_path / "trace").read_text() == "cleaned\n"


def test_a_program_that_will_not_end_is_killed(
    system: SystemRunner, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(commands, "_GRACE", 0.3)
    program = make_script(tmp_path, f"trap '' TERM; echo $$ > {tmp_path}/pid; while :; do sleep 1; done")
    with pytest.raises(ExecutionError, match="did not end"):
        system.run((program,), timeout=0.3)
    assert not is_running(int((tmp_path / "pid").read_text()))


def test_a_program_that_prints_without_end_is_ended(system: SystemRunner, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(commands, "OUTPUT_LIMIT", 100_000)
    with pytest.raises(ExecutionError, match="'yes' printed more than 100000 bytes and was stopped"):
        system.run(("yes",))


def test_what_a_program_leaves_running_is_waited_for(system: SystemRunner, tmp_path: Path) -> None:
    body = f"(setsid sh -c 'sleep 0.5; echo late > {tmp_path}/trace') >/dev/null 2>&1 &"
    completed = system.run((make_script(tmp_path, body),))
    assert (completed.left, (tmp_path / "trace").read_text()) == ((), "late\n")


def test_what_a_program_leaves_running_for_long_is_named_and_stays(
    system: SystemRunner, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(descendants, "LEFT_BEHIND", 0.3)
    completed = system.run((make_script(tmp_path, "setsid sleep 60 >/dev/null 2>&1 & echo $!"),))
    left = int(completed.stdout)
    assert (completed.left, is_running(left)) == ((f"sleep (process {left})",), True)
    os.kill(left, signal.SIGKILL)
    os.waitpid(left, 0)


def test_what_a_program_that_fails_leaves_running_is_ended(system: SystemRunner, tmp_path: Path) -> None:
    program = make_script(tmp_path, f"sleep 60 & echo $! > {tmp_path}/pid; exit 3")
    with pytest.raises(ExecutionError, match="failed"):
        system.run((program,))
    assert not is_running(int((tmp_path / "pid").read_text()))


def test_an_interrupt_ends_the_program_before_it_goes_on(system: SystemRunner, tmp_path: Path) -> None:
    def interrupt(_number: int, _frame: object) -> None:
        raise SystemExit(128 + signal.SIGALRM)

    # It goes on after what a pipe does not hold, so when it is being read from.
    body = f"head -c 300000 /dev/zero; echo $$ > {tmp_path}/pid; kill -ALRM $PPID; sleep 60"
    program = make_script(tmp_path, body)
    previous = signal.signal(signal.SIGALRM, interrupt)
    try:
        with pytest.raises(SystemExit):
            system.run((program,))
    finally:
        signal.signal(signal.SIGALRM, previous)
    assert not is_running(int((tmp_path / "pid").read_text()))


@pytest.mark.programs
def test_another_root_confines_its_programs(grub_host: GrubTree) -> None:
    tree = grub_host
    tree.write(
        "/usr/bin/witness", WITNESS + "echo pid $$\nls /proc | grep -c '^[0-9]'\ntest -e /work-of-the-host", 0o755
    )
    tree.write("/work-of-the-host", "inside")
    before = Path("/proc/self/mountinfo").read_text()
    completed = tree.runner.run(("witness", "a b"))
    output = "<1>\n<a b>\nLC_ALL=C\nPATH=/usr/sbin:/usr/bin:/sbin:/bin\n/\npid 1\n"
    processes = completed.stdout.removeprefix(output)
    assert completed == Completed(("witness", "a b"), 0, output + processes, "")
    assert int(processes) <= 3
    assert Path("/proc/self/mountinfo").read_text() == before
    assert list((tree.path / "proc").iterdir()) == []


@pytest.mark.programs
def test_another_root_whose_proc_is_a_link_gets_none(grub_host: GrubTree) -> None:
    grub_host.path.joinpath("proc").rmdir()
    grub_host.path.joinpath("proc").symlink_to("sys")
    assert grub_host.runner.run(("ls", "/sys/")).stdout == ""


@pytest.mark.programs
def test_another_roots_programs_are_found_through_its_own_links(grub_host: GrubTree) -> None:
    tree = grub_host
    tree.write("/opt/tool", "#!/bin/sh\necho of the tree\n", 0o755)
    (tree.path / "usr/sbin/tool").symlink_to("/etc/alternatives/tool")
    tree.path.joinpath("etc/alternatives").mkdir()
    (tree.path / "etc/alternatives/tool").symlink_to("../../../../opt/tool")
    assert tree.runner.run(("tool",)).stdout == "of the tree\n"


@pytest.mark.programs
def test_a_failure_in_another_root_names_the_command_as_asked(grub_host: GrubTree) -> None:
    grub_host.write("/usr/bin/broken", "#!/bin/sh\necho why >&2\nkill -TERM $$\nexit 5\n", 0o755)
    with pytest.raises(ExecutionError) as caught:
        grub_host.runner.run(("broken",))
    assert caught.value.details == ("command: broken", "exit status: 5", "why")


@pytest.mark.programs
def test_ending_a_program_of_another_root_ends_all_that_it_started(
    grub_host: GrubTree, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(commands, "_GRACE", 0.5)
    mark = f"3{os.getpid()}"
    grub_host.write("/usr/bin/daemon", f"#!/bin/sh\nsetsid sleep {mark} &\nsleep {mark}\n", 0o755)
    (grub_host.path / "usr/bin/setsid").hardlink_to("/usr/bin/setsid")
    with pytest.raises(ExecutionError, match="did not end"):
        grub_host.runner.run(("daemon",), timeout=0.5)
    ended = time.monotonic() + 5
    while (left := sleepers(mark)) and time.monotonic() < ended:
        time.sleep(0.01)
    assert left == []


def sleepers(mark: str) -> list[str]:
    found = []
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            arguments = path.read_bytes().split(b"\0")
        except OSError:
            continue
        if mark.encode() in arguments:
            found.append(path.parent.name)
    return found


@pytest.mark.programs
def test_without_the_privilege_another_root_is_not_permitted(grub_host: GrubTree) -> None:
    code = f"""
import sys
sys.path.insert(0, {str(PROJECT)!r})
from pathlib import Path
from iommuctl.host.commands import SystemRunner
from iommuctl.errors import IommuctlError
try:
    SystemRunner(Path({str(grub_host.path)!r})).run(("true",))
except IommuctlError as error:
    print(error.code, error)
"""
    argv = ["setpriv", "--bounding-set", "-sys_admin", "--inh-caps", "-sys_admin", sys.executable, "-c", code]
    printed = subprocess.run(argv, check=True, capture_output=True, text=True).stdout
    expected = NotPermittedError(grub_host.path, "run programs in")
    assert printed == f"77 {expected}\n"
