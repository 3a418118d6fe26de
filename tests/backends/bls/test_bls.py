# SPDX-License-Identifier: Apache-2.0
"""GRUB with entries: what is edited, in which order, what is refused with its line, and what a later kernel gets."""

import re
from pathlib import Path

import pytest
from entryhosts import CATALOGUE, ENTRIES, ENTRY, MACHINE, OPTIONS, RELEASE, desired, entry, facts, fedora, grubenv
from trees import MemoryTree

from iommuctl.backends.bls.backend import Bls
from iommuctl.errors import BootConfigError, UnavailableError
from iommuctl.facts import Facts, Runtime
from iommuctl.plan import Command, Rendering

BLS = Bls(CATALOGUE)
ADDED = "intel_iommu=on iommu=pt"


def applied(tree: MemoryTree, profile: str = "passthrough-perf", host: Facts | None = None) -> MemoryTree:
    """The tree after an apply, which must have been complete: nothing is short, and a second one finds nothing."""
    host = host or facts()
    wanted = desired(profile, host)
    after = tree.after(BLS.render(tree, host, wanted))
    assert BLS.read_back(after, host, wanted, generated=True) == ()
    again = BLS.render(after, host, wanted)
    assert (again.changes, again.edits, again.commands) == ((), (), ())
    return after


def rendered(tree: MemoryTree, profile: str = "passthrough-perf", host: Facts | None = None) -> Rendering:
    return BLS.render(tree, host or facts(), desired(profile, host))


def options(tree: MemoryTree, path: str = ENTRY) -> list[str]:
    return re.findall(r"^options[ \t]+(.*)$", tree.files[path].decode(), re.MULTILINE)


def test_sources_and_entries_are_kept_in_step_and_the_kernel_cmdline_comes_last() -> None:
    after = applied(fedora())
    assert options(after) == [f"{OPTIONS} {ADDED}"]
    assert after.files["/etc/kernel/cmdline"].decode() == f"{OPTIONS} {ADDED}\n"
    assert after.files["/etc/default/grub"].decode() == f'GRUB_CMDLINE_LINUX="quiet {ADDED}"\nGRUB_ENABLE_BLSCFG=true\n'
    assert [str(edit.path) for edit in rendered(fedora()).edits] == ["/etc/default/grub", ENTRY, "/etc/kernel/cmdline"]
    assert rendered(fedora()).commands == ()


def test_kernel_cmdline_is_written_behind_the_settings_even_where_it_stays_as_it_is() -> None:
    last = rendered(fedora({"/etc/kernel/cmdline": f"{OPTIONS} {ADDED}\n"})).edits[-1]
    assert (str(last.path), last.before) == ("/etc/kernel/cmdline", last.after)


def test_kernelopts_change_in_the_block_and_the_entries_keep_their_word() -> None:
    tree = fedora({ENTRY: entry("$kernelopts $tuned_params"), "/boot/grub2/grubenv": grubenv(kernelopts=f"{OPTIONS} ")})
    after = applied(tree)
    assert after.files["/boot/grub2/grubenv"] == grubenv(kernelopts=f"{OPTIONS} {ADDED} ")
    assert after.files[ENTRY] == tree.files[ENTRY]


def test_kernelopts_that_only_the_menu_knows_are_put_into_the_block() -> None:
    menu = f'if [ -z "${{kernelopts}}" ]; then\n  set kernelopts="{OPTIONS} "\nfi\nblscfg\n'
    after = applied(fedora({ENTRY: entry("$kernelopts"), "/boot/grub2/grub.cfg": menu}))
    assert after.files["/boot/grub2/grubenv"] == grubenv(
        saved_entry=f"{MACHINE}-{RELEASE}", kernelopts=f"{OPTIONS} {ADDED} "
    )


def test_literal_options_stand_beside_kernelopts() -> None:
    other = f"{ENTRIES}/{MACHINE}-6.13.0.conf"
    tree = fedora({ENTRY: entry("$kernelopts"), other: entry(), "/boot/grub2/grubenv": grubenv(kernelopts=OPTIONS)})
    after = applied(tree)
    assert (options(after), options(after, other)) == (["$kernelopts"], [f"{OPTIONS} {ADDED}"])


