/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Private to core/workspace: the inodes a guest knows, its open handles, and who tells it of changes.
 *
 * A node is a file of the host by (device, inode, birth time), not by name. It remembers the directory and name it was last seen under; its
 * O_PATH descriptor is opened from there when needed, checked to be the same file, kept while there is room, and closed again, least
 * recently used first. Directories above a known node stay known (a child holds its parent).
 */
#ifndef BULKHEAD_WORKSPACE_IMPL_H
#define BULKHEAD_WORKSPACE_IMPL_H

#define FUSE_USE_VERSION 314
#include <fuse_lowlevel.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/stat.h>
#include <sys/types.h>

#include "core/base/buf.h"
#include "core/base/log.h"
#include "core/workspace/share.h"
#include "core/workspace/window.h"

#define ROOT_ID 1u
#define LEVELS_MAX 1024u    /* directories above one another */
#define LINKS_MAX 64u       /* names we remember of one file */
#define HANDLES_MAX 8192u
#define NOTES_MAX 256u      /* of a kind */
#define CACHE_S 300.0       /* attributes and names below a watched directory */
#define CACHE_SHORT_S 1.0   /* without a watch */
#define DIR_BUF 32768u
#define LISTINGS 16u       /* directories being listed at once without a place to start over */
#define READERS 16u        /* files being read without having been opened */

struct key { uint64_t dev, ino; int64_t btime; };

/* Another name of a file with several. */
struct link { struct link *next; struct node *parent; char name[]; };

struct node {
	uint64_t id, lookups; /* the guest's number and how often it was given it */
	uint32_t refs;        /* of children, links and handles */
	uint32_t handles;     /* open ones: its descriptor stays */
	struct key key;
	mode_t type;          /* S_IFMT */
	int fd;               /* O_PATH, -1 closed */
	int wd;               /* inotify's number, -1 not watched */
	struct node *parent;  /* NULL: the root */
	char *name;
	struct link *links;
	struct node *next_id, *next_key, *next_wd;
	struct node *newer, *older; /* among those with a descriptor */
	bool noted;
	bool known;           /* the guest has its contents, as far as we know: sent, read or written */
	/* A directory (ahead.c): */
	uint32_t asked;       /* names found one by one */
	uint32_t sent;        /* names sent ahead, 0 none */
	uint32_t let_go;      /* names of it that the guest has let go of since */
	uint32_t beside;      /* directories in it whose names were asked for one by one */
	uint64_t sent_ms;     /* when they were sent */
};

struct handle {
	uint32_t gen;        /* its number's upper half; 0 free */
	struct node *node;   /* referenced */
	int fd;
	bool dir, writable;
	uint64_t at;         /* dir: cookie of the next entry in buf */
	uint8_t *buf;        /* dir: getdents64's, DIR_BUF */
	size_t len, pos;
};

/* The directories in `dir` are sent ahead, one after the other. */
struct walk { struct node *dir; struct handle h; uint32_t left; }; /* dir NULL: none; else referenced; h has but fd, buf, len and pos */

struct table { struct node **slot; size_t size, count; };

struct share {
	struct fuse_session *se; /* NULL: no connection */
	struct buf *out;
	int root, proc, inotify;
	bool readonly, began, sweeping, ahead;
	const struct hide *hide;
	uid_t uid;
	uint64_t root_dev;
	struct table by_id, by_key, by_wd;
	struct node *root_node, *newest, *oldest;
	size_t fds, max_fds, max_watches;
	uint64_t next_id;
	struct handle *handle;
	uint32_t nhandles, handle_gen, free_handle;
	struct { uint64_t id, fh; } listing[LISTINGS], reader[READERS]; /* handles that the guest does not know of */
	uint32_t next_listing;
	struct walk walk;
	uint32_t notes[SHARE_NOTES];
	void (*note)(void *arg, enum share_note what, const char *path);
	void *arg;
	struct share_stats st;
	struct log_limit complaints;
	uint64_t init_unique;    /* of the INIT that is being answered, 0 none */
	size_t sweep_at;
	struct window window;
	struct buf beside;       /* `out` while there is a window: on its way to the ring there */
	int memory;              /* of the machine, borrowed; -1 none */
	uint8_t sign[FS_LANE_SIGN];
	uint8_t *place;          /* where in the window the contents of the request at hand are, or go to; NULL: in the message */
	uint64_t *request;       /* one request, aligned: CHECK_REQUEST_MAX bytes */
	uint8_t *data;           /* one reply's data: CHECK_DATA_MAX bytes */
};

