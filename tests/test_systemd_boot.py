# SPDX-License-Identifier: Apache-2.0
"""systemd-boot: entries in place, images and wrapped entries by their sources, and what is refused."""

import json
import re
from pathlib import Path

import pytest
from entryhosts import CATALOGUE, ENTRIES, MACHINE, OPTIONS, RELEASE, arch, desired, entry, facts
from peimages import addon, unified_image
from trees import MemoryTree

from iommuctl.backends.systemd_boot import SystemdBoot
from iommuctl.errors import BootConfigError, UnavailableError
from iommuctl.facts import Facts, Runtime
from iommuctl.plan import Rendering
from iommuctl.root import Root

BACKEND = SystemdBoot(CATALOGUE)
ADDED = "intel_iommu=on iommu=pt"
ENTRY = f"{ENTRIES}/arch.conf"
CMDLINE = "/etc/kernel/cmdline"
READER = "/usr/lib/kernel/install.d/90-loaderentry.install"
IMAGE = "/efi/EFI/Linux/arch.efi"
PRESET = {"/etc/mkinitcpio.d/linux.preset": 'default_uki="/efi/EFI/Linux/arch.efi"\n'}
NO_ENTRY: dict[str, str | bytes | None] = {ENTRY: None, "/boot/loader/loader.conf": None}
PROXMOX = {"/etc/kernel/proxmox-boot-uuids": "ABCD\n", "/usr/sbin/proxmox-boot-tool": ""}


def rendered(tree: MemoryTree, host: Facts | None = None, profile: str = "passthrough-perf") -> Rendering:
    return BACKEND.render(tree, host or facts(), desired(profile, host))


def applied(tree: MemoryTree, host: Facts | None = None, profile: str = "passthrough-perf") -> MemoryTree:
    """The tree after an apply, which must have been complete: nothing is short, and a second one finds nothing."""
    host = host or facts()
    after = tree.after(rendered(tree, host, profile))
    assert BACKEND.read_back(after, host, desired(profile, host), generated=False) == ()
    assert rendered(after, host, profile).edits == ()
    return after