@pytest.mark.parametrize(
    "files",
    [
        {"/boot/grub2/grubenv": grubenv(tuned_params="iommu.strict=0 skew_tick=1")},
        {"/boot/grub2/grub.cfg": 'set tuned_params="iommu.strict=0"\nblscfg\n'},
        {"/boot/grub2/grub.cfg": None, "/etc/grub2-efi.cfg": 'set tuned_params="iommu.strict=0"\nblscfg\n'},
    ],
)
def test_a_variable_that_contradicts_is_refused_naming_who_sets_it(files: dict[str, str | bytes]) -> None:
    tree = fedora({ENTRY: entry(f"{OPTIONS} $tuned_params"), **files})
    with pytest.raises(BootConfigError) as caught:
        rendered(tree, "strict-isolation")
    assert (caught.value.code, caught.value.line) == (78, 5)
    assert caught.value.brief == (
        f"{ENTRY}:5: $tuned_params holds 'iommu.strict=0', which the profile must not have; tuned sets it"
    )
    assert "tuned-adm profile" in (caught.value.hint or "")


NO_BLSCFG = "it has no blscfg"
WHOLE = "menuentry 'Fedora' {\n linux /vmlinuz-6.1.0 root=UUID=1 ro\n}\n"
ESP_MENU = "/boot/efi/EFI/fedora/grub.cfg"


@pytest.mark.parametrize(
    ("files", "named", "why", "way"),
    [
        ({ESP_MENU: WHOLE}, ESP_MENU, NO_BLSCFG, "leads to /boot/grub2/grub.cfg"),
        ({ESP_MENU: "configfile /EFI/fedora/mine/grub.cfg\n", "/boot/efi/EFI/fedora/mine/grub.cfg": WHOLE},
         "/boot/efi/EFI/fedora/mine/grub.cfg", NO_BLSCFG, f"{ESP_MENU} leads to /boot/grub2/grub.cfg"),
        ({ESP_MENU: "configfile /grub2/grub.cfg\n"}, "/boot/efi/grub2/grub.cfg", "it is not there", "run grub-install"),
        ({"/boot/grub2/grub.cfg": WHOLE}, "/boot/grub2/grub.cfg", NO_BLSCFG, "--backend grub2"),
    ],
)  # fmt: skip
def test_entries_that_the_menu_that_boots_does_not_read_are_no_success(
    files: dict[str, str | bytes], named: str, why: str, way: str
) -> None:
    tree = fedora({"/boot/grub2/grub.cfg": "blscfg\n", **files})
    with pytest.raises(UnavailableError) as caught:
        rendered(tree)
    assert caught.value.brief == f"{named} boots, and {why}: what entries say has no effect"
    assert way in str(caught.value.hint)
    told = {str(one.rule): one.message for one in BLS.read(tree, facts()).findings}
    assert told["entries-not-read"] == caught.value.brief


@pytest.mark.parametrize(
    "stub",
    [
        "blscfg\n",
        f"{WHOLE}blscfg\n",
        "search --fs-uuid --set=dev 8e0e7a53-96a4\nconfigfile ($dev)/grub2/grub.cfg\n",
        None,
    ],
)
def test_entries_that_the_menu_that_boots_reads_are_edited(stub: str | None) -> None:
    tree = fedora({"/boot/grub2/grub.cfg": "blscfg\n", **({ESP_MENU: stub} if stub else {})})
    assert rendered(tree).edits
    assert "entries-not-read" not in {one.rule for one in BLS.read(tree, facts()).findings}


def test_a_variable_that_agrees_stays_where_it_is() -> None:
    tree = fedora(
        {ENTRY: entry(f"{OPTIONS} $tuned_params debug"), "/boot/grub2/grubenv": grubenv(tuned_params="nosmt")}
    )
    assert options(applied(tree)) == [f"{OPTIONS} $tuned_params debug {ADDED}"]


