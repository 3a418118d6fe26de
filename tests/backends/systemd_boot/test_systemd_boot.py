# SPDX-License-Identifier: Apache-2.0
"""systemd-boot: entries in place, which one boots by default, and the next kernel's command line."""

import re
from pathlib import Path

import pytest
from archhosts import ADDED, BACKEND, CMDLINE, ENTRY, IMAGE, NO_ENTRY, PRESET, READER, applied, options, rendered
from entryhosts import ENTRIES, MACHINE, OPTIONS, arch, entry, facts
from peimages import unified_image

from iommuctl.errors import BootConfigError, UnavailableError
from iommuctl.facts import Runtime
from iommuctl.host.root import Root


def test_an_entry_is_edited_in_place_and_nothing_is_run() -> None:
    tree = arch()
    assert options(applied(tree)) == [f"{OPTIONS} {ADDED}"]
    assert rendered(tree).commands == ()


def test_an_entry_of_an_image_is_not_said_to_start_no_kernel() -> None:
    tree = arch({f"{ENTRIES}/image.conf": f"title Image\nuki /EFI/other.efi\noptions {OPTIONS}\n"})
    reasons = {each.id: each.reason for each in BACKEND.read(tree, facts()).entries if not each.ours}
    assert reasons == {"image": "it starts a unified kernel image, with what is inside"}


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (entry().replace("options ", "options\t \t"), [f"{OPTIONS} {ADDED}"]),
        (entry().replace("options", "\noptions"), [f"{OPTIONS} {ADDED}"]),
        (entry(more=f"options {ADDED}\n"), [OPTIONS, ADDED]),
        (entry(more="options intel_iommu=off\noptions x\n"), [f"{OPTIONS} {ADDED}", "x"]),
        (entry(f"{OPTIONS} $x memmap=1M$2G"), [f"{OPTIONS} $x memmap=1M$2G {ADDED}"]),
        (entry(f"{OPTIONS} -- single"), [f"{OPTIONS} {ADDED} -- single"]),
    ],
)
def test_systemd_boot_joins_lines_and_puts_in_no_variable(text: str, expected: list[str]) -> None:
    assert options(applied(arch({ENTRY: text}))) == expected


@pytest.mark.parametrize("quote", ['"', "'"])
def test_quotes_around_options_are_systemd_boots(quote: str) -> None:
    quoted = f"{ENTRIES}/quoted.conf"
    tree = arch({quoted: entry(f"{quote}{OPTIONS} {ADDED}{quote} ")})
    assert applied(tree).files[quoted] == tree.files[quoted]
    shown = next(each for each in BACKEND.read(tree, facts(Runtime(OPTIONS))).entries if each.id == "quoted")
    assert (str(shown.cmdline), shown.ours) == (f"{OPTIONS} {ADDED}", True)


@pytest.mark.parametrize("text", [f'"{OPTIONS}"', f"'{OPTIONS} iommu=nopt'", f'"x=1 2" {OPTIONS} y="z" '])
def test_options_between_quotes_are_refused_not_torn_apart(text: str) -> None:
    with pytest.raises(BootConfigError, match="systemd-boot takes off the quotes around these options") as caught:
        rendered(arch({ENTRY: entry(text)}))
    assert (str(caught.value.path), caught.value.line) == (ENTRY, 5)


def test_an_edit_does_not_leave_quotes_around_options() -> None:
    with pytest.raises(BootConfigError, match="systemd-boot takes off the quotes around these options"):
        rendered(arch({ENTRY: entry(OPTIONS, more='options iommu=nopt "x=1 2" y="3 4"\n')}))


def test_counters_sort_keys_and_every_folder_are_read() -> None:
    counted = f"/efi/loader/entries/{MACHINE}-6.12+2-1.conf"
    after = applied(arch({counted: entry(), ENTRY: None, f"{ENTRIES}/b.conf": entry()}))
    assert [path for path in after.files if path.endswith(".conf") and "entries" in path] == [
        counted,
        f"{ENTRIES}/b.conf",
    ]
    assert options(after, counted) == options(after, f"{ENTRIES}/b.conf") == [f"{OPTIONS} {ADDED}"]


@pytest.mark.parametrize(
    ("settings", "root"),
    [
        ("default b*\n", "/dev/sdb"),
        ("default\tA.conf\n", "/dev/sda"),
        ("default @saved\n", "/dev/sdb"),
        ("default b.conf\n#default b.conf\ndefault a.conf\n", "/dev/sda"),
        ("", "/dev/sdb"),
    ],
)
def test_the_default_entry_of_another_root_decides_whose_are_ours(settings: str, root: str) -> None:
    files = {"/boot/loader/loader.conf": settings, ENTRY: None}
    entries = {
        f"{ENTRIES}/{name}.conf": f"linux /v\nversion {version}\noptions root=/dev/sd{name}\n"
        for name, version in (("a", "6.1"), ("b", "6.10"))
    }
    config = BACKEND.read(arch({**files, **entries}), facts())
    assert [str(each.cmdline) for each in config.entries if each.ours and each.default] == [f"root={root}"]