def options(tree: MemoryTree, path: str = ENTRY) -> list[str]:
    return re.findall(r"^options[ \t]+(.*)$", tree.files[path].decode(), re.MULTILINE)


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
    ("settings", "files", "default"),
    [
        ("", {}, "arch"),
        ("default a*.efi\n", {}, "arch10.efi"),
        ("default a*\n", {}, "arch"),
        ("default z*\n", {}, "arch"),
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


def test_a_new_file_never_comes_from_what_is_running() -> None:
    host = facts(Runtime(f"initrd=\\i.img {OPTIONS} once=1", is_efi=True, loader_info="systemd-boot 257"))
    assert applied(arch({READER: ""}), host).files[CMDLINE] == f"{OPTIONS} {ADDED}\n".encode()


@pytest.mark.parametrize(
    ("files", "kernels", "argv"),
    [
        ({**PRESET}, (), [("mkinitcpio", "-P")]),
        (
            {
                "/etc/kernel/install.conf": "layout=uki\n",
                f"/usr/lib/modules/{RELEASE}/vmlinuz": "",
                "/usr/lib/modules/6.1/vmlinuz": "",
            },
            ("6.1", RELEASE),
            [("kernel-install", "add", release, f"/usr/lib/modules/{release}/vmlinuz") for release in ("6.1", RELEASE)],
        ),
        (
            {
                "/usr/lib/kernel/install.conf": "layout=bls\n",
                "/etc/kernel/install.conf.d/10-uki.conf": "layout = uki\n",
                "/boot/vmlinuz-6.12.48+deb13-amd64": "",
            },
            ("6.12.48+deb13-amd64",),
            [("kernel-install", "add", "6.12.48+deb13-amd64", "/boot/vmlinuz-6.12.48+deb13-amd64")],
        ),
    ],
)
def test_an_image_is_built_anew_of_its_source(
    files: dict[str, str], kernels: tuple[str, ...], argv: list[tuple[str, ...]]
) -> None:
    host = facts(kernels=kernels)
    tree = arch({**NO_ENTRY, **files, IMAGE: unified_image(OPTIONS), CMDLINE: f"{OPTIONS}\n"})
    assert [command.argv for command in rendered(tree, host).commands] == argv
    after = applied(tree, host)
    assert (after.files[CMDLINE].decode(), after.files[IMAGE]) == (f"{OPTIONS} {ADDED}\n", tree.files[IMAGE])
    assert [command.argv for command in rendered(after, host).commands] == argv
    built = MemoryTree({**after.files, IMAGE: unified_image(f"{OPTIONS} {ADDED}")})
    assert rendered(built, host).commands == ()
    assert [command.argv for command in BACKEND.regenerate(built, host)] == argv


def test_what_is_inside_an_image_is_read_back() -> None:
    after = applied(arch({**NO_ENTRY, **PRESET, IMAGE: unified_image(OPTIONS), CMDLINE: f"{OPTIONS}\n"}))
    assert BACKEND.read_back(after, facts(), desired(), generated=True) == (
        f"{IMAGE} (inside arch.efi): 'intel_iommu=on' is missing",
        f"{IMAGE} (inside arch.efi): 'iommu=pt' is missing",
    )
    assert BACKEND.read_back(after, facts(), None, generated=True) == (f"{IMAGE}: arch.efi does not follow {CMDLINE}",)
    for line in (f"{OPTIONS} {ADDED}", f"{OPTIONS} {ADDED} systemd.machine_id={MACHINE}"):
        built = MemoryTree({**after.files, IMAGE: unified_image(line)})
        assert BACKEND.read_back(built, facts(), desired(), generated=True) == ()
        assert BACKEND.read_back(built, facts(), None, generated=True) == ()


@pytest.mark.parametrize(
    "signer",
    [
        {"/etc/kernel/uki.conf": "[UKI]\nSecureBootPrivateKey=/etc/kernel/key.pem\n"},
        {"/usr/lib/initcpio/post/sbctl": "#!/bin/sh\nsbctl sign -s $3\n"},
        {"/etc/kernel/install.d/95-sign.install": "#!/bin/sh\nexec sbsign --key k $image\n"},
    ],
)
def test_a_signed_image_is_built_anew_only_where_what_builds_it_signs(signer: dict[str, str]) -> None:
    signed = unified_image(OPTIONS, certificate=b"PKCS#7")
    files = {**NO_ENTRY, **PRESET, IMAGE: signed, CMDLINE: f"{OPTIONS}\n"}
    assert rendered(arch({**files, **signer})).commands != ()
    others = {"/usr/lib/initcpio/post/x": "# sbctl\n", "/etc/kernel/uki.conf": "[UKI]\n#SecureBootPrivateKey=x\n"}
    with pytest.raises(UnavailableError) as caught:
        rendered(arch({**files, **others}))
    assert (caught.value.code, caught.value.brief) == (
        69,
        f"{IMAGE} is signed, and nothing here shows that what mkinitcpio builds would be",
    )


def test_every_profile_of_an_image_is_an_entry_and_is_read_back() -> None:
    more = ((".profile", b"ID=main"), (".profile", b"ID=debug"), (".cmdline", f"{OPTIONS} debug".encode()))
    image = unified_image(f"{OPTIONS} {ADDED}", more=more)
    tree = arch({**NO_ENTRY, **PRESET, IMAGE: image, CMDLINE: f"{OPTIONS} {ADDED}\n"})
    assert [(each.id, str(each.cmdline)) for each in BACKEND.read(tree, facts()).entries] == [
        ("arch.efi", f"{OPTIONS} {ADDED}"),
        ("arch.efi@1", f"{OPTIONS} debug"),
    ]
    assert {line.split(":")[0] for line in BACKEND.read_back(tree, facts(), desired(), generated=True)} == {
        f"{IMAGE} (inside arch.efi@1)"
    }


@pytest.mark.parametrize(
    ("image", "reason"),
    [
        (unified_image("root=/dev/sdb7 ro"), "another system: root=/dev/sdb7, where this one has root=/dev/sda2"),
        (unified_image(None), "another system: no root=, where this one has root=/dev/sda2"),
        (b"MZ", "it cannot be read: cut short, no whole PE image"),
        (addon("x"), "it holds no kernel"),
    ],
)
def test_an_image_of_another_system_is_left_alone_with_the_reason(image: bytes, reason: str) -> None:
    other = "/efi/EFI/Linux/other.efi"
    tree = arch({other: image})
    (entry, shown) = BACKEND.read(tree, facts()).entries
    assert (entry.ours, shown.ours, shown.reason) == (True, False, reason)
    plan = rendered(tree)
    assert [str(edit.path) for edit in plan.edits] == [ENTRY]
    assert plan.commands == ()
    assert [(one.rule, one.message) for one in plan.findings] == [
        ("entry-left-alone", f"{other} is left alone: {reason}")
    ]


def test_addons_are_part_of_what_an_image_boots_with() -> None:
    counted = "/efi/EFI/Linux/arch+3-1.efi"
    tree = arch(
        {
            **NO_ENTRY,
            **PRESET,
            counted: unified_image(OPTIONS),
            CMDLINE: f"{OPTIONS}\n",
            "/efi/loader/addons/b.addon.efi": addon("second"),
            "/efi/loader/addons/a.ADDON.EFI": addon("first"),
            "/efi/loader/addons/readme.efi": addon("no"),
            "/efi/loader/addons/z.addon.efi": b"damaged",
            "/efi/EFI/Linux/arch.efi.extra.d/c.addon.efi": addon("own"),
            "/efi/EFI/Linux/arch.efi.extra.d/d.addon.efi": addon("no", release="6.1"),
            "/boot/loader/addons/e.addon.efi": addon("no"),
        }
    )
    (entry,) = BACKEND.read(tree, facts()).entries
    assert (entry.id, str(entry.cmdline)) == ("arch.efi", f"{OPTIONS} first second own")


def test_an_addon_that_lends_what_must_go_is_refused() -> None:
    path = "/efi/loader/addons/pt.addon.efi"
    tree = arch({**NO_ENTRY, **PRESET, IMAGE: unified_image(OPTIONS), CMDLINE: f"{OPTIONS}\n", path: addon("iommu=pt")})
    assert rendered(tree).commands != ()
    with pytest.raises(BootConfigError, match=re.escape(f"{path}: lends 'iommu=pt' to the images beside it")) as caught:
        rendered(tree, profile="strict-isolation")
    assert caught.value.code == 78


def test_drop_ins_of_mkinitcpio_lose_and_the_main_file_gains() -> None:
    drop_in = "/etc/cmdline.d/a.conf"
    files = {**NO_ENTRY, **PRESET, IMAGE: unified_image(OPTIONS), CMDLINE: f"{OPTIONS}\n", drop_in: "iommu=nopt x\n"}
    after = applied(arch(files))
    assert (after.files[CMDLINE].decode(), after.files[drop_in]) == (f"{OPTIONS} {ADDED}\n", b"x\n")


@pytest.mark.parametrize("files", [{}, {READER: ""}])
def test_drop_ins_of_mkinitcpio_do_without_the_main_file(files: dict[str, str]) -> None:
    first, second = "/etc/cmdline.d/a.conf", "/etc/cmdline.d/b.conf"
    drop_ins = {first: f"{OPTIONS}\n", second: "iommu=nopt x\n"}
    after = applied(arch({**NO_ENTRY, **PRESET, **files, **drop_ins, IMAGE: unified_image(f"{OPTIONS} iommu=nopt x")}))
    assert (after.files[first].decode(), after.files[second]) == (f"{OPTIONS} {ADDED}\n", b"x\n")
    assert CMDLINE not in after.files


@pytest.mark.parametrize(
    ("files", "code", "says"),
    [
        ({}, 69, "nothing on this host builds"),
        ({**PRESET, f"/lib/modules/{RELEASE}/vmlinuz-virt.efi": ""}, 69, "its package brings along, signed"),
        (
            {
                "/etc/kernel/install.conf": "layout=uki\n",
                "/etc/kernel/install.conf.d/99-off.conf": "layout=bls\n",
                f"/lib/modules/{RELEASE}/vmlinuz": "",
            },
            69,
            "nothing on this host builds",
        ),
        (
            {"/etc/dracut.conf": "uefi=yes\n", "/etc/dracut.conf.d/u.conf": 'x=1\nkernel_cmdline="ro"\n'},
            78,
            "/etc/dracut.conf.d/u.conf:2: sets what dracut puts into unified kernel images",
        ),
        ({"/etc/dracut.conf": "uefi=yes\n"}, 78, "/etc/dracut.conf:1: has dracut build unified kernel images, and no"),
        (
            {"/etc/mkinitcpio.d/l.preset": "default_uki=/x\ndefault_options='--cmdline /x'\n"},
            78,
            "l.preset:2: names a command line of its own",
        ),
        (
            {"/etc/mkinitcpio.d/l.preset": "default_uki=/x\n# ALL_cmdline=/x\nfallback_cmdline=/x\n"},
            78,
            "l.preset:3: names a command line of its own",
        ),
        ({**PRESET, CMDLINE: None}, 78, "/etc/kernel/cmdline: is missing, and mkinitcpio builds the images of it"),
    ],
)
def test_an_image_that_cannot_be_built_of_a_known_source_is_refused(
    files: dict[str, str | None], code: int, says: str
) -> None:
    with pytest.raises((UnavailableError, BootConfigError), match=re.escape(says)) as caught:
        rendered(arch({**NO_ENTRY, CMDLINE: f"{OPTIONS}\n", IMAGE: unified_image(OPTIONS), **files}))
    assert caught.value.code == code


def test_an_image_that_is_refused_is_still_shown() -> None:
    config = BACKEND.read(arch({**NO_ENTRY, CMDLINE: f"{OPTIONS}\n", IMAGE: unified_image(OPTIONS)}), facts())
    assert [(each.id, str(each.cmdline), each.reason) for each in config.entries] == [
        ("arch.efi", OPTIONS, "a unified kernel image, built of /etc/kernel/cmdline")
    ]
    assert [finding.rule for finding in config.findings] == ["unified-image-refused"]


@pytest.mark.parametrize("runtime", [None, Runtime(f"{OPTIONS} typed=1", is_efi=True, stub_info="systemd-stub 257")])
def test_the_newest_image_tells_its_own_command_line_where_no_file_does(runtime: Runtime | None) -> None:
    older = "/efi/EFI/Linux/arc.efi"
    files = {**NO_ENTRY, **PRESET, IMAGE: unified_image(OPTIONS), older: unified_image(f"{OPTIONS} old"), READER: ""}
    files["/efi/loader/addons/a.addon.efi"] = addon("lent")
    after = applied(arch(files), facts(runtime))
    assert after.files[CMDLINE].decode() == f"{OPTIONS} {ADDED}\n"


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


def test_proxmox_keeps_both_sources_in_step_and_says_that_the_loader_is_unknown() -> None:
    files = {CMDLINE: "root=ZFS=x boot=zfs\n", "/etc/default/grub": 'GRUB_CMDLINE_LINUX_DEFAULT="quiet"\n'}
    tree = arch({**NO_ENTRY, **PROXMOX, **files})
    after = applied(tree, facts(id="debian"))
    assert after.files[CMDLINE].decode() == f"root=ZFS=x boot=zfs {ADDED}\n"
    assert after.files["/etc/default/grub"].decode() == f'GRUB_CMDLINE_LINUX_DEFAULT="quiet {ADDED}"\n'
    plan = rendered(tree, facts(id="debian"))
    assert [command.argv for command in plan.commands] == [("proxmox-boot-tool", "refresh")]
    assert [finding.rule for finding in plan.findings] == ["esp-loader-unknown"]
    proven = facts(Runtime("x", is_efi=True, loader_info="systemd-boot 252"), id="debian")
    assert rendered(tree, proven).findings == ()


def test_a_value_of_proxmox_that_grub_would_cut_short_is_refused() -> None:
    grub = "GRUB_CMDLINE_LINUX_DEFAULT='quiet # a=b'\n"
    tree = MemoryTree.of({**PROXMOX, "/etc/default/grub": grub, CMDLINE: "root=ZFS=rpool/ROOT/pve-1 boot=zfs\n"})
    with pytest.raises(BootConfigError) as caught:
        rendered(tree, facts(id="debian"))
    said = (
        "/etc/default/grub:1: GRUB_CMDLINE_LINUX_DEFAULT, as GRUB's script would have it: 'intel_iommu=on' is missing"
    )
    assert caught.value.brief == said


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("# c\nroot=x\n", ":1: holds no parameter, and proxmox-boot-tool reads no other line"),
        (None, "is missing, and proxmox-boot-tool makes the entries of it"),
    ],
)
def test_proxmox_reads_the_first_line_only(text: str | None, says: str) -> None:
    with pytest.raises(BootConfigError, match=re.escape(says)):
        rendered(arch({**NO_ENTRY, **PROXMOX, CMDLINE: text}))


