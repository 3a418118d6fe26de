# SPDX-License-Identifier: Apache-2.0
"""Loaders: how each bootloader shows itself, and where the command line of those that no backend edits is written.

Rows of data. Each row names the public source of its facts.
"""

from enum import StrEnum

from iommuctl.backends.detection.evidence import GRUB, SYSTEMD_BOOT
from iommuctl.value import NamedTuple


class Mark(StrEnum):
    """What more than one loader leaves on a running system."""

    BOOT_IMAGE = "BOOT_IMAGE="
    EFI_INITRD = "initrd=\\"
    STUB = "StubInfo"


class Place(NamedTuple):
    """A file in which command lines are written by hand.

    `paths` are absolute, or below each boot file system; the first that exists is meant. `line` finds a command line;
    its only group is the parameters. `what` says which part of such a line is meant, `new` the line to add where there
    is none yet. `then` is the command that makes the boot files of it; empty where the loader reads this very file.
    `needs` are programs of which one has to be there. `made_by` is the command that makes the file where there is none.
    """

    paths: tuple[str, ...]
    line: str
    what: str
    new: str = ""
    then: str = ""
    needs: tuple[str, ...] = ()
    made_by: str = ""


class Loader(NamedTuple):
    """A bootloader. `source` is where its facts are documented.

    At runtime: `info` is how LoaderInfo begins, `program` a pattern for the path of BootCurrent's program (lower case,
    with slashes), `marks` what it leaves as others do, `machine` a pattern for the machine's model. By files: `efi` are
    directories of the ESP's EFI/ (lower case), `files` are absolute or below each boot file system; `settings` say
    nothing next to another loader's files. `places` are where its command line is written, the first that applies;
    `by_hand` is the command instead, where no file holds it, and `by_hand_plain` the same without parameters.
    `kexecs`: another loader starts it, and the kernel that it starts shows the traces of that one. `read_also_by` reads
    the same files on arm64, elsewhere `shared` next to files of its own. `brief` is what an error says of its host.
    """

    name: str
    source: str
    supported: bool = False
    info: tuple[str, ...] = ()
    program: str = ""
    marks: tuple[Mark, ...] = ()
    machine: str = ""
    efi: tuple[str, ...] = ()
    files: tuple[str, ...] = ()
    settings: tuple[str, ...] = ()
    places: tuple[Place, ...] = ()
    by_hand: str = ""
    by_hand_plain: str = ""
    efi_only: bool = False
    kexecs: bool = False
    read_also_by: str = ""
    shared: tuple[str, ...] = ()
    brief: str = ""


_QUOTED = r"""["']?([^"'\n]*)["']?"""
_APPEND_OF_SYSLINUX = r"(?i)^[ \t]*append[ \t]+(.*)$"
_ELILO = ("EFI/Slackware/elilo.conf", "EFI/BOOT/elilo.conf", "/etc/elilo.conf")
_SHARED = ("extlinux/extlinux.conf", "extlinux.conf")