@pytest.mark.parametrize(
    ("settings", "files", "default", "hint"),
    [
        ("default own-new", {}, "z", "own-new.conf"),
        ("default own-new.conf", {}, "own-new", None),
        ("", {}, "z", "own-old.conf"),
        ("", {"z": None, "own-old": None, "memtest": "efi /memtest.efi\n"}, "own-new", None),
        ("default m*", {"z": None, "memtest": "efi /memtest.efi\n"}, "memtest", "own-old.conf"),
        ("default m*", {"z": None, "m": "uki /EFI/x.efi\n"}, "m", "own-old.conf"),
    ],
)
def test_a_default_that_no_profile_changes_is_told(
    settings: str, files: dict[str, str | None], default: str, hint: str | None
) -> None:
    entries = {"z": "linux /v\noptions boot=casper\n", "own-new": entry(), "own-old": entry(), **files}
    others = {f"{ENTRIES}/{name}.conf": text for name, text in entries.items()}
    config = BACKEND.read(arch({ENTRY: None, "/boot/loader/loader.conf": settings, **others}), facts())
    assert [each.id for each in config.entries if each.default] == [default]
    told = [one.hint for one in config.findings if one.rule == "default-entry-not-ours"]
    assert told == ([] if hint is None else [f"write `default {hint}` into loader/loader.conf of the ESP"])


@pytest.mark.parametrize(
    ("settings", "file", "default"),
    [
        ("default auto-windows", "/boot/EFI/Microsoft/Boot/bootmgfw.efi", None),
        ("default auto-*", "/boot/efi/EFI/Microsoft/Boot/bootmgfw.efi", None),
        ("preferred auto-efi-shell", "/efi/shellx64.efi", None),
        ("default auto-osx", "/boot/System/Library/CoreServices/boot.efi", None),
        ("default auto-windows\nauto-entries no", "/boot/EFI/Microsoft/Boot/bootmgfw.efi", "arch"),
        ("default auto-osx", "/boot/EFI/Microsoft/Boot/bootmgfw.efi", "arch"),
        ("", "/boot/EFI/Microsoft/Boot/bootmgfw.efi", "arch"),
    ],
)
def test_what_the_loader_finds_by_itself_boots_where_it_is_named(settings: str, file: str, default: str | None) -> None:
    config = BACKEND.read(arch({"/boot/loader/loader.conf": settings, file: "MZ"}), facts())
    assert [each.id for each in config.entries if each.default] == ([] if default is None else [default])
    told = [one.message for one in config.findings if one.rule == "default-entry-not-ours"]
    said = f"{file} boots by default, and no profile changes it: the loader found it by itself"
    assert told == ([said] if default is None else [])


@pytest.mark.parametrize(
    ("settings", "files", "default"),
    [
        # An image has a sort-key, by its os-release(5); the entry has none, and comes after it.
        ("", {}, "arch10.efi"),
        ("", {ENTRY: f"sort-key aaa\n{entry()}"}, "arch"),
        ("default a*.efi\n", {}, "arch10.efi"),
        ("default a*\n", {}, "arch10.efi"),
        ("default arch\n", {}, "arch10.efi"),
        ("default arch.conf\n", {}, "arch"),
        ("default z*\n", {}, "arch10.efi"),
        ("", {ENTRY: None}, "arch10.efi"),
        ("default ARCH.efi\n", {ENTRY: None}, "arch.efi"),
        ("default a*.efi\n", {ENTRY: None, IMAGE: unified_image("root=/dev/sdb7")}, "arch10.efi"),
    ],
)
def test_the_default_may_be_an_image(settings: str, files: dict[str, str | bytes | None], default: str) -> None:
    images = {"/efi/EFI/Linux/arch10.efi": unified_image(OPTIONS), IMAGE: unified_image(OPTIONS)}
    others = {"/boot/loader/loader.conf": settings, CMDLINE: f"{OPTIONS}\n"}
    config = BACKEND.read(arch({**PRESET, **images, **others, **files}), facts())
    assert [each.id for each in config.entries if each.default] == [default]


