/* SPDX-License-Identifier: Apache-2.0 */
/* See boot.h. Sources: the kernel's ramfs-rootfs-initramfs.rst, overlayfs.rst, switch_root(8) of util-linux. */
#include "guest/boot.h"

#include <arpa/inet.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/reboot.h>
#include <net/if.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mount.h>
#include <sys/reboot.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <sys/syscall.h>
#include <sys/sysmacros.h>
#include <sys/wait.h>

#include "core/base/clock.h"
#include "core/base/fd.h"
#include "core/base/log.h"
#include "core/base/str.h"
#include "guest/cgroup.h"
#include "guest/workspace.h"

#define BALLAST "/disk/ballast"
#define BALLAST_SIZE (8u << 20)
#define AGENT_UID 1000
#define AGENT_GID 1000
#define DISK_WAIT_MS 5000
#define CHECK_OK 3 /* e2fsck(8): 1 and 2 are "errors corrected" */
#define SELF "/run/bulkhead/agent" /* this program, for those who call it poweroff */

static char disk_name[32];

const char *boot_disk_name(void)
{
	return disk_name;
}

static _Noreturn void give_up(const char *what)
{
	log_error("%s: %s; powering off", what, strerror(errno));
	sync();
	reboot(RB_POWER_OFF);
	for (;;)
		pause();
}

static void must_mount(const char *src, const char *dst, const char *type, unsigned long flags, const char *data)
{
	mkdir(dst, 0755);
	if (mount(src, dst, type, flags, data) < 0) {
		log_error("cannot mount %s (%s) on %s", src, type ? type : "-", dst);
		give_up("boot");
	}
}

static bool try_mount(const char *src, const char *dst, const char *type, unsigned long flags, const char *data)
{
	mkdir(dst, 0755);
	if (mount(src, dst, type, flags, data) == 0 || errno == EBUSY)
		return true;
	log_warn("cannot mount %s on %s: %s", type, dst, strerror(errno));
	return false;
}

static void write_file(const char *path, const char *text)
{
	AUTO_FD fd = open(path, O_WRONLY | O_CLOEXEC);

	if (fd < 0 || write(fd, text, strlen(text)) < 0)
		log_debug("cannot write %s: %s", path, strerror(errno));
}

/* ---- modules -------------------------------------------------------------------------------------------------------------- */

static void load_module(const char *path)
{
	AUTO_FD fd = open(path, O_RDONLY | O_CLOEXEC);

	if (fd < 0 || (syscall(SYS_finit_module, fd, "", 0) < 0 && errno != EEXIST))
		log_warn("cannot load module %s: %s", path, strerror(errno));
	unlink(path);
}

static void load_modules(void)
{
	char line[256];
	FILE *f = fopen("/modules.list", "re");

	if (!f)
		return;
	while (fgets(line, sizeof(line), f)) {
		line[strcspn(line, "\n")] = '\0';
		if (line[0] == '/')
			load_module(line);
	}
	fclose(f);
	unlink("/modules.list");
}

/* ---- disks ------------------------------------------------------------------------------------------------------------------- */

/* The block device with this virtio serial: its name into dst. */
static bool find_disk(const char *serial, char *dst, size_t cap)
{
	DIR *d = opendir("/sys/block");
	bool found = false;

	for (struct dirent *de; d && !found && (de = readdir(d));) {
		AUTO_FREE char *path = str_fmt("/sys/block/%s/serial", de->d_name);
		char text[64] = "";
		AUTO_FD fd = path ? open(path, O_RDONLY | O_CLOEXEC) : -1;

		if (fd < 0 || read(fd, text, sizeof(text) - 1) <= 0)
			continue;
		text[strcspn(text, "\n")] = '\0';
		if (strcmp(text, serial) == 0)
			found = str_copy(dst, cap, de->d_name);
	}
	if (d)
		closedir(d);
	return found;
}

static void wait_for_disk(const char *serial, char *dst, size_t cap)
{
	for (const uint64_t end = clock_ms() + DISK_WAIT_MS; !find_disk(serial, dst, cap);) {
		if (clock_ms() > end) {
			errno = ENODEV;
			log_error("no disk with serial %s", serial);
			give_up("boot");
		}
		usleep(2000);
	}
}

enum content { CONTENT_BLANK, CONTENT_EXT4, CONTENT_OTHER };

static enum content disk_content(const char *dev)
{
	static uint8_t head[65536];
	AUTO_FD fd = open(dev, O_RDONLY | O_CLOEXEC);