@pytest.mark.parametrize(
    ("text", "line", "says"),
    [
        (entry().replace("options", "\noptions"), 6, "it stops at line 5, which has no value"),
        (entry().replace("options", "grub_users\noptions"), 6, "it stops at line 5"),
        (entry().replace("options ", "options\t"), 5, "behind a tab"),
        (entry(f'{OPTIONS} x="a'), 5, "open quote"),
        (entry(f"{OPTIONS} $k'\"'x $tuned_params"), 5, "open quote"),
        (entry(f"{OPTIONS} x=\udcff"), 5, "is not UTF-8"),
        (entry(f"{OPTIONS} {'x' * 2000}"), None, "the kernel reads 2047 and cuts the rest silently"),
    ],
)
def test_what_grub_would_not_read_is_refused_with_its_line(text: str, line: int | None, says: str) -> None:
    settled: dict[str, str | bytes | None] = {"/etc/kernel/cmdline": None, "/boot/grub2/grubenv": grubenv()}
    tree = fedora({ENTRY: text.encode("utf-8", "surrogateescape"), **settled})
    with pytest.raises(BootConfigError, match=re.escape(says)) as caught:
        rendered(tree, host=facts(Runtime(f"BOOT_IMAGE=/v {OPTIONS}")) if line is None else facts())
    assert (caught.value.code, str(caught.value.path), caught.value.line) == (78, ENTRY, line)


def test_a_block_without_room_is_refused() -> None:
    tree = fedora({ENTRY: entry("$kernelopts"), "/boot/grub2/grubenv": grubenv(kernelopts=f"{OPTIONS} {'x' * 950}")})
    with pytest.raises(BootConfigError, match="bytes more than the 1024 of the block"):
        rendered(tree)


def test_only_the_first_options_line_gains_and_all_lose() -> None:
    tree = fedora({ENTRY: entry(more="options intel_iommu=off debug\noptions iommu=nopt\ngrub_arg x\n")})
    assert options(applied(tree)) == [f"{OPTIONS} {ADDED}", "debug"]
    assert "bls-options-lines" in {finding.rule for finding in rendered(tree).findings}


def test_what_is_wanted_counts_only_where_grub_reads_it() -> None:
    tree = fedora({ENTRY: entry(more=f"options {ADDED}\n")})
    assert options(applied(tree)) == [f"{OPTIONS} {ADDED}", ADDED]


def test_an_entry_without_options_gains_a_line() -> None:
    bare = f"title Linux\nlinux /vmlinuz-{RELEASE}\n"
    after = applied(fedora({ENTRY: bare, "/etc/kernel/cmdline": None}))
    assert after.files[ENTRY].decode() == f"{bare}options {ADDED}\n"


@pytest.mark.parametrize(
    ("name", "text", "reason"),
    [
        (f"{MACHINE}-0-rescue.conf", entry(), "rescue entry: the way back"),
        (f"{MACHINE[::-1]}-6.1.conf", entry(), f"it belongs to the machine-id {MACHINE[::-1]}"),
        ("other.conf", entry(more=f"machine-id {MACHINE[::-1]}\n"), f"it belongs to the machine-id {MACHINE[::-1]}"),
        ("other.conf", entry("root=/dev/sdb1 ro"), "another system: root=/dev/sdb1, where this one has root=/dev/sda2"),
        (
            "other.conf",
            entry(f"{OPTIONS} rootflags=subvol=b"),
            "another system: rootflags=subvol=b, where this one has no rootflags=",
        ),
        ("memtest.conf", "title memtest\nefi /memtest.efi\n", "it starts no Linux kernel"),
    ],
)
@pytest.mark.parametrize("runtime", [None, Runtime(f"BOOT_IMAGE=(hd0,1)/vmlinuz {OPTIONS}")])
def test_what_is_not_ours_is_left_alone_and_named(name: str, text: str, reason: str, runtime: Runtime | None) -> None:
    path = f"{ENTRIES}/{name}"
    tree = fedora({path: text})
    after = applied(tree, host=facts(runtime))
    assert after.files[path] == tree.files[path]
    assert options(after) == [f"{OPTIONS} {ADDED}"]
    assert f"{path} is left alone: {reason}" in [finding.message for finding in rendered(tree).findings]