@pytest.mark.parametrize(
    ("settings", "variable", "selected", "default"),
    [
        ("default b.conf\n", None, "a.conf", "b"),
        ("default b.conf\n", "A.conf", "b.conf", "a"),
        ("default b.conf\n", "arch.efi", "b.conf", "arch.efi"),
        ("default b.conf\n", "gone.conf", "a.conf", "b"),
        ("default @saved\n", None, "a+3-1.conf", "a"),
        ("default b.conf\n", "@saved", "a.conf", "a"),
        ("default @saved\n", None, "arch.efi", "arch.efi"),
    ],
)
def test_what_bootctl_set_beats_the_default_of_the_settings(
    settings: str, variable: str | None, selected: str, default: str
) -> None:
    files = {f"{ENTRIES}/{name}.conf": entry() for name in ("a", "b", "c")}
    images = {**PRESET, IMAGE: unified_image(OPTIONS), CMDLINE: f"{OPTIONS}\n", ENTRY: None}
    runtime = Runtime(OPTIONS, is_efi=True, entry_selected=selected, entry_default=variable)
    config = BACKEND.read(arch({**files, **images, "/boot/loader/loader.conf": settings}), facts(runtime))
    assert [each.id for each in config.entries if each.default] == [default]


@pytest.mark.parametrize(
    ("files", "expected"),
    [
        ({}, None),
        ({READER: ""}, f"{OPTIONS} {ADDED}\n"),
        ({READER: "", ENTRY: entry(f"{OPTIONS} initrd=\\i.img systemd.machine_id={MACHINE}")}, f"{OPTIONS} {ADDED}\n"),
        ({READER: "", CMDLINE: "root=x ro"}, f"root=x ro {ADDED}"),
        ({CMDLINE: "# c\n\nroot=x\nro iommu=nopt\n"}, f"# c\n\nroot=x {ADDED}\nro\n"),
        ({CMDLINE: ""}, f"{OPTIONS} {ADDED}\n"),
        ({CMDLINE: "# nothing\n"}, f"# nothing\n{OPTIONS} {ADDED}\n"),
        ({CMDLINE: "\n", ENTRY: entry(f"{OPTIONS} {ADDED} systemd.machine_id={MACHINE}")}, f"\n{OPTIONS} {ADDED}\n"),
    ],
)
def test_the_next_kernels_command_line(files: dict[str, str], expected: str | None) -> None:
    made = applied(arch(files)).files.get(CMDLINE)
    assert made == (None if expected is None else expected.encode())


def test_a_vendors_file_is_followed_by_one_in_front_of_it() -> None:
    tree = arch({"/usr/lib/kernel/cmdline": "root=/dev/sda2 vendor\n"})
    after = applied(tree)
    assert after.files[CMDLINE].decode() == f"root=/dev/sda2 vendor {ADDED}\n"
    assert after.files["/usr/lib/kernel/cmdline"] == tree.files["/usr/lib/kernel/cmdline"]


@pytest.mark.parametrize(
    ("files", "expected"),
    [
        ({CMDLINE: "root=x ro\n"}, f"root=x ro {ADDED}\n"),
        ({"/usr/lib/kernel/cmdline": "root=x vendor\n"}, f"root=x vendor {ADDED}\n"),
        ({CMDLINE: f"root=x {ADDED}\n"}, f"root=x {ADDED}\n"),
    ],
)
def test_a_tree_before_its_first_kernel_is_written_and_says_so(files: dict[str, str], expected: str) -> None:
    tree = arch({**NO_ENTRY, **files})
    assert applied(tree).files[CMDLINE].decode() == expected
    for findings in (rendered(tree).findings, BACKEND.read(tree, facts()).findings):
        assert [one.rule for one in findings] == ["no-entry-yet"]


@pytest.mark.parametrize(
    ("files", "runtime"),
    [
        ({}, None),
        ({CMDLINE: "root=x\n"}, Runtime("root=x")),
        ({CMDLINE: "root=x\n", f"{ENTRIES}/b.conf": "efi /memtest.efi\n"}, None),
        ({CMDLINE: "root=x\n", "/etc/fstab": "UUID=1 /efi vfat defaults 0 0\n"}, None),
    ],
)
def test_a_tree_whose_entries_cannot_be_seen_is_none_before_its_first_kernel(
    files: dict[str, str], runtime: Runtime | None
) -> None:
    with pytest.raises(UnavailableError):
        rendered(arch({**NO_ENTRY, **files}), facts(runtime))


