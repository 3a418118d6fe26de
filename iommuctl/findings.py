# SPDX-License-Identifier: Apache-2.0
"""Findings: what an operator should know, and the stable id of each kind of it. Values only."""

from enum import StrEnum
from typing import NewType, Self

from iommuctl.value import NamedTuple


class Severity(StrEnum):
    """How much a finding weighs; an error stops an apply unless its rule is forced."""

    ERROR = "error"
    WARNING = "warning"
    INFO = "info"


class Rule(StrEnum):
    """The stable id of a kind of finding, and its meaning: what is there, or what an operator has to know.

    Scripts read the ids and `--force` takes them: one that was released is neither renamed nor used for something else.
    """

    meaning: str

    def __new__(cls, rule: str, meaning: str) -> Self:
        """Make a member of its id and its meaning."""
        member = str.__new__(cls, rule)
        member._value_ = rule
        member.meaning = meaning
        return member

    # A command line by itself
    BAD_BOOL = "bad-bool", "a truth value that no kernel takes"
    BEHIND_SEPARATOR = "behind-separator", "a parameter behind --"
    CONFLICT = "conflict", "parameters that make no sense together"
    CONTRADICTION = "contradiction", "two values of one variable"
    DEPRECATED = "deprecated", "a spelling that has a successor"
    DUPLICATE = "duplicate", "a parameter that stands twice"
    MIXED_SPELLING = "mixed-spelling", "one parameter written in two spellings"
    MYTH = "myth", "a value that guides recommend and no kernel reads as they say"
    NO_EFFECT = "no-effect", "something that no IOMMU driver acts on"
    NOT_IN_KERNEL = "not-in-kernel", "something the kernel is too old or too new for"
    OPEN_QUOTE = "open-quote", "a quote that is never closed"
    SLOPPY_TOKEN = "sloppy-token", "a token that only begins like a known one"
    TOO_LONG = "too-long", "a line longer than COMMAND_LINE_SIZE"
    UNKNOWN_PARAMETER = "unknown-parameter", "a name that is nearly a known one"
    UNKNOWN_TOKEN = "unknown-token", "a token that the parameter does not have"
    UNPORTABLE_BOOL = "unportable-bool", "a truth value that only newer kernels take"
    UNSAFE = "unsafe", "something that weakens isolation"
    WRONG_PLATFORM = "wrong-platform", "a parameter of another platform"

    # A device that is to go to a guest
    ADDRESS_MOVED = "address-moved", "a chosen device that is not at its address any more, or another one is"
    CHOICE_MALFORMED = "choice-malformed", "a choice of devices that the script in the initramfs does not read"
    BEHIND_PCI_BRIDGE = "behind-pci-bridge", "a device after a PCI bridge, which shares its group with all others there"
    BOUND_ELSEWHERE = "bound-elsewhere", "a file or program that binds devices too, or keeps their drivers off"
    DEVICE_CARRIES_ROOT = "device-carries-root", "a device that carries what the host boots and lives from"
    DEVICE_CARRIES_STORAGE = (
        "device-carries-storage",
        "a device that carries a file system, swap or a disk that is held",
    )
    DEVICE_DENYLISTED = "device-denylisted", "a device that vfio-pci refuses by its model"
    DEVICE_HAS_VFS = "device-has-vfs", "a device with virtual functions, which would go with it"
    DEVICE_IN_GUEST = "device-in-guest", "a device that a guest has now"
    DEVICE_IN_USE = "device-in-use", "a disk or network card of the host that vfio-pci would take"
    DEVICE_IN_USE_NETWORK = "device-in-use-network", "a network card that is up, with an address or as a part"
    DEVICE_IS_BMC = "device-is-bmc", "a part of the management controller"
    DEVICE_IS_BOOT_DISPLAY = "device-is-boot-display", "the only display, or the one that the boot shows on"
    DEVICE_IS_BRIDGE = "device-is-bridge", "a bridge, which no guest can have"
    DEVICE_IS_KEYBOARD = "device-is-keyboard", "the USB controller of the only keyboard"
    DEVICE_IS_PLATFORM = "device-is-platform", "a part of the platform, which no guest can have"
    DEVICE_IS_UPLINK = "device-is-uplink", "a network card by which the host is reached"
    DEVICES_UNCHECKED = "devices-unchecked", "another root, whose devices are not known"
    GPU_FUNCTIONS = "gpu-functions", "a graphics card without its other functions"
    GROUP_MATE_ESSENTIAL = "group-mate-essential", "a member of the same group that has to stay with the host"
    GROUP_MATES = "group-mates", "devices that go to a guest only together with others that the host uses"
    ID_MATCHES_NOTHING = "id-matches-nothing", "an id for vfio-pci that no device has"
    IMAGE_KEEPS_MECHANISM = "image-keeps-mechanism", "images that still hold the script, which does nothing by itself"
    IMAGE_KEPT = "image-kept", "the image from before is kept until the new one has booted"
    IMAGE_WITHOUT_MECHANISM = (
        "image-without-mechanism",
        "no image with the script that binds devices, so the choice is not written",
    )
    IDENTICAL_IDS = "identical-ids", "an id that several devices have, all of which vfio-pci takes"
    NO_IOMMU_GROUP = "no-iommu-group", "a device in no group, or a host without an active IOMMU"
    NO_RESET = "no-reset", "a device that cannot be reset, or only with others that the host uses"
    REBAR = "rebar", "a graphics card whose memory window can be resized"
    RESERVED_DIRECT = "reserved-direct", "a device for which the firmware demands a 1:1 mapping"
    STORAGE_UNRESOLVED = "storage-unresolved", "a disk controller, where the disk of the host cannot be told"
    VBIOS_BOOT_GPU = "vbios-boot-gpu", "a graphics card whose video BIOS the firmware keeps a copy of"

    # A command line where it is used
    GPU_FABRIC = "gpu-fabric", "GPUs that copy to each other, and a mode that their vendor advises against"
    IDS_SHADOW_MODPROBE = "ids-shadow-modprobe", "ids on the line that take the place of those in modprobe.d"
    INTEGRATED_GPU = "integrated-gpu", "an integrated GPU that this kernel leaves out, and that would be translated"
    OTHER_MANAGER = "other-manager", "another program that sets the same parameters"
    PASID_UNDER_PASSTHROUGH = "pasid-under-passthrough", "GPUs that need translation on this kernel"
    SNP_LOST = "snp-lost", "a mode in which the host has no SEV-SNP guests"
    TPM_SEALED = "tpm-sealed", "a key that the TPM keeps back once the command line has changed"
    BOOTCONFIG_TOO_LATE = "bootconfig-too-late", "an early parameter in a boot configuration"
    FIRMWARE_OFF = "firmware-off", "a firmware that shows no IOMMU"
    GUEST = "guest", "a guest that asks for lazy invalidation"
    LINE_IGNORED = "line-ignored", "a kernel that ignores the line"
    VTD_NOT_ENABLED = "vtd-not-enabled", "an IOMMU parameter on Intel where nothing turns VT-d on"
    XEN_HOST = "xen-host", "Xen owns the IOMMU"

    # What a shipped profile comes with, or lets stay
    ACS_WEAKENED = "acs-weakened", "devices may reach each other past the IOMMU"
    AMDGPU_FORCE_ISOLATION = "amdgpu-force-isolation", "a parameter that amdgpu is known to hang with"
    EARLY_DMA_BLACK_SCREEN = "early-dma-black-screen", "a parameter that some GPUs and firmware fail with"
    IGFX_BYPASS = "igfx-bypass", "the integrated GPU bypasses the IOMMU"
    INTERRUPT_REMAPPING_OFF = "interrupt-remapping-off", "interrupt remapping goes with the IOMMU"
    LEGACY_SPELLING = "legacy-spelling", "an older spelling is written too, for a kernel that knows no other"
    NO_DEVICE_ASSIGNMENT = "no-device-assignment", "no device can be given to a guest"
    NO_KERNEL_FOUND = "no-kernel-found", "no kernel in /boot, in module directories or in a boot entry"
    PLATFORM_ASSUMED = "platform-assumed", "nothing in a tree tells its platform"
    PROXMOX_MODULES = "proxmox-modules", "modules for passthrough that Proxmox's guide asks for"
    TBOOT_NOFORCE = "tboot-noforce", "a measured launch no longer forces VT-d on"
    VFIO_CLAIMS_ALL = "vfio-claims-all", "vfio-pci claims every device of an id"

    BOOT_CRITICAL = "boot-critical", "a parameter that says what the host boots from or into"

    # The bootloader, its entries and files
    BLS_BLANK_LINE = "bls-blank-line", "an entry with options after a blank line, which GRUB does not read"
    BLS_OPTIONS_LINES = "bls-options-lines", "an entry with several options lines, of which GRUB reads the first"
    CONDITIONAL_APPEND = "conditional-append", "a line of GRUB's settings that adds something where a condition holds"
    BOOT_CONFIGURATION_UNREAD = "boot-configuration-unread", "the bootloader cannot be told, so only what runs is seen"
    NO_ENTRY_YET = "no-entry-yet", "a tree before its first kernel: its sources are written, and nothing boots yet"
    SOURCES_DISAGREE = "sources-disagree", "one source of the command line has what another lacks"
    DEFAULT_ENTRY_NOT_OURS = "default-entry-not-ours", "the entry that boots by default is one that no profile changes"
    DROP_IN_NOT_READ = (
        "drop-in-not-read",
        "a drop-in of GRUB's settings that grub-mkconfig never reads here",
    )
    ENTRIES_NOT_READ = "entries-not-read", "the menu that boots reads no entries, so what they say has no effect"
    ENTRY_LEFT_ALONE = "entry-left-alone", "an entry or image that is not changed, with the reason"
    ESP_LOADER_UNKNOWN = (
        "esp-loader-unknown",
        "nothing tells which loader reads the ESPs, so both sources change",
    )
    GRUB_CFG_UNREADABLE = "grub-cfg-unreadable", "the generated menu may not be read, so it may be out of date"
    KERNEL_CMDLINE_BLANKS = "kernel-cmdline-blanks", "several blanks inside quotes, of which most readers keep one"
    KERNEL_CMDLINE_COMMENTS = "kernel-cmdline-comments", "comments that some versions of kernel-install hand on"
    KERNEL_CMDLINE_LINES = "kernel-cmdline-lines", "several lines, or a blank first one, which readers take differently"
    LATER_MKCONFIG = "later-mkconfig", "parameters of entries that a grub2-mkconfig which rewrites them drops"
    LOADER_ELSEWHERE = "loader-elsewhere", "the loader that booted is on another partition than what is mounted"
    MENU_UNPROVEN = "menu-unproven", "which menu GRUB starts from cannot be told; the distribution's is taken"
    NEXT_ENTRY_SET = "next-entry-set", "an entry that GRUB boots once at its next start"
    RESCUE_FOLLOWS = "rescue-follows", "rescue or recovery entries share a source that changes"
    SETTINGS_NOT_UNDERSTOOD = "settings-not-understood", "settings whose value cannot be told, so they are not compared"
    UNIFIED_IMAGE_REFUSED = "unified-image-refused", "unified kernel images that cannot be built anew"
    VALUE_FILTERED = "value-filtered", "a value of GRUB's settings that goes through a command"
    VARIABLE_NOT_READ = "variable-not-read", "parameters in a variable that GRUB does not read"
    XEN_ENTRIES = "xen-entries", "entries that start Xen, which are not read back"

    # A change to the host, and the way back
    CHANGED_SINCE_SNAPSHOT = "changed-since-snapshot", "a file was changed since, and going back would lose that"
    ENTRY_VANISHED = "entry-vanished", "an entry has gone since, and is not made again"
    INTERRUPTED_RUN = "interrupted-run", "a run was cut off, and its change is neither complete nor undone"
    STATE_UNREADABLE = "state-unreadable", "the state directory may not be read, so it may hide an interrupted run"
    HISTORY_UNREADABLE = "history-unreadable", "the history may not be read, so the applied profile is not known"
    PROFILE_NOT_COMPARED = "profile-not-compared", "the applied profile has gone or is wrong now"
    PROGRAM_MISSING = "program-missing", "a program that the plan runs is not there"
    PROCESS_LEFT = "process-left", "a program that was run has left something running"
    REGENERATE_PENDING = "regenerate-pending", "a generated file is left as it is, so the change has no effect yet"
    SNAPSHOT_DAMAGED = "snapshot-damaged", "a snapshot that cannot be read"
    SNAPSHOT_NEWER = "snapshot-newer", "a snapshot of a newer version, which is left alone"
    SOURCES_NOT_UNDERSTOOD = "sources-not-understood", "sources put back that are not compared with what is generated"
    TARGET_NOT_WRITABLE = "target-not-writable", "a file of the plan may not be replaced"
    XFS_NOT_FROZEN = "xfs-not-frozen", "after a power cut GRUB may read old files from an XFS until its log is replayed"

    # A trial boot: what has to hold before it is armed, and what it leaves
    TRIAL_ARMED = "trial-armed", "a trial boot that is armed, or not yet over"
    TRIAL_BOOTED = "trial-booted", "what runs has to be what boots by default, for a trial is a copy of it"
    TRIAL_CHECKS = "trial-checks", "a confirmation without anybody needs checks, one of them of reachability"
    TRIAL_DEFAULT = "trial-default", "the entry of a trial must not become what boots by default"
    TRIAL_FILES = "trial-files", "kernel and initramfs of a trial have to be where the loader reads them"
    TRIAL_HELPERS = "trial-helpers", "what a trial has on its line, on a line that stays"
    TRIAL_KEY = "trial-key", "a disk key that is given out for the old command line alone"
    TRIAL_LOADER = "trial-loader", "a loader that cannot boot an entry once, or whose entry cannot be copied"
    TRIAL_NEXT_KERNEL = "trial-next-kernel", "without a file for its line a new kernel would take the trial's"
    TRIAL_ONE_SHOT = "trial-one-shot", "the loader has to clear the choice of one boot by itself"
    TRIAL_PASSPHRASE = "trial-passphrase", "a passphrase that somebody types at each boot"
    TRIAL_SECURE_BOOT = "trial-secure-boot", "with Secure Boot an image takes no other command line"
    TRIAL_TIMER = "trial-timer", "systemd has to run, which ends a trial in time"
    TRIAL_UNPROVEN = "trial-unproven", "a loader with which no trial was booted in the lab"
    TRIAL_WAITS = "trial-waits", "a menu that waits for a key or for a password"
    TRIAL_WATCHDOG = "trial-watchdog", "whether a hardware watchdog ends a hang"