/* ---- tree.c: nodes. All lookups of names answer -errno --------------------------------------------------------------------------- */
int tree_begin(struct share *s);
void tree_clear(struct share *s);
struct node *node_get(struct share *s, uint64_t id);
struct node *node_by_key(struct share *s, const struct key *k);
/* The child `name` of parent: its node (made when new) and attributes. The caller counts the guest's reference. */
int node_lookup(struct share *s, struct node *parent, const char *name, struct node **out, struct stat *st);
/* Attributes of a name, without a node. -EXDEV: something else is mounted there. */
int name_stat(struct share *s, struct node *parent, const char *name, struct stat *st, struct key *k);
/* Its O_PATH descriptor, borrowed: good until the next call that may open another (two at a time are safe). */
int node_fd(struct share *s, struct node *n);
int node_stat(struct share *s, struct node *n, struct stat *st);
/* It was seen under this name, which is the one to find it by from now on. */
void node_seen(struct share *s, struct node *n, struct node *parent, const char *name, const struct stat *st);
void node_moved(struct share *s, struct node *n, struct node *parent, const char *name);
void node_forget(struct share *s, struct node *n, uint64_t count);
void node_unref(struct share *s, struct node *n);
/* "" for the root; false when it is too long or no longer below the root. */
bool node_path(const struct node *n, const char *name, char *dst, size_t cap);
bool name_hidden(struct share *s, struct node *parent, const char *name);
bool dir_pinned(struct share *s, struct node *n); /* a directory above hidden names: not to be moved */
/* All its names are inside, as far as we know and have just looked: it may be written. */
bool node_ours(struct share *s, struct node *n, const struct stat *st);
void node_note(struct share *s, struct node *n, const char *name, enum share_note what);
/* What the guest is to see. */
void attr_map(const struct share *s, struct stat *st);

/* ---- handle.c -------------------------------------------------------------------------------------------------------------------------- */
/* Takes fd. 0 and its number in *fh, or -EMFILE. */
int handle_open_take(struct share *s, struct node *n, int fd, bool dir, bool writable, uint64_t *fh);
struct handle *handle_get(struct share *s, uint64_t fh, bool dir);
void handle_close(struct share *s, uint64_t fh, bool dir);
void handles_clear(struct share *s);
/*
 * Opening costs the guest two messages, so it is told that nobody need open a directory, nor, where nothing is written, a file (ENOSYS, once): it
 * then names the node alone, and these are the handles of the last such nodes. NULL: *error is set.
 */
struct handle *handle_listing(struct share *s, struct node *n, int *error);
struct handle *handle_reader(struct share *s, struct node *n, int *error);
void handle_listed(struct share *s, const struct node *n);
/* A descriptor of a regular file or directory by its node: never anything else is opened. */
int node_open(struct share *s, struct node *n, int flags);

/* ---- ops_dir.c, ahead.c ---------------------------------------------------------------------------------------------------------------- */
struct dir_entry { /* getdents64's */
	uint64_t ino;
	int64_t off;
	uint16_t len;
	uint8_t type;
	char name[];
};
/* The next entry at cookie h->at: NULL at the end, or *error set. It lives until the next call. */
const struct dir_entry *dir_peek(struct handle *h, int *error);
bool dir_is_dot(const char *name);
/* One entry into a reply: bytes, 0 it does not fit, -ENOENT it is not to be shown. `plus`: its node is counted as given. */
ssize_t dir_put(fuse_req_t req, struct share *s, struct node *dir, const struct dir_entry *d, bool plus, char *dst, size_t room);
/* A name of dir was asked for and found: perhaps the others follow of our own accord. */
void ahead_hint(struct share *s, struct node *dir);
/* A name has come to dir or gone from it, and the answer follows: it tells what dir is now. */
void ahead_after(struct share *s, struct node *dir);
/* dir was just made, and the answer follows: it tells that nothing is in it. */
void ahead_new(struct share *s, struct node *dir);
/* A child of dir is no longer known to the guest. */
void ahead_let_go(struct node *dir);
/* A request has been answered: a few more names of our own accord. */
void ahead_walk(struct share *s);
/* None: something changes, or it is over. */
void ahead_stop(struct share *s);
/* A file is opened to be read, the first time or after a change: its contents go before the answer, if they are small, and nobody else has it open. */
void ahead_contents(struct share *s, struct node *n, int fd);
/* The listing that is about to be answered goes to the directory's end. */
void ahead_end(struct share *s, const struct node *dir, uint64_t off);