def test_the_booted_system_decides_whose_entries_are_ours() -> None:
    other = f"{ENTRIES}/other.conf"
    tree = fedora({other: entry("root=/dev/sdb1 ro")})
    after = applied(tree, host=facts(Runtime("BOOT_IMAGE=/v root=/dev/sdb1 ro")))
    assert (options(after), options(after, other)) == ([OPTIONS], [f"root=/dev/sdb1 ro {ADDED}"])


def test_an_entry_of_ours_that_grub_does_not_read_is_refused_not_passed_over() -> None:
    broken = f"{ENTRIES}/{MACHINE}-6.13.0.conf"
    tree = fedora({broken: entry().replace("options", "\noptions")})
    for host in (facts(), facts(Runtime(f"BOOT_IMAGE=/v {OPTIONS}"))):
        with pytest.raises(BootConfigError, match="it stops at line 5") as caught:
            rendered(tree, host=host)
        assert str(caught.value.path) == broken
    assert "bls-blank-line" in {finding.rule for finding in BLS.read(tree, facts()).findings}


def test_a_rescue_entry_that_shares_kernelopts_is_named() -> None:
    rescue = f"{ENTRIES}/{MACHINE}-0-rescue.conf"
    block = grubenv(kernelopts=f"{OPTIONS} intel_iommu=off")
    tree = fedora({ENTRY: entry("$kernelopts"), rescue: entry("$kernelopts"), "/boot/grub2/grubenv": block})
    found = [finding for finding in rendered(tree).findings if finding.rule == "rescue-follows"]
    assert [finding.parameter for finding in found] == ["intel_iommu=off", "iommu=pt"]
    assert all(f"{MACHINE}-0-rescue" in finding.message for finding in found)


def test_no_entry_of_ours_is_refused_with_the_reasons() -> None:
    with pytest.raises(UnavailableError, match="no boot entry of this system") as caught:
        rendered(fedora({ENTRY: "title x\nefi /x.efi\n"}))
    assert caught.value.details == (f"{ENTRY}: it starts no Linux kernel",)
    assert caught.value.hint == "mount the boot file system, or name the bootloader that boots with --backend"


def test_entries_of_a_former_machine_id_can_be_claimed_by_the_entry_token() -> None:
    former = MACHINE[::-1]
    files: dict[str, str | bytes | None] = {ENTRY: None, f"{ENTRIES}/{former}-6.1.conf": entry()}
    with pytest.raises(UnavailableError, match="no boot entry of this system") as caught:
        rendered(fedora(files))
    assert caught.value.hint == f"if {former} is what this system was, put it into /etc/kernel/entry-token"
    after = applied(fedora({**files, "/etc/kernel/entry-token": f"{former}\n"}))
    assert options(after, f"{ENTRIES}/{former}-6.1.conf") == [f"{OPTIONS} {ADDED}"]


def test_an_empty_kernel_cmdline_is_filled_from_the_default_entry() -> None:
    after = applied(fedora({"/etc/kernel/cmdline": "", ENTRY: entry(f"{OPTIONS} $tuned_params")}))
    assert after.files["/etc/kernel/cmdline"].decode() == f"{OPTIONS} {ADDED}\n"
    kept = applied(fedora({"/etc/kernel/cmdline": "", ENTRY: entry(f"{OPTIONS} iommu=pt")}), "kernel-default")
    assert (kept.files["/etc/kernel/cmdline"], options(kept)) == (b"", [OPTIONS])


def test_kernel_cmdline_is_made_only_where_a_reader_would_fall_back() -> None:
    reader = "/usr/lib/kernel/install.d/20-grub.install"
    missing: dict[str, str | bytes | None] = {ENTRY: entry(f"{OPTIONS} $tuned_params"), "/etc/kernel/cmdline": None}
    assert "/etc/kernel/cmdline" not in applied(fedora(missing)).files
    made = applied(fedora({**missing, reader: ""}))
    assert made.files["/etc/kernel/cmdline"].decode() == f"{OPTIONS} {ADDED}\n"
    vendor = applied(fedora({**missing, reader: "", "/usr/lib/kernel/cmdline": "root=LABEL=x ro\n"}))
    assert vendor.files["/etc/kernel/cmdline"].decode() == f"root=LABEL=x ro {ADDED}\n"
    shipped: dict[str, str | bytes] = {
        f"/lib/modules/{RELEASE}/bls.conf": entry("$kernelopts"),
        "/boot/grub2/grubenv": grubenv(kernelopts="ro"),
    }
    assert "/etc/kernel/cmdline" not in applied(fedora({**missing, **shipped, reader: ""})).files


