/* SPDX-License-Identifier: MIT */
/*
 * Is a package of the cache what was fetched?
 *
 * Two questions, since they have two answers. Who can write there: every folder from / down to the
 * cache belongs to root or to us and to nobody else's pen, and so does everything in the package.
 * That keeps others out. Is it whole: the package's file `digests` has the SHA-256 of each of its
 * files, as `sha256sum -c digests` reads it. That finds what a full disk, a power cut or a bad
 * sector left of it; it keeps nobody out, since who can write a file can write its digest.
 *
 *	each use		owners, modes, and that no file is missing or new: all of the package
 *				digests: what boots (QEMU, its libraries and firmware, virtiofsd;
 *				the kernel, ublk_drv and what it depends on)
 *	first use since boot	digests: all of the package
 *
 * Files are read by as many threads as there are processors, four at most.
 */
#include "tools/vm/vm.h"

#include "base/cleanup.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/openat2.h>
#include <nettle/sha2.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#define DIGESTS_NAME  "digests"
#define DIGESTS_MAX   (16u << 20) /* bytes */
#define HEX_LEN       (2 * SHA256_DIGEST_SIZE)
#define DEPTH_MAX     32
#define THREADS_MAX   4
#define READ_BYTES    (1u << 18)
#define LINE_PATH_MIN 3 /* "./x" */

/* One line of the digests; both texts are in package.text. */
struct index_entry {
	const char *path; /* below the package, without "./" */
	const char *hex;
	bool seen, wanted;
};

struct package {
	int dir;
	char *text;                  /* the digests; owned */
	struct index_entry *entries; /* in order of their paths; owned */
	size_t count;
	bool all;                 /* read every file */
	const char *modules_used; /* line of modules.dep about ublk_drv, or NULL */
	atomic_size_t next;       /* entry that no thread has taken */
	pthread_mutex_t lock;     /* of the two below */
	int err;
	struct diag *diag;
};

/* ---- who can write there ---- */

static bool owner_is_good(const struct stat *st)
{
	return st->st_uid == 0 || st->st_uid == geteuid();
}

static int check_step(const char *path, bool is_last, struct diag *diag)
{
	struct stat st;

	if (lstat(path, &st))
		return diag_set(diag, -errno, "vm.cache", "%s: %s", path, strerror(errno));
	if (!S_ISDIR(st.st_mode))
		return diag_set(diag, -ENOTDIR, "vm.cache", "%s is not a folder", path);
	if (!owner_is_good(&st))
		return diag_set(diag, -EPERM, "vm.cache",
				"%s belongs to user %u, not to root or user %u who runs this", path,
				st.st_uid, geteuid());
	/* In a sticky folder others cannot rename what is not theirs. */
	if (st.st_mode & 022 && (is_last || !(st.st_mode & S_ISVTX)))
		return diag_set(diag, -EPERM, "vm.cache", "others can write to %s (mode %04o)",
				path, st.st_mode & 07777);
	return 0;
}

int vm_folder_check(const char *path, struct diag *diag)
{
	char part[PATH_MAX];
	int err = check_step("/", path[1] == 0, diag);

	snprintf(part, sizeof(part), "%s", path);
	for (char *p = part + 1; !err && *p; p++) {
		char *end = strchrnul(p, '/');
		bool is_last = !*end;

		*end = 0;
		err = check_step(part, is_last, diag);
		if (is_last)
			break;
		*end = '/';
		p = end;
	}
	return err;
}

/* ---- the list ---- */

static int by_path(const void *a, const void *b)
{
	return strcmp(((const struct index_entry *)a)->path, ((const struct index_entry *)b)->path);
}

static struct index_entry *find_entry(const struct package *p, const char *path)
{
	const struct index_entry key = { .path = path };

	return p->count ? bsearch(&key, p->entries, p->count, sizeof(key), by_path) : NULL;
}

static int damaged(struct diag *diag, const char *what, const char *path)
{
	return diag_set(diag, -EBADMSG, "vm.damaged", "%s %s", path, what);
}

/* "HEX  ./PATH\n", HEX as sha256sum writes it. */
static int parse_line(char *line, size_t len, struct index_entry *ret_entry)
{
	if (len < HEX_LEN + 2 + LINE_PATH_MIN || strspn(line, "0123456789abcdef") != HEX_LEN ||
	    strncmp(line + HEX_LEN, "  ./", 4))
		return -EINVAL;
	line[HEX_LEN] = 0;
	*ret_entry = (struct index_entry){ .hex = line, .path = line + HEX_LEN + 4 };
	return 0;
}

