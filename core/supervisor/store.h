/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The state directory: sandboxes/NAME/{sandbox.json, disk.img, console.log, vmm.log, term.log, rec/, snapshot/ (snapshot.h)}.
 *
 * sandbox.json is replaced atomically and fsynced; a disk is made beside (`disk.new`) and renamed, so that at every moment a
 * directory holds a whole disk or none. Order of a reset: intention written -> machine dead -> disk replaced -> intention
 * cleared. Order of a removal: intention written -> children dead -> directory renamed away (".gone-NAME") -> tree deleted.
 * Each step may be repeated, so a crash anywhere is finished by doing it again.
 */
#ifndef BULKHEAD_SUPERVISOR_STORE_H
#define BULKHEAD_SUPERVISOR_STORE_H

#include <stdbool.h>
#include <stdint.h>

#include "core/base/err.h"
#include "core/supervisor/spec.h"

struct store {
	char *path;  /* owned: .../bulkhead/sandboxes */
	int dirfd;
};

/* Creates the directory if need be and deletes what removals left behind. */
int store_init(struct store *st, const char *state_dir, struct err *e);
void store_release(struct store *st);
/* Directory of a new sandbox with its state in it (-EEXIST when there is one), or of an old; a descriptor. */
int store_create(struct store *st, const struct spec *s, struct err *e);
int store_open(struct store *st, const char *name, struct err *e);
int store_save(int dirfd, const struct spec *s, struct err *e);
/* 0; -EBADMSG with a sentence when the file is damaged or missing. */
int store_load(int dirfd, const char *name, struct spec *s, struct err *e);
/* A sparse, zeroed disk in place of whatever is there. -ENOSPC with a sentence when the file system has less than `reserve` free. */
int store_make_disk(int dirfd, uint64_t bytes, uint64_t reserve, struct err *e);
/* Read-write descriptor; made when missing. */
int store_open_disk(int dirfd, uint64_t bytes, uint64_t reserve, struct err *e);
/* -ENOSPC with a sentence when the file system has less than `bytes` free. */
int store_room(int dirfd, uint64_t bytes, struct err *e);
/* Bytes the disk occupies on the host, 0 when there is none. */
uint64_t store_disk_used(int dirfd);
/* Append-only log; rotated to NAME.1 when it is over `cap` bytes. */
int store_open_log(int dirfd, const char *name, uint64_t cap, struct err *e);
int store_remove(struct store *st, const char *name, struct err *e);
/* Calls fn for every sandbox directory with a legal name, sorted. */
int store_each(struct store *st, int (*fn)(void *arg, const char *name), void *arg, struct err *e);

#endif