# What no --force lifts: the host would not come up again, or the kernel refuses it whatever is written.
NEVER_FORCED = frozenset(
    (
        Rule.DEVICE_CARRIES_ROOT,
        Rule.DEVICE_DENYLISTED,
        Rule.DEVICE_HAS_VFS,
        Rule.DEVICE_IS_BRIDGE,
        Rule.DEVICE_IS_PLATFORM,
        Rule.IDENTICAL_IDS,
        Rule.RESERVED_DIRECT,
        Rule.STORAGE_UNRESOLVED,
    )
)

# What can stop an apply because of a device, and what a --force lifts.
FORCED_FOR_DEVICES = frozenset(
    (
        Rule.ADDRESS_MOVED,
        Rule.DEVICE_CARRIES_STORAGE,
        Rule.DEVICE_IS_BMC,
        Rule.DEVICE_IS_BOOT_DISPLAY,
        Rule.DEVICE_IS_UPLINK,
        Rule.GPU_FUNCTIONS,
        Rule.GROUP_MATE_ESSENTIAL,
        Rule.GROUP_MATES,
        Rule.ID_MATCHES_NOTHING,
    )
)

# The id of a finding that a profile declares: any, of an administrator's own profile.
DeclaredRule = NewType("DeclaredRule", str)


class Finding(NamedTuple):
    """Something an operator should know. `parameter` is the token as written, `address` that of the device it is of."""

    rule: Rule | DeclaredRule
    severity: Severity
    message: str
    parameter: str | None = None
    hint: str | None = None
    address: str | None = None