static int parse_digests(struct package *p, size_t size, struct diag *diag)
{
	size_t lines = 0;

	for (size_t i = 0; i < size; i++)
		lines += p->text[i] == '\n';
	if (!lines || p->text[size - 1] != '\n' || memchr(p->text, 0, size))
		return damaged(diag, "is cut", DIGESTS_NAME);
	p->entries = calloc(lines, sizeof(*p->entries));
	if (!p->entries)
		return diag_set(diag, -ENOMEM, "vm.memory", "no memory for %zu digests", lines);
	for (char *line = p->text; p->count < lines; p->count++) {
		char *end = strchr(line, '\n');

		*end = 0;
		if (parse_line(line, (size_t)(end - line), &p->entries[p->count]))
			return damaged(diag, "is not a list of digests", DIGESTS_NAME);
		line = end + 1;
	}
	qsort(p->entries, p->count, sizeof(*p->entries), by_path);
	return 0;
}

/* A small file of the package, all of it, with a NUL; NULL and errno. From malloc. */
static char *read_small(int dir, const char *name, size_t *ret_size)
{
	_cleanup_close_ int fd = openat(dir, name, O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK);
	_cleanup_free_ char *text = NULL;
	size_t size = 0;
	struct stat st;

	if (fd < 0 || fstat(fd, &st))
		return NULL;
	if (!S_ISREG(st.st_mode) || st.st_size > DIGESTS_MAX) {
		errno = EINVAL;
		return NULL;
	}
	text = malloc((size_t)st.st_size + 1);
	while (text && size < (size_t)st.st_size) {
		ssize_t n = read(fd, text + size, (size_t)st.st_size - size);

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return NULL;
		if (n == 0)
			break;
		size += (size_t)n;
	}
	if (text)
		text[size] = 0;
	*ret_size = size;
	return take_ptr(text);
}

static int read_digests(struct package *p, struct diag *diag)
{
	size_t size = 0;

	p->text = read_small(p->dir, DIGESTS_NAME, &size);
	if (!p->text && errno == ENOENT)
		return -ENOENT;
	if (!p->text)
		return damaged(diag, strerror(errno), DIGESTS_NAME);
	return parse_digests(p, size, diag);
}

/* ---- the folder ---- */

/* Modules are used when COMMAND asks for them; the driver and what it needs always are. */
static bool is_used_module(const struct package *p, const char *path)
{
	const char *inside = strstr(path, "/kernel/"), *word = p->modules_used;
	size_t len;

	if (!inside || !word)
		return false;
	len = strlen(++inside);
	for (; *word && *word != '\n'; word += strspn(word, ": ")) {
		size_t word_len = strcspn(word, ": \n");

		if (word_len == len && memcmp(word, inside, len) == 0)
			return true;
		word += word_len;
	}
	return false;
}

static bool is_wanted(const struct package *p, const char *path)
{
	static const char programs[] = "usr/bin/", modules[] = "lib/modules/";

	if (p->all)
		return true;
	if (!strncmp(path, modules, strlen(modules)))
		return !strstr(path, ".ko") || is_used_module(p, path);
	return strncmp(path, programs, strlen(programs)) != 0 ||
	       strcmp(path + strlen(programs), VM_LOADER) == 0 ||
	       strcmp(path + strlen(programs), "qemu-system-x86_64") == 0;
}

static int check_entry(struct package *p, const char *path, const struct stat *st)
{
	struct index_entry *entry = find_entry(p, path);

	if (!owner_is_good(st))
		return damaged(p->diag, "belongs to another user", path);
	if (!S_ISLNK(st->st_mode) && st->st_mode & 022)
		return damaged(p->diag, "can be written by others", path);
	if (S_ISDIR(st->st_mode) || strcmp(path, DIGESTS_NAME) == 0)
		return 0;
	if (entry) {
		entry->seen = true;
		entry->wanted = is_wanted(p, path);
		return 0;
	}
	/* Links that point at no file have no digest. */
	return S_ISLNK(st->st_mode) ? 0 : damaged(p->diag, "was not fetched", path);
}

static int walk(struct package *p, int parent, const char *name, char path[PATH_MAX], size_t len,
		int depth)
{
	int fd = openat(parent, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC), err = 0;
	DIR *dir = fd < 0 ? NULL : fdopendir(fd);
	struct dirent *e;
	struct stat st;

	if (!dir || depth > DEPTH_MAX) {
		err = damaged(p->diag, dir ? "is too deep" : strerror(errno), len ? path : name);
		if (dir)
			closedir(dir);
		else if (fd >= 0)
			close(fd);
		return err;
	}
	while (!err && (e = readdir(dir))) {
		int more;

		if (!strcmp(e->d_name, ".") || !strcmp(e->d_name, ".."))
			continue;
		more = snprintf(path + len, PATH_MAX - len, "%s%s", len ? "/" : "", e->d_name);
		if ((size_t)more >= PATH_MAX - len)
			err = damaged(p->diag, "has too long a name", e->d_name);
		else if (fstatat(fd, e->d_name, &st, AT_SYMLINK_NOFOLLOW))
			err = damaged(p->diag, strerror(errno), path);
		else
			err = check_entry(p, path, &st);
		if (!err && S_ISDIR(st.st_mode))
			err = walk(p, fd, e->d_name, path, len + (size_t)more, depth + 1);
	}
	closedir(dir);
	return err;
}