/* ---- watch.c --------------------------------------------------------------------------------------------------------------------------- */
int watch_open(struct share *s);
/* The directory is watched from now on; false when it cannot be. */
bool watch_dir(struct share *s, struct node *n);
void watch_drop(struct share *s, struct node *n);
double cache_time(struct share *s, struct node *dir);
/*
 * Around what we change ourselves: what inotify says of these names meanwhile is no news to the guest. A node that is not referenced may be gone after
 * watch_before(): it is got after it.
 */
struct own { struct node *dir[2]; const char *name[2]; struct node *self[3]; };
void watch_before(struct share *s);
void watch_after(struct share *s, const struct own *o);

/* ---- operations ------------------------------------------------------------------------------------------------------------------------ */
void reply_entry(fuse_req_t req, struct share *s, struct node *parent, const char *name);
/* For how long attributes are good. */
double attr_time(struct share *s, struct node *n, const struct stat *st, struct node *parent);
void op_lookup(fuse_req_t req, fuse_ino_t parent, const char *name);
void op_getattr(fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *fi);
void op_setattr(fuse_req_t req, fuse_ino_t ino, struct stat *attr, int set, struct fuse_file_info *fi);
void op_readlink(fuse_req_t req, fuse_ino_t ino);
void op_statfs(fuse_req_t req, fuse_ino_t ino);
void op_getxattr(fuse_req_t req, fuse_ino_t ino, const char *name, size_t size);
void op_listxattr(fuse_req_t req, fuse_ino_t ino, size_t size);
void op_removexattr(fuse_req_t req, fuse_ino_t ino, const char *name);
/* 0 or a positive errno. */
int do_setxattr(struct share *s, uint64_t ino, const char *name, const void *value, size_t size, int flags);
void op_mknod(fuse_req_t req, fuse_ino_t parent, const char *name, mode_t mode, dev_t rdev);
void op_mkdir(fuse_req_t req, fuse_ino_t parent, const char *name, mode_t mode);
void op_symlink(fuse_req_t req, const char *text, fuse_ino_t parent, const char *name);
void op_unlink(fuse_req_t req, fuse_ino_t parent, const char *name);
void op_rmdir(fuse_req_t req, fuse_ino_t parent, const char *name);
void op_rename(fuse_req_t req, fuse_ino_t parent, const char *name, fuse_ino_t newparent, const char *newname, unsigned flags);
void op_link(fuse_req_t req, fuse_ino_t ino, fuse_ino_t newparent, const char *newname);
void op_opendir(fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *fi);
void op_readdir(fuse_req_t req, fuse_ino_t ino, size_t size, off_t off, struct fuse_file_info *fi);
void op_readdirplus(fuse_req_t req, fuse_ino_t ino, size_t size, off_t off, struct fuse_file_info *fi);
void op_fsyncdir(fuse_req_t req, fuse_ino_t ino, int datasync, struct fuse_file_info *fi);
void op_create(fuse_req_t req, fuse_ino_t parent, const char *name, mode_t mode, struct fuse_file_info *fi);
void op_open(fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *fi);
void op_read(fuse_req_t req, fuse_ino_t ino, size_t size, off_t off, struct fuse_file_info *fi);
void op_write(fuse_req_t req, fuse_ino_t ino, const char *buf, size_t size, off_t off, struct fuse_file_info *fi);
void op_release(fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *fi);
void op_fsync(fuse_req_t req, fuse_ino_t ino, int datasync, struct fuse_file_info *fi);
void op_fallocate(fuse_req_t req, fuse_ino_t ino, int mode, off_t off, off_t len, struct fuse_file_info *fi);
void op_lseek(fuse_req_t req, fuse_ino_t ino, off_t off, int whence, struct fuse_file_info *fi);
void op_copy(fuse_req_t req, fuse_ino_t in, off_t off_in, struct fuse_file_info *fi_in, fuse_ino_t out, off_t off_out, struct fuse_file_info *fi_out, size_t len, int flags);

#endif
