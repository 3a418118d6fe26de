# SPDX-License-Identifier: Apache-2.0
"""Unified kernel images: built anew of their sources, read back from what is inside, or refused."""

import re

import pytest
from archhosts import ADDED, BACKEND, CMDLINE, ENTRY, IMAGE, NO_ENTRY, PRESET, READER, applied, rendered
from entryhosts import MACHINE, OPTIONS, RELEASE, arch, desired, facts
from peimages import addon, unified_image
from trees import MemoryTree

from iommuctl.errors import BootConfigError, UnavailableError
from iommuctl.facts import Runtime


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
    assert BACKEND.out_of_step(after, facts(), generated=True) == (f"{IMAGE}: arch.efi does not follow {CMDLINE}",)
    for line in (f"{OPTIONS} {ADDED}", f"{OPTIONS} {ADDED} systemd.machine_id={MACHINE}"):
        built = MemoryTree({**after.files, IMAGE: unified_image(line)})
        assert BACKEND.read_back(built, facts(), desired(), generated=True) == ()
        assert BACKEND.out_of_step(built, facts(), generated=True) == ()


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


def test_the_default_profile_of_an_image_counts_and_those_that_share_its_line() -> None:
    more = (
        (".profile", b"ID=main"),
        (".profile", b"ID=debug"),
        (".cmdline", f"{OPTIONS} debug".encode()),
        (".profile", b"TITLE=Same"),
    )
    tree = arch({**NO_ENTRY, **PRESET, IMAGE: unified_image(OPTIONS, more=more), CMDLINE: f"{OPTIONS} {ADDED}\n"})
    config = BACKEND.read(tree, facts())
    assert [(each.id, str(each.cmdline), each.ours, each.default) for each in config.entries] == [
        ("arch.efi", OPTIONS, True, True),
        ("arch.efi@debug", f"{OPTIONS} debug", False, False),
        ("arch.efi@2", OPTIONS, True, False),
    ]
    assert [one.rule for one in config.findings] == ["entry-left-alone", "sources-disagree"]
    assert {line.split(":")[0] for line in BACKEND.read_back(tree, facts(), desired(), generated=True)} == {
        f"{IMAGE} (inside arch.efi)",
        f"{IMAGE} (inside arch.efi@2)",
    }


def test_a_default_that_is_another_profile_is_told() -> None:
    more = ((".profile", b""), (".profile", b"ID=debug"), (".cmdline", b"root=/dev/sda2 iommu=off"))
    files: dict[str, str | bytes] = {IMAGE: unified_image(OPTIONS, more=more), CMDLINE: f"{OPTIONS}\n"}
    tree = arch({**NO_ENTRY, **PRESET, **files, "/efi/loader/loader.conf": "default arch.efi@d*\n"})
    told = [one for one in rendered(tree).findings if one.rule == "default-entry-not-ours"]
    assert [one.hint for one in told] == ["write `default arch.efi` into loader/loader.conf of the ESP"]


@pytest.mark.parametrize(
    ("keys", "shown"),
    [
        ("uki /EFI/Linux/arch.efi\n", (OPTIONS, True)),
        ("efi /EFI/Linux/arch.efi\n", (OPTIONS, True)),
        ("uki /EFI/Linux/arch.efi\nprofile 2\n", (OPTIONS, True)),
        ("uki /EFI/Linux/arch.efi\nprofile 1\n", ("", False)),  # which has a line of its own
        ("uki /EFI/Linux/arch.efi\nextra /x.addon.efi\n", ("", False)),
        ("uki /EFI/Linux/arch.efi\noptions iommu=off\n", ("iommu=off", False)),
    ],
)
def test_an_entry_that_starts_an_image_of_this_system_has_what_is_inside(keys: str, shown: tuple[str, bool]) -> None:
    more = ((".profile", b""), (".profile", b"ID=debug"), (".cmdline", b"root=/dev/sda2 x"), (".profile", b""))
    files: dict[str, str | bytes] = {IMAGE: unified_image(OPTIONS, more=more), CMDLINE: f"{OPTIONS}\n"}
    settings = {"/efi/loader/loader.conf": "default own.conf\n", "/efi/loader/entries/own.conf": keys}
    config = BACKEND.read(arch({**NO_ENTRY, **PRESET, **files, **settings}), facts())
    own = next(each for each in config.entries if each.id == "own")
    assert (str(own.cmdline), own.ours, own.default) == (*shown, True)
    told = [one.rule for one in config.findings if one.rule == "default-entry-not-ours"]
    assert told == ([] if own.ours else ["default-entry-not-ours"])


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
    shown = {each.id: (each.ours, each.reason) for each in BACKEND.read(tree, facts()).entries}
    assert shown == {"arch": (True, "of this system"), "other.efi": (False, reason)}
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
    drop_ins = {first: f"{OPTIONS}\n", second: "y\niommu=nopt x\n"}
    after = applied(arch({**NO_ENTRY, **PRESET, **files, **drop_ins, IMAGE: unified_image(f"{OPTIONS} iommu=nopt x")}))
    # What holds parameters of the IOMMU already takes more, not the first by its name.
    assert (after.files[first].decode(), after.files[second].decode()) == (f"{OPTIONS}\n", f"y {ADDED}\nx\n")
    assert CMDLINE not in after.files


