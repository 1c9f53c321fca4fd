/* Lets the k-th fsync, fdatasync, pwrite or write to a file fail: KTH_CALL names the calls (letters s and w), KTH_COUNT is k,
 * KTH_ERRNO the error. From the k-th on every such call fails when KTH_STAY is set. Counts only files whose path has KTH_PATH
 * in it. Preloaded by test_failing_writes.py. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/types.h>
#include <unistd.h>

static long calls;

static int fails(int fd, char kind)
{
    const char *kinds = getenv("KTH_CALL"), *count = getenv("KTH_COUNT"), *path = getenv("KTH_PATH");
    char link[64], name[4096];
    ssize_t length;
    if (!kinds || !count || !path || !strchr(kinds, kind))
        return 0;
    snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
    length = readlink(link, name, sizeof name - 1);
    if (length < 0)
        return 0;
    name[length] = 0;
    if (!strstr(name, path))
        return 0;
    calls++;
    if (calls == atol(count) || (getenv("KTH_STAY") && calls > atol(count))) {
        errno = atoi(getenv("KTH_ERRNO"));
        return 1;
    }
    return 0;
}

#define REAL(type, name, ...) static type (*real)(__VA_ARGS__); if (!real) *(void **)&real = dlsym(RTLD_NEXT, #name)

int fsync(int fd) { REAL(int, fsync, int); return fails(fd, 's') ? -1 : real(fd); }
int fdatasync(int fd) { REAL(int, fdatasync, int); return fails(fd, 's') ? -1 : real(fd); }
ssize_t write(int fd, const void *b, size_t n) { REAL(ssize_t, write, int, const void *, size_t); return fails(fd, 'w') ? -1 : real(fd, b, n); }
ssize_t pwrite(int fd, const void *b, size_t n, off_t o) { REAL(ssize_t, pwrite, int, const void *, size_t, off_t); return fails(fd, 'w') ? -1 : real(fd, b, n, o); }
ssize_t pwrite64(int fd, const void *b, size_t n, off64_t o) { REAL(ssize_t, pwrite64, int, const void *, size_t, off64_t); return fails(fd, 'w') ? -1 : real(fd, b, n, o); }