LOADERS = (
    Loader(
        GRUB,
        source="GNU GRUB: module bli (LoaderInfo), grub-core/loader/i386/linux.c (BOOT_IMAGE=)",
        supported=True,
        info=("GRUB",),
        program=r"grub|shim",
        marks=(Mark.BOOT_IMAGE,),
    ),
    Loader(
        SYSTEMD_BOOT,
        source="systemd: src/boot/boot.c (LoaderInfo, initrd=), src/boot/stub.c (StubInfo)",
        supported=True,
        info=("systemd-boot ", "gummiboot "),
        program=r"systemd-boot|gummiboot",
        marks=(Mark.EFI_INITRD, Mark.STUB),
        efi_only=True,
    ),
    Loader(
        "rEFInd",
        source="rodsbooks.com/refind/linux.html (refind_linux.conf), configfile.html (options)",
        info=("rEFInd",),
        program=r"/refind[^/]*/|/refind[^/]*\.efi$",
        marks=(Mark.EFI_INITRD, Mark.STUB),
        efi=("refind", "refindplus"),
        files=("refind_linux.conf", "EFI/BOOT/refind.conf"),
        places=(
            Place(
                ("/boot/refind_linux.conf", "refind_linux.conf"),
                r'^[ \t]*"[^"\n]*"[ \t]+"([^"\n]*)"',
                "the second pair of quotes",
                made_by="mkrlconf",
            ),
            Place(
                ("EFI/refind/refind.conf", "EFI/BOOT/refind.conf"),
                rf"^[ \t]*options[ \t]+{_QUOTED}",
                "options of the entry",
            ),
        ),
        efi_only=True,
    ),
    Loader(
        "Limine",
        source="Limine: CONFIG.md (cmdline), pull request 475 (LoaderInfo); limine-entry-tool (/etc/default/limine)",
        info=("Limine",),
        program=r"/(?:[\w-]*-)?limine/|/limine[^/]*\.efi$",
        marks=(Mark.STUB,),
        efi=("limine", "arch-limine"),
        files=(
            "limine.conf",
            "limine/limine.conf",
            "EFI/BOOT/limine.conf",
            "limine.cfg",
            "limine/limine.cfg",
            "EFI/BOOT/limine.cfg",
            "/etc/default/limine",
        ),
        places=(
            Place(
                ("/etc/default/limine",),
                rf"^[ \t]*KERNEL_CMDLINE\[[^\]\n]*\][ \t]*\+?={_QUOTED}",
                "KERNEL_CMDLINE",
                new='KERNEL_CMDLINE[default]+="{parameters}"',
                then="limine-update",
                needs=("limine-update", "limine-entry-tool", "limine-mkinitcpio"),
            ),
            Place(
                (
                    "limine.conf",
                    "limine/limine.conf",
                    "EFI/limine/limine.conf",
                    "EFI/arch-limine/limine.conf",
                    "EFI/BOOT/limine.conf",
                ),
                r"(?i)^[ \t]*(?:kernel_)?cmdline:[ \t]*(.*)$",
                "cmdline",
            ),
            Place(
                ("limine.cfg", "limine/limine.cfg", "EFI/limine/limine.cfg", "EFI/BOOT/limine.cfg"),
                r"(?i)^[ \t]*(?:kernel_)?cmdline[ \t]*=[ \t]*(.*)$",
                "CMDLINE",
            ),
        ),
    ),
    Loader(
        "SYSLINUX",
        source="wiki.syslinux.org (BOOT_IMAGE=, APPEND); Alpine: update-extlinux; Debian: extlinux-update(8)",
        program=r"/(?:sys|ext)linux[^/]*(?:/|\.efi$)",
        marks=(Mark.BOOT_IMAGE,),
        efi=("syslinux", "extlinux"),
        files=(
            "extlinux/extlinux.conf",
            "extlinux.conf",
            "syslinux/syslinux.cfg",
            "syslinux/extlinux.conf",
            "syslinux.cfg",
            "EFI/BOOT/syslinux.cfg",
        ),
        read_also_by="U-Boot",
        shared=_SHARED,
        settings=("/etc/update-extlinux.conf", "/etc/default/extlinux"),
        places=(
            Place(
                ("/etc/update-extlinux.conf",),
                rf"^[ \t]*default_kernel_opts={_QUOTED}",
                "default_kernel_opts",
                new='default_kernel_opts="{parameters}"',
                then="update-extlinux",
                needs=("update-extlinux",),
            ),
            Place(
                ("/etc/default/extlinux",),
                rf"^[ \t]*EXTLINUX_PARAMETERS={_QUOTED}",
                "EXTLINUX_PARAMETERS",
                new='EXTLINUX_PARAMETERS="ro quiet {parameters}"',
                then="extlinux-update",
                needs=("extlinux-update",),
            ),
            Place(
                (
                    "extlinux/extlinux.conf",
                    "extlinux.conf",
                    "syslinux/syslinux.cfg",
                    "syslinux/extlinux.conf",
                    "syslinux.cfg",
                    "EFI/syslinux/syslinux.cfg",
                    "EFI/BOOT/syslinux.cfg",
                ),
                _APPEND_OF_SYSLINUX,
                "append",
            ),
        ),
    ),
    Loader(
        "ZFSBootMenu",
        source="docs.zfsbootmenu.org: zfsbootmenu(7) (org.zfsbootmenu:commandline), zbm-kcl(8)",
        program=r"/(?:zbm|zfsbootmenu)[^/]*(?:/|\.efi$)",
        marks=(Mark.STUB,),
        efi=("zbm", "zfsbootmenu"),
        files=("/etc/zfsbootmenu/config.yaml",),
        by_hand="zbm-kcl {flags} puts {parameters} into the property org.zfsbootmenu:commandline of the root's "
        "dataset; then reboot",
        by_hand_plain="zbm-kcl -e edits the property org.zfsbootmenu:commandline of the root's dataset",
        kexecs=True,
    ),
    Loader(
        "the Raspberry Pi's firmware",
        source="raspberrypi.com/documentation/computers/configuration.html (cmdline.txt), config_txt.html",
        machine=r"Raspberry Pi",
        files=("firmware/cmdline.txt", "cmdline.txt"),
        places=(Place(("firmware/cmdline.txt", "cmdline.txt"), r"\A[ \t]*(.*)$", "the one line"),),
    ),
    Loader(
        "U-Boot",
        source="docs.u-boot.org (boot.scr, extlinux.conf); Armbian: armbianEnv.txt; Debian: u-boot-update(8)",
        files=(
            "armbianEnv.txt",
            "orangepiEnv.txt",
            "dietpiEnv.txt",
            "boot.scr",
            "boot.scr.uimg",
            "uEnv.txt",
            "boot.ini",
        ),
        settings=("/etc/default/u-boot", "/etc/default/flash-kernel"),
        places=(
            Place(
                ("armbianEnv.txt", "orangepiEnv.txt", "dietpiEnv.txt"),
                r"^extraargs=(.*)$",
                "extraargs",
                new="extraargs={parameters}",
            ),
            Place(
                ("/etc/default/u-boot",),
                rf"^[ \t]*U_BOOT_PARAMETERS={_QUOTED}",
                "U_BOOT_PARAMETERS",
                new='U_BOOT_PARAMETERS="ro quiet {parameters}"',
                then="u-boot-update",
                needs=("u-boot-update",),
            ),
            Place(
                ("/etc/default/flash-kernel",),
                rf"^[ \t]*LINUX_KERNEL_CMDLINE={_QUOTED}",
                "LINUX_KERNEL_CMDLINE",
                new='LINUX_KERNEL_CMDLINE="quiet {parameters}"',
                then="flash-kernel",
                needs=("flash-kernel",),
            ),
            Place(tuple(f"/boot/{path}" for path in _SHARED), _APPEND_OF_SYSLINUX, "append"),
            Place(("uEnv.txt",), r"^(?:bootargs|cmdline|optargs)=(.*)$", "the arguments"),
            Place(("boot.ini",), rf"^[ \t]*setenv[ \t]+bootargs[ \t]+{_QUOTED}", "setenv bootargs"),
            Place(
                ("boot.cmd",),
                rf"^[ \t]*setenv[ \t]+bootargs[ \t]+{_QUOTED}",
                "setenv bootargs",
                then="mkimage -C none -T script -d /boot/boot.cmd /boot/boot.scr",
            ),
        ),
    ),
    Loader(
        "the firmware itself",
        source="docs.kernel.org/admin-guide/efi-stub.html; Void: efibootmgr-kernel-hook",
        program=r"(?:\A|/)(?:vmlinu[xz]|bzimage|image|kernel|linux)[^/]*\Z",
        marks=(Mark.EFI_INITRD,),
        settings=("/etc/default/efibootmgr-kernel-hook",),
        places=(
            Place(
                ("/etc/default/efibootmgr-kernel-hook",),
                rf"^[ \t]*OPTIONS={_QUOTED}",
                "OPTIONS",
                then="xbps-reconfigure --force --all",
                needs=("xbps-reconfigure",),
            ),
        ),
        by_hand="efibootmgr --create --loader '{program}' --unicode '{cmdline}' makes the boot option anew "
        "(--disk and --part name the ESP)",
        by_hand_plain="efibootmgr --unicode shows the boot option that holds the parameters",
        brief="{program!r} is started by the firmware itself, with the parameters of its boot option",
        efi_only=True,
    ),
    Loader(
        "Clover",
        source="github.com/CloverHackyColor/CloverBootloader (GUI/Custom/Entries)",
        program=r"/clover/|/clover[^/]*\.efi$",
        marks=(Mark.EFI_INITRD, Mark.STUB),
        efi=("clover",),
        places=(
            Place(
                ("EFI/CLOVER/config.plist", "EFI/clover/config.plist"),
                r"<key>(?:Add)?Arguments</key>\s*<string>([^<]*)</string>",
                "Arguments of the entry",
            ),
        ),
    ),
    Loader(
        "OpenCore",
        source="github.com/acidanthera/OpenCorePkg: Docs/Configuration.tex (OpenLinuxBoot, autoopts)",
        program=r"/oc/opencore[^/]*\.efi$",
        marks=(Mark.EFI_INITRD, Mark.STUB),
        efi=("oc",),
        by_hand='put autoopts+="{parameters}" into Arguments of OpenLinuxBoot.efi in EFI/OC/config.plist',
        by_hand_plain="the parameters go into Arguments of OpenLinuxBoot.efi in EFI/OC/config.plist",
        efi_only=True,
    ),
    Loader(
        "petitboot",
        source="github.com/open-power/petitboot: discover/kboot-parser.c, discover/native/native.c, doc/config.rst",
        files=("/etc/kboot.conf", "kboot.conf", "petitboot.conf"),
        places=(
            Place(("/etc/kboot.conf", "kboot.conf"), r"^[^#=\n]+='?[^'\s]+[ \t]+([^'\n]*)'?$", "the entry"),
            Place(("petitboot.conf",), r"^args[ \t]+(.*)$", "args"),
        ),
        kexecs=True,
    ),
    Loader(
        "depthcharge",
        source="github.com/alpernebbi/depthcharge-tools: README.rst (kernel-cmdline), depthchargectl(1)",
        files=("/etc/depthcharge-tools/config",),
        places=(
            Place(
                ("/etc/depthcharge-tools/config",),
                r"^[ \t]*kernel-cmdline[ \t]*[=:][ \t]*(.*)$",
                "kernel-cmdline",
                then="depthchargectl write",
                needs=("depthchargectl",),
            ),
        ),
        by_hand="put kernel-cmdline = {cmdline} below [depthchargectl] in /etc/depthcharge-tools/config, run "
        "depthchargectl write, then reboot",
        by_hand_plain="kernel-cmdline below [depthchargectl] in /etc/depthcharge-tools/config holds the parameters",
    ),
    Loader(
        "LILO",
        source="lilo.conf(5); Slackware",
        marks=(Mark.BOOT_IMAGE,),
        files=("/etc/lilo.conf",),
        places=(
            Place(
                ("/etc/lilo.conf",),
                rf"^[ \t]*(?:append|addappend)[ \t]*=[ \t]*{_QUOTED}",
                "append",
                new='append="{parameters}"',
                then="lilo",
            ),
        ),
    ),
    Loader(
        "ELILO",
        source="elilo.sourceforge.net; Slackware: eliloconfig",
        program=r"/elilo[^/]*\.efi$",
        marks=(Mark.BOOT_IMAGE,),
        files=_ELILO,
        places=(Place(_ELILO, rf"^[ \t]*append[ \t]*=[ \t]*{_QUOTED}", "append"),),
        efi_only=True,
    ),
    Loader(
        "GRUB Legacy",
        source="GNU GRUB 0.97 manual (menu.lst)",
        settings=("/boot/grub/menu.lst", "/boot/grub/grub.conf"),
        places=(
            Place(
                ("/boot/grub/menu.lst", "/boot/grub/grub.conf"),
                r"^[ \t]*kernel[ \t]+\S*vmlinuz\S*[ \t]*(.*)$",
                "kernel",
            ),
        ),
    ),
    Loader(
        "Xen",
        source="xenbits.xen.org/docs: efi.html (xen.cfg), misc/xen-command-line.html (iommu)",
        program=r"/xen[^/]*\.efi$",
        efi=("xen",),
        by_hand="the IOMMU is Xen's: its own iommu= goes into options= of EFI/xen/xen.cfg, and no parameter of Linux "
        "reaches it",
        by_hand_plain="the IOMMU is Xen's: its own iommu= goes into options= of EFI/xen/xen.cfg",
        efi_only=True,
    ),
)

BY_NAME = {loader.name: loader for loader in LOADERS}
EFI_STUB = "the firmware itself"