	if (fd < 0 || fd_read_full(fd, head, sizeof(head)) < 0)
		give_up("cannot read the sandbox's disk");
	if (head[0x438] == 0x53 && head[0x439] == 0xEF)
		return CONTENT_EXT4;
	for (size_t i = 0; i < sizeof(head); i++)
		if (head[i])
			return CONTENT_OTHER;
	return CONTENT_BLANK;
}

/* Runs a program of the base image on the disk; its exit status, -1 when it could not run. */
static int run_in_base(char *const argv[])
{
	int status;
	const pid_t pid = fork();

	if (pid == 0) {
		char *const envp[] = { (char *)"PATH=/usr/sbin:/usr/bin", NULL };

		if (chroot("/base") < 0 || chdir("/") < 0)
			_exit(127);
		execve(argv[0], argv, envp);
		_exit(127);
	}
	while (pid > 0 && waitpid(pid, &status, 0) < 0)
		if (errno != EINTR)
			return -1;
	return pid > 0 && WIFEXITED(status) ? WEXITSTATUS(status) : -1;
}

static void format_disk(char *dev)
{
	char *const argv[] = { (char *)"/usr/sbin/mkfs.ext4", (char *)"-q", (char *)"-F", (char *)"-m", (char *)"0", (char *)"-L", (char *)"bulkhead",
			       (char *)"-E", (char *)"lazy_itable_init=1,lazy_journal_init=1,nodiscard", (char *)"-J", (char *)"size=64", dev, NULL };

	if (run_in_base(argv) != 0) {
		errno = EIO;
		give_up("cannot format the sandbox's disk");
	}
}

static void mount_disk(char *dev)
{
	char *const gently[] = { (char *)"/usr/sbin/e2fsck", (char *)"-p", dev, NULL };
	char *const firmly[] = { (char *)"/usr/sbin/e2fsck", (char *)"-fy", dev, NULL };

	mkdir("/disk", 0755);
	if (mount(dev, "/disk", "ext4", MS_NOATIME, "discard") == 0)
		return;
	log_warn("the sandbox's disk does not mount (%s): checking it", strerror(errno));
	int r = run_in_base(gently);
	if (r < 0 || r > CHECK_OK) {
		/* What -p does not dare (a bad superblock): files may be lost, but without it all of them are. */
		log_warn("the sandbox's disk needs more than that: repairing what can be repaired");
		r = run_in_base(firmly);
	}
	errno = EUCLEAN;
	if (r < 0 || r > CHECK_OK || mount(dev, "/disk", "ext4", MS_NOATIME, "discard") < 0)
		give_up("the sandbox's disk is damaged; reset the sandbox to get a clean one");
}

static uint64_t disk_free(void)
{
	struct statvfs v;

	return statvfs("/disk", &v) == 0 ? (uint64_t)v.f_bavail * v.f_frsize : 0;
}

/* An overlay needs room for its work directory, else it is read-only and nobody can make room: this much is kept for a boot on a full disk. */
static void give_ballast(void)
{
	if (disk_free() < BALLAST_SIZE)
		unlink(BALLAST);
}