@pytest.mark.parametrize(("pad", "length"), [(7, 96), (8, 97)])
def test_options_are_padded_where_grubs_missing_byte_would_cost_the_boot(pad: int, length: int) -> None:
    linux = "/v"
    text = f"linux {linux}\noptions root=/dev/sda2 ro {'x' * (37 + pad)}\n"
    tree = fedora({ENTRY: text, "/boot/grub2/x86_64-efi/blsuki.mod": "", "/etc/kernel/cmdline": None})
    value = options(applied(tree))[0]
    expected = f"root=/dev/sda2 ro {'x' * (37 + pad)} {ADDED}"
    assert len(linux) + len(expected) + 8 == length
    assert value == (f"{expected} " if length == 96 else expected)


def test_zipl_runs_where_it_is_in_use() -> None:
    (command,) = rendered(fedora({"/etc/zipl.conf": "[defaultboot]\n"})).commands
    assert isinstance(command, Command)
    assert command.argv == ("zipl",)


def test_read_back_names_file_and_what_is_short() -> None:
    after = applied(fedora())
    broken = MemoryTree({**after.files, ENTRY: entry().encode()})
    problems = BLS.read_back(broken, facts(), desired(), generated=True)
    assert problems == (f"{ENTRY}: 'intel_iommu=on' is missing", f"{ENTRY}: 'iommu=pt' is missing")


def test_status_tells_what_a_later_mkconfig_would_drop() -> None:
    config = BLS.read(fedora({ENTRY: entry(f"{OPTIONS} nosmt")}), facts())
    assert [finding.message for finding in config.findings] == [
        "/etc/default/grub lacks what entries have: nosmt; a grub2-mkconfig that rewrites them drops it"
    ]
    assert (str(config.future.cmdline), str(config.future.source)) == (OPTIONS, "/etc/kernel/cmdline")


@pytest.mark.parametrize("profile", ["passthrough-perf", "strict-isolation", "kernel-default", "iommu-off"])
def test_real_entries_are_edited_exactly_or_refused_with_file_and_line(corpus: Path, profile: str) -> None:
    edited, refused = 0, dict[str, tuple[str, bool]]()
    for source in sorted((corpus / "bls").iterdir()):
        tree = fedora({ENTRY: source.read_bytes(), "/etc/kernel/cmdline": None})
        try:
            after = applied(tree, profile)
        except UnavailableError:
            assert b"\nlinux" not in source.read_bytes().replace(b"\n\n", b""), source
            continue
        except BootConfigError as error:
            refused[source.name] = (str(error.path), error.line is not None)
            continue
        edited += 1
        kept = [line for line in tree.files[ENTRY].split(b"\n") if not line.startswith(b"options")]
        assert [line for line in after.files[ENTRY].split(b"\n") if not line.startswith(b"options")] == kept, source
    assert edited > 15
    assert set(refused.values()) <= {(ENTRY, True)}


def test_real_blocks_take_kernelopts(corpus: Path) -> None:
    for source in sorted((corpus / "grubenv").iterdir()):
        menu = f'if x; then\n  set kernelopts="{OPTIONS}"\nfi\nblscfg\n'
        block: dict[str, str | bytes] = {"/boot/grub2/grub.cfg": menu, "/boot/grub2/grubenv": source.read_bytes()}
        after = applied(fedora({ENTRY: entry("$kernelopts"), **block})).files["/boot/grub2/grubenv"]
        kept = source.read_bytes().rstrip(b"#")
        assert (len(after), after.rstrip(b"#")) == (1024, kept + f"kernelopts={OPTIONS} {ADDED}\n".encode())
