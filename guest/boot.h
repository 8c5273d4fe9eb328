/* SPDX-License-Identifier: Apache-2.0 */
/*
 * From the kernel's first process to the sandbox's own root.
 *
 * As /init of the initramfs: /proc, /sys, /dev; the modules of /modules.list; the base image (virtio-blk with serial bulkhead-base,
 * read-only) and the sandbox's disk (bulkhead-disk, ext4, formatted when blank); an overlay of both becomes the root, and this
 * process goes on in it as PID 1. What cannot work is said on the console and the machine is powered off.
 */
#ifndef BULKHEAD_GUEST_BOOT_H
#define BULKHEAD_GUEST_BOOT_H

/* Leaves us in the overlay root with /proc, /sys, /dev, /run, /tmp mounted. Does not return when it cannot. */
void boot_root(void);
/* What a system needs besides: cgroups, sysctls, loopback, our own tools' names. Failures are logged and lived with. */
void boot_system(void);
/* Host name, also in /etc/hosts. */
void boot_hostname(const char *name);
/* The sandbox's workspace directory: made, and given to the agent's user, when it is missing. */
void boot_workspace(const char *path);
/* Where the disk is mounted, for statistics: "/var/lib/docker" lies on it. */
#define BOOT_DISK_PATH "/var/lib/docker"
/* "vdb": for /sys/block; "" when unknown. */
const char *boot_disk_name(void);

#endif