static void take_ballast(void)
{
	if (access(BALLAST, F_OK) == 0 || disk_free() < 8u * BALLAST_SIZE)
		return;
	AUTO_FD fd = open(BALLAST, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
	if (fd < 0 || fallocate(fd, 0, 0, BALLAST_SIZE) < 0)
		unlink(BALLAST);
}

static void make_root(void)
{
	char base[32];
	char dev[64];

	wait_for_disk("bulkhead-base", base, sizeof(base));
	wait_for_disk("bulkhead-disk", disk_name, sizeof(disk_name));
	snprintf(dev, sizeof(dev), "/dev/%s", base);
	mkdir("/base", 0755);
	if (mount(dev, "/base", "erofs", MS_RDONLY, NULL) < 0 && mount(dev, "/base", "squashfs", MS_RDONLY, NULL) < 0)
		give_up("cannot mount the base image");
	must_mount("/dev", "/base/dev", NULL, MS_BIND, NULL);
	snprintf(dev, sizeof(dev), "/dev/%s", disk_name);
	switch (disk_content(dev)) {
	case CONTENT_BLANK:
		format_disk(dev);
		break;
	case CONTENT_OTHER:
		errno = EINVAL;
		give_up("the sandbox's disk holds something else than its file system; reset the sandbox to get a clean one");
	default:
		break;
	}
	mount_disk(dev);
	umount2("/base/dev", MNT_DETACH);
	give_ballast();
	mkdir("/disk/upper", 0755);
	mkdir("/disk/work", 0755);
	mkdir("/disk/docker", 0710);
	mkdir("/disk/layers", 0700);
	must_mount("overlay", "/root", "overlay", 0, "lowerdir=/base,upperdir=/disk/upper,workdir=/disk/work");
	take_ballast();
	mkdir("/root/var/lib/docker", 0710);
	must_mount("/disk/docker", "/root" BOOT_DISK_PATH, NULL, MS_BIND, NULL);
}

/* ---- the switch ------------------------------------------------------------------------------------------------------------------- */

/* This program into the new root's /run, so that poweroff and its kin can be it; the initramfs's own copy gives its memory back. */
static void keep_self(void)
{
	AUTO_FD from = open("/init", O_RDONLY | O_CLOEXEC);
	struct stat st;

	mkdir("/root/run/bulkhead", 0755);
	AUTO_FD to = open("/root" SELF, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0755);
	if (from < 0 || to < 0 || fstat(from, &st) < 0) {
		log_warn("cannot keep the agent's program: %s", strerror(errno));
		return;
	}
	for (off_t left = st.st_size; left > 0;) {
		const ssize_t n = syscall(SYS_copy_file_range, from, NULL, to, NULL, (size_t)left, 0);
		char buf[65536];
		const ssize_t r = n > 0 ? 0 : read(from, buf, sizeof(buf));

		if (n <= 0 && (r <= 0 || fd_write_full(to, buf, (size_t)r) < 0))
			break;
		left -= n > 0 ? n : r;
	}
	unlink("/init");
}

void boot_root(void)
{
	static const char *const moved[] = { "/proc", "/sys", "/dev" };

	must_mount("proc", "/proc", "proc", MS_NOSUID | MS_NODEV | MS_NOEXEC, NULL);
	must_mount("sysfs", "/sys", "sysfs", MS_NOSUID | MS_NODEV | MS_NOEXEC, NULL);
	try_mount("devtmpfs", "/dev", "devtmpfs", MS_NOSUID, "mode=0755");
	load_modules();
	mkdir("/root", 0755);
	make_root();
	must_mount("tmpfs", "/root/run", "tmpfs", MS_NOSUID | MS_NODEV, "mode=0755");
	must_mount("tmpfs", "/root/tmp", "tmpfs", MS_NOSUID | MS_NODEV, "mode=1777,size=50%");
	keep_self();
	must_mount("/disk/layers", "/root" WORKSPACE_LAYERS, NULL, MS_BIND, NULL);
	for (size_t i = 0; i < ARRAY_SIZE(moved); i++) {
		AUTO_FREE char *to = str_fmt("/root%s", moved[i]);

		if (!to || mount(moved[i], to, NULL, MS_MOVE, NULL) < 0)
			give_up("cannot move a mount into the new root");
	}
	if (chdir("/root") < 0 || mount(".", "/", NULL, MS_MOVE, NULL) < 0 || chroot(".") < 0 || chdir("/") < 0)
		give_up("cannot switch to the new root");
}

/* ---- a system ----------------------------------------------------------------------------------------------------------------------- */

static void cgroups(void)
{
	if (!try_mount("cgroup2", "/sys/fs/cgroup", "cgroup2", MS_NOSUID | MS_NODEV | MS_NOEXEC, "nsdelegate"))
		return;
	write_file("/sys/fs/cgroup/cgroup.subtree_control", "+cpu +cpuset +io +memory +pids");
}

static void loopback_up(void)
{
	struct ifreq r = { .ifr_name = "lo" };
	AUTO_FD s = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);

	if (s < 0 || ioctl(s, SIOCGIFFLAGS, &r) < 0) {
		log_warn("no loopback: %s", strerror(errno));
		return;
	}
	r.ifr_flags = (short)(r.ifr_flags | IFF_UP);
	if (ioctl(s, SIOCSIFFLAGS, &r) < 0)
		log_warn("cannot bring up loopback: %s", strerror(errno));
}

static void own_names(void)
{
	static const char *const names[] = { "poweroff", "halt", "reboot", "shutdown" };

	for (size_t i = 0; i < ARRAY_SIZE(names); i++) {
		AUTO_FREE char *path = str_fmt("/usr/sbin/%s", names[i]);

		if (path && access(path, F_OK) < 0 && symlink(SELF, path) < 0)
			log_warn("cannot make %s: %s", path, strerror(errno));
	}
}

