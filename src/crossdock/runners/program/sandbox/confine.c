#define _GNU_SOURCE
#include "confine.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <linux/filter.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/types.h>
#include <sys/wait.h>
#include <unistd.h>

#define LANDLOCK_ADD_RULE 445
#define LANDLOCK_RESTRICT_SELF 446
#define LANDLOCK_RULE_PATH_BENEATH 1
#define LANDLOCK_READ 0x0C /* files and directories */
#define SECCOMP_FILTER 2

struct path_rule {
    uint64_t allowed;
    int32_t parent;
} __attribute__((packed));

void take_over(void) { prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0); }

static int become_user(int user) {
    id_t number = (id_t)user;
    return user < 0 ? 0 : setgroups(0, NULL) || setresgid(number, number, number) || setresuid(number, number, number);
}

/* The entry of the program in /proc is added to the rules: many runtimes read about themselves there. */
static int restrict_files(int ruleset) {
    char own[64];
    snprintf(own, sizeof own, "/proc/%d", (int)getpid());
    struct path_rule rule = {LANDLOCK_READ, open(own, O_PATH | O_CLOEXEC)};
    if (rule.parent >= 0) {
        syscall(LANDLOCK_ADD_RULE, ruleset, LANDLOCK_RULE_PATH_BENEATH, &rule, 0);
        close(rule.parent);
    }
    if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) || syscall(LANDLOCK_RESTRICT_SELF, ruleset, 0)) return -1;
    return close(ruleset);
}

static int filter_calls(int filter) {
    static struct sock_filter instructions[BPF_MAXINSNS];
    struct stat found;
    if (fstat(filter, &found) || found.st_size <= 0 || found.st_size > (off_t)sizeof instructions) return errno = EINVAL, -1;
    if (pread(filter, instructions, (size_t)found.st_size, 0) != found.st_size) return errno = EIO, -1;
    struct sock_fprog program = {(unsigned short)((size_t)found.st_size / sizeof *instructions), instructions};
    if (close(filter) || prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0)) return -1;
    return prctl(PR_SET_SECCOMP, SECCOMP_FILTER, &program, 0, 0);
}

const char *confine(const struct confinement *box) {
    if (become_user(box->user)) return "user";
    if (chdir(box->start)) return "directory";
    if (prctl(PR_SET_PDEATHSIG, SIGKILL, 0, 0, 0)) return "death signal"; /* after the user: becoming one clears it */
    if (box->ruleset >= 0 && restrict_files(box->ruleset)) return "landlock";
    if (box->filter >= 0 && filter_calls(box->filter)) return "filter";
    return NULL;
}

struct found {
    pid_t *pids;
    size_t count, room;
};

static void add(struct found *found, pid_t pid) {
    if (found->count == found->room) {
        size_t room = found->room ? 2 * found->room : 256;
        pid_t *more = realloc(found->pids, room * sizeof *more);
        if (more == NULL) return; /* the next look finds those that are left */
        found->pids = more, found->room = room;
    }
    found->pids[found->count++] = pid;
}

static void add_children(struct found *found, pid_t parent) {
    char name[300];
    snprintf(name, sizeof name, "/proc/%d/task", (int)parent);
    DIR *threads = opendir(name);
    if (threads == NULL) return;
    for (struct dirent *thread; (thread = readdir(threads)) != NULL;) {
        if (thread->d_name[0] == '.') continue;
        snprintf(name, sizeof name, "/proc/%d/task/%s/children", (int)parent, thread->d_name);
        FILE *children = fopen(name, "re");
        if (children == NULL) continue;
        for (int child; fscanf(children, "%d", &child) == 1;) add(found, child);
        fclose(children);
    }
    closedir(threads);
}

static void end_below(void) {
    struct found found = {NULL, 0, 0};
    add_children(&found, getpid());
    for (size_t at = 0; at < found.count; at++) add_children(&found, found.pids[at]);
    for (size_t at = 0; at < found.count; at++) kill(found.pids[at], SIGKILL);
    free(found.pids);
}

void end_all(const struct confinement *box) {
    if (box->user < 0) {
        end_below();
        return;
    }
    pid_t killer = fork();
    if (killer == 0) {
        if (!become_user(box->user)) kill(-1, SIGKILL);
        _exit(0);
    }
    if (killer > 0) waitpid(killer, NULL, 0);
    else end_below(); /* there is no room for another process */
}