/* ---- the content ---- */

/* Links are followed, but not out of the package. */
static int open_inside(int dir, const char *path)
{
	const struct open_how how = { .flags = O_RDONLY | O_CLOEXEC | O_NONBLOCK,
				      .resolve = RESOLVE_BENEATH | RESOLVE_NO_MAGICLINKS };

	return (int)syscall(SYS_openat2, dir, path, &how, sizeof(how));
}

static int hash_file(const struct package *p, const struct index_entry *entry, char *buf,
		     char ret_hex[HEX_LEN + 1])
{
	_cleanup_close_ int fd = open_inside(p->dir, entry->path);
	uint8_t digest[SHA256_DIGEST_SIZE];
	struct sha256_ctx sha;
	struct stat st;
	ssize_t n;

	if (fd < 0 || fstat(fd, &st))
		return -errno;
	if (!S_ISREG(st.st_mode))
		return -EINVAL;
	sha256_init(&sha);
	while ((n = read(fd, buf, READ_BYTES)) != 0) {
		if (n < 0 && errno != EINTR)
			return -errno;
		if (n > 0)
			sha256_update(&sha, (size_t)n, (const uint8_t *)buf);
	}
	sha256_digest(&sha, sizeof(digest), digest);
	for (size_t i = 0; i < sizeof(digest); i++)
		snprintf(ret_hex + 2 * i, 3, "%02x", digest[i]);
	return 0;
}

static void found_damage(struct package *p, const char *what, const char *path)
{
	pthread_mutex_lock(&p->lock);
	if (!p->err)
		p->err = damaged(p->diag, what, path);
	pthread_mutex_unlock(&p->lock);
}

static void *hash_some(void *arg)
{
	struct package *p = arg;
	_cleanup_free_ char *buf = malloc(READ_BYTES);
	char hex[HEX_LEN + 1];
	size_t i;

	if (!buf)
		found_damage(p, "cannot be read: no memory", DIGESTS_NAME);
	while (buf && (i = atomic_fetch_add(&p->next, 1)) < p->count) {
		const struct index_entry *entry = &p->entries[i];
		int err = entry->wanted ? hash_file(p, entry, buf, hex) : 0;

		if (err)
			found_damage(p, strerror(-err), entry->path);
		else if (entry->wanted && strcmp(hex, entry->hex) != 0)
			found_damage(p, "is not what was fetched (its digest differs)",
				     entry->path);
	}
	return NULL;
}

static int hash_wanted(struct package *p)
{
	pthread_t threads[THREADS_MAX - 1];
	long processors = sysconf(_SC_NPROCESSORS_ONLN);
	int count = 0;

	while (count < THREADS_MAX - 1 && count < processors - 1 &&
	       !pthread_create(&threads[count], NULL, hash_some, p))
		count++;
	hash_some(p);
	while (count)
		pthread_join(threads[--count], NULL);
	return p->err;
}

static int check_all(struct package *p, const char *dependencies)
{
	_cleanup_free_ char *text = NULL;
	char path[PATH_MAX] = "";
	size_t size;
	int err;

	if (dependencies)
		text = read_small(p->dir, dependencies, &size);
	p->modules_used = text ? strstr(text, "kernel/drivers/block/ublk_drv.ko:") : NULL;
	err = walk(p, p->dir, ".", path, 0, 0);
	for (size_t i = 0; !err && i < p->count; i++)
		if (!p->entries[i].seen)
			err = damaged(p->diag, "is missing", p->entries[i].path);
	p->modules_used = NULL;
	return err ? err : hash_wanted(p);
}

int vm_package_check(const char *dir, const char *dependencies, bool all, struct diag *diag)
{
	struct package p = { .all = all, .diag = diag, .lock = PTHREAD_MUTEX_INITIALIZER };
	int err;

	p.dir = open(dir, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	if (p.dir < 0)
		return damaged(diag, strerror(errno), dir);
	err = read_digests(&p, diag);
	if (!err)
		err = check_all(&p, dependencies);
	free(p.entries);
	free(p.text);
	close(p.dir);
	return err;
}