def test_what_proxmox_does_not_read_does_not_count() -> None:
    after = applied(arch({**NO_ENTRY, **PROXMOX, CMDLINE: f"root=x\n{ADDED} intel_iommu=off\n"}))
    assert after.files[CMDLINE].decode() == f"root=x {ADDED}\n{ADDED}\n"


@pytest.mark.parametrize("indent", [2, 4, None])
@pytest.mark.parametrize("end", ["", "\n"])
def test_kernelstubs_list_is_edited_and_it_is_called(indent: int | None, end: str) -> None:
    own = {"kernel_options": ["quiet", "iommu=soft"], "é": ["x"]}
    settings = {"default": {"kernel_options": ["quiet"]}, "user": own}
    path = "/etc/kernelstub/configuration"
    current = f"{ENTRIES}/Pop_OS-current.conf"
    tree = arch({ENTRY: None, current: entry(), path: json.dumps(settings, indent=indent) + end})
    after = applied(tree)
    own["kernel_options"] = ["quiet", "iommu=pt", "intel_iommu=on"]
    assert after.files[path].decode() == json.dumps(settings, indent=indent) + end
    assert after.files[current] == tree.files[current]
    assert [command.argv for command in rendered(tree).commands] == [("kernelstub",)]
    assert BACKEND.read_back(after, facts(), desired(), generated=True) != ()


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("{", "is not JSON"),
        ("[]", "is not a JSON object"),
        ('{"user":  {"kernel_options": []}}', "cannot be represented exactly"),
        ('{"user": {}}', "has no list user.kernel_options"),
        ('{"user": {"kernel_options": [1]}}', "has no list user.kernel_options"),
    ],
)
def test_settings_of_kernelstub_that_would_not_come_back_are_refused(text: str, says: str) -> None:
    with pytest.raises(BootConfigError, match=re.escape(says)) as caught:
        rendered(arch({"/etc/kernelstub/configuration": text}))
    assert caught.value.code == 78