def test_the_first_drop_in_gains_where_none_has_parameters_of_the_iommu() -> None:
    drop_ins = {"/etc/cmdline.d/a.conf": f"{OPTIONS}\n", "/etc/cmdline.d/b.conf": "quiet\n"}
    after = applied(arch({**NO_ENTRY, **PRESET, **drop_ins, IMAGE: unified_image(OPTIONS)}))
    assert after.files["/etc/cmdline.d/a.conf"].decode() == f"{OPTIONS} {ADDED}\n"


OWN, OTHER = "/etc/kernel/cmdline-linux", "/etc/kernel/cmdline-lts"


@pytest.mark.parametrize(
    ("presets", "edited"),
    [
        (['default_uki=/x\ndefault_options="--cmdline /etc/kernel/cmdline"\n'], [CMDLINE]),
        ([f"default_uki=/x\ndefault_options='-S autodetect --cmdline {OWN}'\n"], [OWN]),
        ([f"default_efi_image=/x\ndefault_options=(--cmdline={OWN} -S autodetect)\n"], [OWN]),
        ([f"ALL_cmdline={OWN}\ndefault_uki=/x\nfallback_uki=/y\n"], [OWN]),
        ([f'default_uki=/x\nfallback_uki=/y\nfallback_cmdline="{OWN}"\n'], [CMDLINE, OWN]),
        ([f"default_uki=/x\ndefault_cmdline={OWN}\n", f"default_uki=/y\ndefault_cmdline={OTHER}\n"], [OWN, OTHER]),
        ([f"default_image=/x\ndefault_cmdline={OWN}\n", "default_uki=/x\n#default_cmdline=$X\n"], [CMDLINE]),
        ([f"PRESETS=('default')\ndefault_uki=/x\nfallback_uki=/y\nfallback_options='--cmdline {OWN}'\n"], [CMDLINE]),
        ([f"PRESETS=(default\n# fallback\n)\ndefault_uki=/x\nfallback_cmdline=$X\nALL_cmdline={OWN}\n"], [OWN]),
        ([f"PRESETS=(a b)\na_uki=/x\nb_cmdline={OWN}\nb_uki=/y\n"], [CMDLINE, OWN]),
        (["PRESETS=('default')\ndefault_uki=/x\nfallback_uki=/y\nfallback_options='--no-cmdline'\n"], [CMDLINE]),
    ],
)
def test_a_file_that_a_preset_names_is_the_one_that_is_edited(presets: list[str], edited: list[str]) -> None:
    files = dict.fromkeys((CMDLINE, OWN, OTHER), f"{OPTIONS}\n")
    named = {f"/etc/mkinitcpio.d/{number}.preset": text for number, text in enumerate(presets)}
    tree = arch({**NO_ENTRY, **files, **named, IMAGE: unified_image(OPTIONS), "/etc/cmdline.d/x.conf": "x\n"})
    after = applied(tree)
    assert {path for path in files if after.files[path] == f"{OPTIONS} {ADDED}\n".encode()} == set(edited)
    assert str(BACKEND.read(tree, facts()).future.source) == edited[0]


DRACUT = "/etc/dracut.conf.d/cmdline.conf"


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ('kernel_cmdline="root=/dev/sda2 quiet"\n', f'kernel_cmdline="root=/dev/sda2 quiet {ADDED}"\n'),
        (
            "# it's\n kernel_cmdline+=' iommu=nopt '; # c\nx=1",
            "# it's\n kernel_cmdline+=' iommu=pt intel_iommu=on '; # c\nx=1",
        ),
        ('a="b\nc"\nkernel_cmdline=""', f'a="b\nc"\nkernel_cmdline="{ADDED}"'),
    ],
)
def test_the_one_literal_that_dracut_builds_of_is_edited(text: str, expected: str) -> None:
    tree = arch({**NO_ENTRY, IMAGE: unified_image("root=/dev/sda2"), "/etc/dracut.conf": 'uefi="yes"\n', DRACUT: text})
    after = tree.after(rendered(tree))
    assert after.files[DRACUT].decode() == expected
    assert [one.argv for one in rendered(tree).commands] == [("dracut", "--regenerate-all", "--force")]
    assert str(BACKEND.read(after, facts()).future.source) == DRACUT
    assert rendered(after).edits == ()