/*
 * An emulated machine boots with one CPU (maxcpus=1): QEMU 7.2's TCG now and then lets another one run into a half patched instruction while
 * the booting kernel patches itself. The others come now.
 */
static void bring_up_cpus(void)
{
	char path[64];

	for (unsigned i = 1; i < 16; i++) {
		snprintf(path, sizeof(path), "/sys/devices/system/cpu/cpu%u/online", i);
		AUTO_FD fd = open(path, O_WRONLY | O_CLOEXEC);
		if (fd >= 0 && write(fd, "1", 1) != 1)
			log_warn("CPU %u does not come up: %s", i, strerror(errno));
	}
}

void boot_system(void)
{
	static const struct { const char *path, *text; } settings[] = {
		{ "/proc/sys/fs/inotify/max_user_watches", "1048576" },
		{ "/proc/sys/fs/inotify/max_user_instances", "1024" },
		{ "/proc/sys/fs/file-max", "1048576" },
		{ "/proc/sys/vm/max_map_count", "1048576" },
		{ "/proc/sys/kernel/panic_on_oops", "1" },
		{ "/proc/sys/net/ipv4/ping_group_range", "0 2147483647" },
		{ "/proc/sys/net/ipv4/ip_unprivileged_port_start", "80" },
		{ "/proc/sys/net/ipv4/ip_forward", "1" },
		{ "/proc/sys/net/ipv6/conf/all/forwarding", "1" },
	};

	try_mount("devpts", "/dev/pts", "devpts", MS_NOSUID | MS_NOEXEC, "mode=0620,gid=5,ptmxmode=0666");
	try_mount("tmpfs", "/dev/shm", "tmpfs", MS_NOSUID | MS_NODEV, "mode=1777");
	try_mount("mqueue", "/dev/mqueue", "mqueue", MS_NOSUID | MS_NODEV | MS_NOEXEC, NULL);
	mkdir("/run/lock", 01777);
	chmod("/run/lock", 01777);
	mkdir("/run/user", 0755);
	mkdir("/run/user/1000", 0700);
	if (chown("/run/user/1000", AGENT_UID, AGENT_GID) < 0)
		log_warn("cannot give /run/user/1000 away: %s", strerror(errno));
	unlink("/dev/ptmx");
	if (symlink("pts/ptmx", "/dev/ptmx") < 0 || symlink("/proc/self/fd", "/dev/fd") < 0 || symlink("fd/0", "/dev/stdin") < 0 ||
	    symlink("fd/1", "/dev/stdout") < 0 || symlink("fd/2", "/dev/stderr") < 0)
		log_debug("links of /dev: %s", strerror(errno));
	cgroups();
	cgroup_init();
	for (size_t i = 0; i < ARRAY_SIZE(settings); i++)
		write_file(settings[i].path, settings[i].text);
	bring_up_cpus();
	loopback_up();
	own_names();
	boot_hostname("sandbox");
}

void boot_hostname(const char *name)
{
	AUTO_FREE char *hosts = str_fmt("127.0.0.1\tlocalhost\n127.0.1.1\t%s\n::1\tlocalhost ip6-localhost ip6-loopback\n", name);
	AUTO_FREE char *line = str_fmt("%s\n", name);

	if (sethostname(name, strlen(name)) < 0)
		log_warn("cannot set the host name: %s", strerror(errno));
	AUTO_FD h = open("/etc/hosts", O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0644);
	AUTO_FD n = open("/etc/hostname", O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0644);
	if (!hosts || !line || h < 0 || n < 0 || fd_write_full(h, hosts, strlen(hosts)) < 0 || fd_write_full(n, line, strlen(line)) < 0)
		log_warn("cannot write the host name's files: %s", strerror(errno));
}

void boot_workspace(const char *path)
{
	AUTO_FREE char *p = path[0] == '/' ? str_dup(path) : NULL;

	if (!p || strcmp(p, "/") == 0 || access(p, F_OK) == 0)
		return;
	for (char *at = p + 1; *at; at++)
		if (*at == '/') {
			*at = '\0';
			mkdir(p, 0755);
			*at = '/';
		}
	if (mkdir(p, 0755) < 0 || chown(p, AGENT_UID, AGENT_GID) < 0)
		log_warn("cannot make the workspace's directory '%s': %s", path, strerror(errno));
}