def test_sdbootutil_is_called_where_entries_do_not_follow_their_sources() -> None:
    files = {"/usr/bin/sdbootutil": "", CMDLINE: f"quiet {ADDED}\n"}
    assert [command.argv for command in rendered(arch(files)).commands] == [("sdbootutil", "update-all-entries")]
    assert rendered(arch({**files, ENTRY: entry(f"{OPTIONS} {ADDED}")})).commands == ()


def test_a_drop_in_of_a_package_is_not_ours_to_change() -> None:
    files = {"/usr/bin/sdbootutil": "", CMDLINE: "quiet\n", "/usr/kernel/cmdline.d/a.conf": "iommu=nopt\n"}
    with pytest.raises(BootConfigError, match="holds 'iommu=nopt', and belongs to a package"):
        rendered(arch(files))


def test_a_drop_in_of_a_package_is_replaced_by_one_of_its_name() -> None:
    files = {"/usr/bin/sdbootutil": "", CMDLINE: "quiet\n", "/usr/kernel/cmdline.d/a.conf": "iommu=nopt\n"}
    after = applied(arch({**files, "/etc/kernel/cmdline.d/a.conf": ""}))
    assert after.files[CMDLINE].decode() == f"quiet {ADDED}\n"
    assert str(BACKEND.read(after, facts()).future.cmdline) == f"quiet {ADDED}"


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
        f"/{folders[0]}/loader/entries/arch.conf",
        f"/{folders[0]}/EFI/Linux/b.efi",
    ]