@pytest.mark.parametrize(
    ("files", "says"),
    [
        ({CMDLINE: "a\n" * 1001}, f"{CMDLINE}:1001: has more than 1000 lines"),
        ({CMDLINE: "a" * 131_073}, f"{CMDLINE}: is larger than 131072 bytes"),
        ({ENTRY: entry("a" * 65_536)}, f"{ENTRY}: is larger than 65536 bytes"),
        ({f"{ENTRIES}/{number}.conf": "" for number in range(10_001)}, f"{ENTRIES}: holds more than 10000 entries"),
    ],
)
def test_what_is_beyond_a_limit_is_refused_with_file_and_limit(files: dict[str, str], says: str) -> None:
    with pytest.raises(BootConfigError) as caught:
        rendered(arch(files))
    assert (caught.value.code, caught.value.brief) == (78, says)


def test_a_new_file_never_comes_from_what_is_running() -> None:
    host = facts(Runtime(f"initrd=\\i.img {OPTIONS} once=1", is_efi=True, loader_info="systemd-boot 257"))
    assert applied(arch({READER: ""}), host).files[CMDLINE] == f"{OPTIONS} {ADDED}\n".encode()


@pytest.mark.parametrize(
    ("loader", "partitions", "found"),
    [
        ("3B2F4C61", ("11111111",), ["loader-elsewhere"]),
        ("3B2F4C61", ("11111111", "3b2f4c61"), []),
        ("3B2F4C61", (), []),
        (None, ("11111111",), []),
    ],
)
def test_an_esp_beside_the_one_that_booted_is_told(
    loader: str | None, partitions: tuple[str, ...], found: list[str]
) -> None:
    runtime = Runtime(OPTIONS, is_efi=True, loader_partition=loader, mounts=("/boot",), partitions=partitions)
    tree = arch()
    assert [one.rule for one in rendered(tree, facts(runtime)).findings] == found
    assert [one.rule for one in BACKEND.read(tree, facts(runtime)).findings] == found


def test_a_boot_file_system_that_is_not_mounted_is_said_so() -> None:
    tree = arch({**NO_ENTRY, "/etc/fstab": "UUID=1 /efi vfat defaults 0 0\n"})
    host = facts(Runtime(OPTIONS, is_efi=True, loader_info="systemd-boot 257"))
    with pytest.raises(UnavailableError, match="the boot file system '/efi' is not mounted") as caught:
        rendered(tree, host)
    assert (caught.value.code, caught.value.hint) == (69, "mount /efi, then run the same again")


@pytest.mark.parametrize("profile", ["passthrough-perf", "strict-isolation", "kernel-default", "iommu-off"])
def test_real_entries_are_edited_exactly_or_left_alone(corpus: Path, profile: str) -> None:
    for source in sorted((corpus / "bls").iterdir()):
        tree = arch({ENTRY: source.read_bytes()})
        try:
            after = applied(tree, profile=profile)
        except UnavailableError:
            assert not re.search(rb"^linux", source.read_bytes(), re.MULTILINE), source
            continue
        kept = [line for line in tree.files[ENTRY].split(b"\n") if not line.startswith(b"options")]
        assert [line for line in after.files[ENTRY].split(b"\n") if not line.startswith(b"options")] == kept, source


@pytest.mark.parametrize("profile", ["passthrough-perf", "strict-isolation", "kernel-default"])
def test_real_kernel_command_lines_are_edited_exactly(corpus: Path, profile: str) -> None:
    for source in sorted((corpus / "kernel-cmdline").iterdir()):
        before = source.read_bytes()
        after = applied(arch({CMDLINE: before}), profile=profile).files[CMDLINE]
        assert after.count(b"\n") == before.count(b"\n"), source
        own = (b"iommu", b"intel_iommu", b"amd_iommu")
        kept = [word for word in before.split() if not word.startswith(own)]
        assert [word for word in after.split() if not word.startswith(own)] == kept, source


@pytest.mark.parametrize("folders", [("efi", "boot/efi"), ("boot", "boot/efi")])
def test_a_boot_file_system_with_two_names_is_edited_by_one(folders: tuple[str, str], tmp_path: Path) -> None:
    real, other = (tmp_path / folder for folder in folders)
    (real / "loader/entries").mkdir(parents=True)
    (real / "EFI/Linux").mkdir(parents=True)
    (real / "loader/entries/arch.conf").write_text(entry())
    (real / "EFI/Linux/b.efi").write_bytes(unified_image("root=/dev/sdb7"))
    other.parent.mkdir(parents=True, exist_ok=True)
    other.mkdir()
    for name in ("loader", "EFI"):
        (other / name).symlink_to(f"/{folders[0]}/{name}")
    root = Root(tmp_path)
    assert [str(each.path) for each in BACKEND.read(root, facts()).entries] == [
        f"/{folders[0]}/EFI/Linux/b.efi",
        f"/{folders[0]}/loader/entries/arch.conf",
    ]
