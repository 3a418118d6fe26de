/* SPDX-License-Identifier: Apache-2.0 */
/* Ways out of a tree, one by its name: ends with 0 where it got out, else 1. `hint` is what the test tells of the host. */
#define _GNU_SOURCE
#include <dirent.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/ptrace.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

static const char *hint;

static int opens(const char *path, int flags)
{
    int at = open(path, flags | O_NONBLOCK);
    if (at >= 0) close(at);
    return at >= 0;
}

static int double_chroot(void)
{
    int at = open("/", O_RDONLY | O_DIRECTORY), step;
    mkdir("/x", 0755);
    if (chroot("/x") || fchdir(at)) return 0;
    for (step = 0; step < 64; step++)
        if (chdir("..")) return 0;
    return chroot(".") == 0 && access(hint, F_OK) == 0;
}

static int core_pattern(void) { return opens("/proc/sys/kernel/core_pattern", O_WRONLY); }
static int sysrq(void) { return opens("/proc/sysrq-trigger", O_WRONLY); }

static int by_handle(void)
{
    /* hint: the handle in hexadecimal, its type first */
    struct { struct file_handle head; unsigned char bytes[128]; } handle;
    int at = open("/", O_RDONLY | O_DIRECTORY), step, type;
    unsigned value;
    if (sscanf(hint, "%d:", &type) != 1) return 0;
    const char *text = strchr(hint, ':') + 1;
    handle.head.handle_type = type;
    handle.head.handle_bytes = strlen(text) / 2;
    for (step = 0; sscanf(text + 2 * step, "%2x", &value) == 1; step++) handle.head.f_handle[step] = value;
    return open_by_handle_at(at, &handle.head, O_RDONLY) >= 0;
}

static int makes_block_node(void)
{
    unsigned major, minor;
    sscanf(hint, "%u:%u", &major, &minor);
    if (mknod("/node", S_IFBLK | 0600, makedev(major, minor))) return 0;
    return 1;
}

static int types_on_terminal(void)
{
    int at = open("/dev/tty", O_RDWR);
    if (at < 0) at = 0;
    return ioctl(at, TIOCSTI, "\n") == 0 || ioctl(1, TIOCSTI, "\n") == 0;
}

static int inherited(void)
{
    int at;
    for (at = 3; at < 1024; at++)
        if (fcntl(at, F_GETFD) >= 0) return 1;
    return 0;
}

static int root_of_others(void)
{
    char path[4096];
    int process;
    for (process = 1; process < 100; process++) {
        snprintf(path, sizeof path, "/proc/%d/root%s", process, hint);
        if (access(path, F_OK) == 0) return 1;
        snprintf(path, sizeof path, "/proc/%d/cwd/..%s", process, hint);
        if (access(path, F_OK) == 0) return 1;
    }
    return 0;
}

static int makes_node(void) { return mknod("/memory", S_IFCHR | 0600, makedev(1, 1)) == 0; }
static int mounts(void) { return mount("none", "/boot", "tmpfs", 0, "") == 0 || umount2("/proc", MNT_DETACH) == 0; }
static int remounts(void)
{
    return mount(NULL, "/proc/sys", NULL, MS_REMOUNT | MS_BIND, NULL) == 0 || umount2("/proc/sys", MNT_DETACH) == 0;
}
static int traces(void) { return ptrace(PTRACE_ATTACH, atoi(hint), 0, 0) == 0 || ptrace(PTRACE_ATTACH, getppid(), 0, 0) == 0; }
static int kills(void) { return kill(atoi(hint), 0) == 0 || (getppid() && kill(getppid(), 0) == 0); }

static int abstract_socket(void)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    int at = socket(AF_UNIX, SOCK_STREAM, 0);
    strncpy(address.sun_path + 1, hint, sizeof address.sun_path - 2);
    return connect(at, (struct sockaddr *)&address, offsetof(struct sockaddr_un, sun_path) + 1 + strlen(hint)) == 0;
}

static int gains_rights(void)
{
    int capability;
    for (capability = 0; capability < 64; capability++)
        if (prctl(PR_CAPBSET_READ, capability, 0, 0, 0) == 1 && !(capability < 5 && capability != 2)) return 1;
    return prctl(PR_GET_NO_NEW_PRIVS, 0, 0, 0, 0) != 1;
}

static int daemon_stays(void)
{
    if (fork() == 0) {
        setsid();
        if (fork() == 0) {
            prctl(PR_SET_NAME, hint);
            sleep(60);
        }
        _exit(0);
    }
    return 0;
}

static int bombs(void)
{
    int count;
    for (count = 0; count < 200; count++)
        if (fork() == 0) {
            setsid();
            prctl(PR_SET_NAME, hint);
            sleep(60);
            _exit(0);
        }
    return 0;
}

static int multiplies(void)
{
    int count = 0;
    while (count < 4000) {
        int child = fork();
        if (child < 0) return 0;
        if (child == 0) pause(), _exit(0);
        count++;
    }
    return 1;
}

static int fills(void)
{
    static char block[1 << 20];
    const char *places[] = {"/tmp/fill", "/run/fill", "/dev/fill", "/sys/fill"};
    long total = 0;
    for (int place = 0; place < 4; place++) {
        int at = open(places[place], O_WRONLY | O_CREAT, 0600);
        while (at >= 0 && total < 512 && write(at, block, sizeof block) > 0) total++;
        if (at >= 0) close(at), unlink(places[place]);
    }
    return total > 160;
}

static int writes_device(void) { return opens(hint, O_WRONLY) || opens(hint, O_RDWR) || !opens(hint, O_RDONLY); }
static int sees_sysfs(void) { return access("/sys/kernel", F_OK) == 0 || access("/sys/class", F_OK) == 0; }

static const struct { const char *name; int (*way)(void); } ways[] = {
    {"double-chroot", double_chroot}, {"core-pattern", core_pattern}, {"sysrq", sysrq}, {"by-handle", by_handle},
    {"block-node", makes_block_node}, {"terminal", types_on_terminal}, {"inherited", inherited},
    {"proc-root", root_of_others}, {"mknod", makes_node}, {"mount", mounts},
    {"remount", remounts}, {"ptrace", traces}, {"kill", kills}, {"abstract", abstract_socket},
    {"rights", gains_rights}, {"daemon", daemon_stays}, {"bomb", bombs}, {"multiply", multiplies}, {"fill", fills}, {"device", writes_device},
    {"sysfs", sees_sysfs},
};

int main(int count, char **arguments)
{
    hint = count > 2 ? arguments[2] : "";
    for (size_t at = 0; at < sizeof ways / sizeof *ways; at++)
        if (strcmp(arguments[1], ways[at].name) == 0) {
            puts(ways[at].way() ? "escaped" : "held");
            return 0;
        }
    return 2;
}
