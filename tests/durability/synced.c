/* A disk that keeps what was synced and nothing else, for processes that are started with this library preloaded.
 *
 * Whenever a file was synced, a copy of it as it is then goes to the folder AEGIS_SYNCED. After a kill that folder holds
 * what a power cut would have left at the worst: of each file its state at its last sync. Built and used by
 * tests/tests/scenarios/crash.rs; Linux only. */

#define _GNU_SOURCE
#include <dlfcn.h>
#include <fcntl.h>
#include <limits.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static pthread_mutex_t one_at_a_time = PTHREAD_MUTEX_INITIALIZER;

static void fail(const char *what) {
    perror(what);
    abort();
}

/* Copies the whole file; only a copy that is complete takes its place. */
static void keep(int fd) {
    const char *folder = getenv("AEGIS_SYNCED");
    struct stat about;
    if (folder == NULL || fstat(fd, &about) != 0 || !S_ISREG(about.st_mode)) return;
    char link[64], path[PATH_MAX], unfinished[PATH_MAX], kept[PATH_MAX];
    snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
    ssize_t length = readlink(link, path, sizeof path - 1);
    if (length < 0) fail("readlink");
    path[length] = '\0';
    const char *name = strrchr(path, '/') + 1;
    snprintf(kept, sizeof kept, "%s/%s", folder, name);
    snprintf(unfinished, sizeof unfinished, "%s/%s.unfinished", folder, name);

    pthread_mutex_lock(&one_at_a_time);
    int from = open(path, O_RDONLY | O_CLOEXEC);
    int to = open(unfinished, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    if (from < 0 || to < 0) fail("open");
    char buffer[1 << 16];
    for (ssize_t got; (got = read(from, buffer, sizeof buffer)) != 0;) {
        if (got < 0 || write(to, buffer, got) != got) fail("copy");
    }
    close(from);
    close(to);
    if (rename(unfinished, kept) != 0) fail("rename");
    pthread_mutex_unlock(&one_at_a_time);
}

static int synced(const char *call, int fd) {
    int (*real)(int) = (int (*)(int))dlsym(RTLD_NEXT, call);
    int result = real(fd);
    if (result == 0) keep(fd);
    return result;
}

int fsync(int fd) { return synced("fsync", fd); }
int fdatasync(int fd) { return synced("fdatasync", fd); }
