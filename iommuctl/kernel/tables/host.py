# SPDX-License-Identifier: Apache-2.0
"""Parameters that hypervisor hosts set next to those of the IOMMU: memory, processors, graphics. Rows only."""

from iommuctl.kernel.parameters import Availability, Definition, Grammar, Kind, Manages, Token
from iommuctl.kernel.tables.spans import arm64, x86

_ORDER = "read from left to right: each hugepages= counts pages of the hugepagesz= before it"


def _both(span: str) -> tuple[Availability, ...]:
    return (x86(span), arm64(span))


PARAMETERS = (
    Definition(
        "hugepages",
        Kind.SETUP,
        Grammar.ACCUMULATING,
        Manages.NOTHING,
        summary="set so many huge pages aside, for guests or DPDK: a number, or NODE:NUMBER with commas between",
        source="mm/hugetlb.c:4328 at 7.1.5",
        available=_both("5.10 mm/hugetlb.c:3318 at 5.10.223"),
        effect="the host cannot use that memory otherwise; a page of 1 GiB saves entries of the IOMMU's cache",
        notes=(_ORDER,),
    ),
    Definition(
        "hugepagesz",
        Kind.SETUP,
        Grammar.ACCUMULATING,
        Manages.NOTHING,
        summary="the size that the next hugepages= is about: 2M or 1G on x86",
        source="mm/hugetlb.c:4384 at 7.1.5",
        available=_both("5.10 mm/hugetlb.c:3369 at 5.10.223"),
        notes=(_ORDER,),
    ),
    Definition(
        "default_hugepagesz",
        Kind.SETUP,
        Grammar.SCALAR,
        Manages.NOTHING,
        summary="the size of huge pages that programs get which name none",
        source="mm/hugetlb.c:4442 at 7.1.5",
        available=_both("5.10 mm/hugetlb.c:3413 at 5.10.223"),
    ),
    Definition(
        "transparent_hugepage",
        Kind.SETUP,
        Grammar.SCALAR,
        Manages.NOTHING,
        summary="huge pages by themselves: always, madvise or never",
        source="mm/huge_memory.c:1049 at 7.1.5",
        available=_both("5.10 mm/huge_memory.c:477 at 5.10.223"),
    ),
    Definition(
        "isolcpus",
        Kind.SETUP,
        Grammar.SCALAR,
        Manages.NOTHING,
        summary="keep these processors free of the scheduler's work, for guests or DPDK: flags and a list such as 2-15",
        source="kernel/sched/isolation.c:367 at 7.1.5",
        available=_both("5.10 kernel/sched/isolation.c:200 at 5.10.223"),
    ),
    Definition(
        "nohz_full",
        Kind.SETUP,
        Grammar.SCALAR,
        Manages.NOTHING,
        summary="no timer interrupts on these processors while one task runs there",
        source="kernel/sched/isolation.c:312 at 7.1.5",
        available=_both("5.10 kernel/sched/isolation.c:148 at 5.10.223"),
    ),
    Definition(
        "rcu_nocbs",
        Kind.SETUP,
        Grammar.SCALAR,
        Manages.NOTHING,
        summary="no callbacks of RCU on these processors",
        source="kernel/rcu/tree_nocb.h:71 at 7.1.5",
        available=_both("5.10 kernel/rcu/tree_plugin.h:1484 at 5.10.223"),
    ),
    Definition(
        "irqaffinity",
        Kind.SETUP,
        Grammar.SCALAR,
        Manages.NOTHING,
        summary="processors that take interrupts by default",
        source="kernel/irq/irqdesc.c:39 at 7.1.5",
        available=_both("5.10 kernel/irq/irqdesc.c:39 at 5.10.223"),
    ),
    Definition(
        "video",
        Kind.SETUP,
        Grammar.ACCUMULATING,
        Manages.NOTHING,
        summary="mode of a display, or DRIVER:off: video=efifb:off keeps the firmware's framebuffer off the boot GPU",
        source="drivers/video/cmdline.c:135, drivers/video/fbdev/core/fb_cmdline.c:48 at 7.1.5",
        available=_both("5.10 drivers/video/fbdev/core/fb_cmdline.c:107 at 5.10.223"),
        effect="no console on that GPU until its driver is loaded",
        notes=(
            "one driver for each video=: of video=efifb:off,simplefb:off the kernel reads efifb:off alone",
            "simpledrm reads no DRIVER:off: initcall_blacklist=sysfb_init stops every framebuffer of the firmware",
        ),
        tokens=(
            Token(
                "efifb:off",
                (
                    "the driver efifb leaves the framebuffer of the firmware alone "
                    "(drivers/video/fbdev/efifb.c:377 at 7.1.5)"
                ),
                foreign=True,
            ),
            Token(
                "simplefb:off",
                (
                    "the driver simplefb leaves the framebuffer of the firmware alone "
                    "(drivers/video/fbdev/simplefb.c:540 at 7.1.5)"
                ),
                foreign=True,
            ),
            Token(
                "vesafb:off",
                (
                    "read, and without effect: the driver vesafb does not look at the answer "
                    "(drivers/video/fbdev/vesafb.c:269 at 7.1.5)"
                ),
                foreign=True,
                available=(x86("5.10 drivers/video/fbdev/vesafb.c:254 at 6.1.192, the same at 5.10"),),
            ),
        ),
    ),
    Definition(
        "initcall_blacklist",
        Kind.SETUP,
        Grammar.OPTION_LIST,
        Manages.NOTHING,
        summary="functions that the kernel does not call as it starts",
        source="init/main.c:1317 at 7.1.5",
        available=_both("5.10 init/main.c:1137 at 5.10.223"),
        notes=("needs CONFIG_KALLSYMS; a function of another name is passed over without a message",),
        tokens=(
            Token(
                "sysfb_init",
                (
                    "no framebuffer of the firmware takes the boot GPU, so vfio-pci can, and there is no console on it "
                    "(drivers/firmware/sysfb.c:225 at 7.1.5)"
                ),
                exact=True,
                foreign=True,
                available=(
                    x86("5.10 arch/x86/kernel/sysfb.c sysfb_init at 5.10.13"),
                    arm64("5.10/6.1 drivers/firmware/sysfb.c:131 at 6.1.192"),
                ),
            ),
        ),
    ),
    Definition(
        "nomodeset",
        Kind.SETUP,
        Grammar.FLAG,
        Manages.NOTHING,
        summary="no graphics driver of the kernel sets modes",
        source="drivers/video/nomodeset.c:26 at 7.1.5",
        available=(
            x86("5.10 drivers/video/console/vgacon.c:124 at 5.10.223"),
            arm64("5.10/6.1 drivers/gpu/drm/drm_nomodeset.c:24 at 6.1.192, no VGA_CONSOLE at 5.10.223"),
        ),
    ),
)