@pytest.mark.parametrize(
    "text",
    [
        'kernel_cmdline="root=$ROOT"\n',
        'kernel_cmdline="a"\nkernel_cmdline+=" b"\n',
        'kernel_cmdline="a" b\n',
        "kernel_cmdline=a\n",
        'if true; then kernel_cmdline="a"; fi\n',
        'x="\nkernel_cmdline="a"\n"\n',
        'export kernel_cmdline="a"\n',
        'kernel_cmdline="a \\\nb"\n',
    ],
)
def test_what_dracut_builds_of_is_refused_where_it_is_no_literal(text: str) -> None:
    files: dict[str, str | bytes] = {"/etc/dracut.conf": "uefi=yes\n", DRACUT: text, IMAGE: unified_image("root=x")}
    tree = arch({**NO_ENTRY, **files})
    with pytest.raises(BootConfigError, match="and is a shell's language"):
        rendered(tree)
    assert [one.rule for one in BACKEND.read(tree, facts()).findings] == ["unified-image-refused"]


def test_a_value_that_would_end_the_literal_is_refused() -> None:
    files: dict[str, str | bytes] = {
        "/etc/dracut.conf": "uefi=yes\nkernel_cmdline='x=\"a b\"'\n",
        IMAGE: unified_image("root=x"),
    }
    with pytest.raises(BootConfigError, match="and is a shell's language"):
        rendered(arch({**NO_ENTRY, **files}))


def test_the_next_kernel_of_a_host_of_images_is_what_the_newest_has_inside() -> None:
    old, new = "/efi/EFI/Linux/a-6.1.efi", "/efi/EFI/Linux/a-6.10.efi"
    tree = arch({**NO_ENTRY, **PRESET, old: unified_image("root=/dev/sda2 old"), new: unified_image("root=/dev/sda2")})
    future = BACKEND.read(tree, facts()).future
    assert (str(future.cmdline), str(future.source)) == ("root=/dev/sda2", new)


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
            {"/etc/dracut.conf": "uefi=yes\n", "/etc/dracut.conf.d/u.conf": 'x=1\nkernel_cmdline="$ro"\n'},
            78,
            "/etc/dracut.conf.d/u.conf:2: sets what dracut puts into unified kernel images",
        ),
        (
            {"/usr/lib/dracut/dracut.conf.d/u.conf": 'uefi=yes\nkernel_cmdline="ro"\n'},
            78,
            "/usr/lib/dracut/dracut.conf.d/u.conf:2: belongs to a package",
        ),
        ({"/etc/dracut.conf": "uefi=yes\n"}, 78, "/etc/dracut.conf:1: has dracut build unified kernel images, and no"),
        (
            {"/etc/mkinitcpio.d/l.preset": "default_uki=/x\ndefault_options='--cmdline $x'\n"},
            78,
            "l.preset:2: names a command line by something else than one plain path",
        ),
        (
            {"/etc/mkinitcpio.d/l.preset": "default_uki=/x\ndefault_options=(-S autodetect --no-cmdline)\n"},
            78,
            "l.preset:2: has an image built without a command line",
        ),
        (
            {"/etc/mkinitcpio.d/l.preset": "default_uki=/x\n# ALL_cmdline=/x\nfallback_cmdline=x\n"},
            78,
            "l.preset:3: names a command line by something else than one plain path",
        ),
        (
            {"/etc/mkinitcpio.d/l.preset": "default_uki=/x\ndefault_cmdline=/x\n"},
            78,
            "/x: is missing, and images are built of it",
        ),
        (
            {**PRESET, CMDLINE: None, IMAGE: unified_image(None)},
            78,
            "/etc/kernel/cmdline: is missing, and mkinitcpio builds the images of it",
        ),
    ],
)
def test_an_image_that_cannot_be_built_of_a_known_source_is_refused(
    files: dict[str, str | bytes | None], code: int, says: str
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
    files = {**NO_ENTRY, **PRESET, IMAGE: unified_image(OPTIONS), older: unified_image(f"{OPTIONS} old")}
    files["/efi/loader/addons/a.addon.efi"] = addon("lent")
    after = applied(arch(files), facts(runtime))
    assert after.files[CMDLINE].decode() == f"{OPTIONS} {ADDED}\n"
