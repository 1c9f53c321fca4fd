/* The first process of a box. It starts the program, reaps every descendant, ends what is left when the program ends, and
 * reports exactly how that was. Without it, "exit status 139" and "ended by signal 11" look the same from outside.
 *
 * usage: init REPORT LIFE ERRORS LIMITS COMMAND ARGUMENTS...
 *        init --staged REPORT LIFE ERRORS LIMITS USER START RULESET FILTER NUMBER VARIABLES... COMMAND ARGUMENTS...
 *        init --as USER COMMAND ARGUMENTS...
 *
 * The first form is for boxes with namespaces, in which it is process 1. The second is for boxes without: it stays who it is,
 * outside of what the program is held by, so that the program cannot end it; see confine.h. The third becomes a user, given
 * by number, and then the command. From Python that would take a fork, which copies the tables of all memory of a worker;
 * without it vfork will do.
 *
 * REPORT  descriptor that takes lines: "ready", then "refused ERRNO WHERE" or, in the second form after "before CPU_US MAX_RSS_KB",
 *         "ended STATUS CPU_US MAX_RSS_KB VOLUNTARY FORCED LEFTOVERS WALL_US".
 * LIFE    descriptor of a pipe. A byte means go; its end means that everything here must end, as when the worker is gone.
 * ERRORS  descriptor that becomes the program's standard error; ours is for messages about the box itself.
 * LIMITS  RESOURCE=VALUE,... by the numbers of setrlimit.
 * USER    whose processes there are in the box and nowhere else, by number; -1: ours.
 * START   directory to start in.
 * RULESET descriptor of rules of Landlock; -1: none.
 * FILTER  descriptor to read the filter of system calls from; -1: none.
 * NUMBER  how many VARIABLES, NAME=VALUE, make the environment. Ours stays empty: a loader would heed it.
 */
#define _GNU_SOURCE
#include "confine.h"

#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define SHORTLY 5000000 /* nanoseconds after which what is to be ended is looked for again */

static int report;

static void say(const char *text) {
    if (write(report, text, strlen(text)) < 0) _exit(96);
}

static void refuse(const char *where) {
    char line[128];
    snprintf(line, sizeof line, "refused %d %s\n", errno, where);
    say(line);
    _exit(127);
}

static void say_numbers(const char *word, const long *numbers, int count) {
    char line[256];
    int length = snprintf(line, sizeof line, "%s", word);
    for (int at = 0; at < count; at++) length += snprintf(line + length, sizeof line - (size_t)length, " %ld", numbers[at]);
    snprintf(line + length, sizeof line - (size_t)length, "\n");
    say(line);
}

static void nothing(int number) { (void)number; }

static long microseconds(struct timeval time) { return time.tv_sec * 1000000L + time.tv_usec; }

static long now(void) {
    struct timespec time;
    clock_gettime(CLOCK_MONOTONIC, &time);
    return time.tv_sec * 1000000L + time.tv_nsec / 1000;
}

static void set_limits(const char *text) {
    while (*text) {
        char *end;
        int resource = (int)strtol(text, &end, 10);
        if (*end != '=') { errno = EINVAL; refuse("limits"); }
        rlim_t value = strtoull(end + 1, &end, 10);
        struct rlimit limit = {value, value};
        if (setrlimit(resource, &limit)) refuse("setrlimit");
        text = *end == ',' ? end + 1 : end;
    }
}

static void become(int errors, const char *limits, const struct confinement *box, char **environment, char **command) {
    setsid();
    if (dup2(errors, 2) < 0) refuse("dup2");
    set_limits(limits);
    const char *failed = box ? confine(box) : NULL;
    if (failed) refuse(failed);
    for (int number = 1; number < 65; number++) signal(number, SIG_DFL);
    sigset_t none;
    sigemptyset(&none);
    sigprocmask(SIG_SETMASK, &none, NULL);
    if (box) {
        struct rusage used;
        getrusage(RUSAGE_SELF, &used);
        say_numbers("before", (long[]){microseconds(used.ru_utime) + microseconds(used.ru_stime), used.ru_maxrss}, 2);
    }
    if (environment) environ = environment;
    execvp(command[0], command);
    refuse("exec");
}

static void close_on_exec(void) {
#ifdef SYS_close_range
    if (syscall(SYS_close_range, 3, ~0U, 4 /* CLOSE_RANGE_CLOEXEC */) == 0) return;
#endif
    for (int descriptor = 3; descriptor < 1024; descriptor++) fcntl(descriptor, F_SETFD, FD_CLOEXEC);
}

static int command_as(const char *user, char **command) {
    id_t number = (id_t)atoi(user);
    if (number == 0 || setgroups(0, NULL) || setresgid(number, number, number) || setresuid(number, number, number)) {
        perror("init: user");
        return 96;
    }
    execv(command[0], command);
    perror(command[0]);
    return 96;
}

/* End everything in the box: in namespaces of its own that is everybody else, once and for all. */
static void end_everything(const struct confinement *box) {
    if (box) end_all(box);
    else kill(-1, SIGKILL);
}

/* Reap until nobody is left, and report. */
static void see_to_the_end(pid_t program, int life, long started, const struct confinement *box, const sigset_t *open) {
    int status = -1, leftovers = 0, alone = 0, doomed = 0;
    long ended = started;
    struct pollfd watched = {life, POLLIN, 0};
    const struct timespec shortly = {0, SHORTLY};
    for (;;) {
        int how, woken = -1;
        pid_t one = waitpid(-1, &how, WNOHANG);
        if (one < 0) break; /* nobody is left */
        if (one == program) {
            status = how;
            ended = now();
        } else if (one > 0 && status != -1 && WIFSIGNALED(how) && WTERMSIG(how) == SIGKILL) {
            leftovers++;
        }
        if (one == 0) {
            woken = ppoll(&watched, alone ? 0 : 1, doomed && box ? &shortly : NULL, open);
            if (woken > 0) alone = 1;
        }
        if (one == program || woken > 0 || woken == 0 /* without namespaces somebody may have been overlooked */) {
            doomed = 1;
            end_everything(box);
        }
    }
    struct rusage used;
    getrusage(RUSAGE_CHILDREN, &used);
    long numbers[] = {status, microseconds(used.ru_utime) + microseconds(used.ru_stime), used.ru_maxrss, used.ru_nvcsw,
                      used.ru_nivcsw, leftovers, ended - started};
    say_numbers("ended", numbers, sizeof numbers / sizeof *numbers);
}

int main(int count, char **arguments) {
    if (count > 3 && !strcmp(arguments[1], "--as")) return command_as(arguments[2], arguments + 3);
    struct confinement staged, *box = NULL;
    char **environment = NULL, **command = arguments + 5;
    if (count > 1 && !strcmp(arguments[1], "--staged")) {
        arguments++, count--;
        int variables = count > 9 ? atoi(arguments[9]) : -1;
        if (variables < 0 || count < 11 + variables) return 96;
        staged = (struct confinement){atoi(arguments[5]), arguments[6], atoi(arguments[7]), atoi(arguments[8])};
        box = &staged;
        command = arguments + 10 + variables;
        environment = calloc((size_t)variables + 1, sizeof *environment);
        if (environment == NULL) return 96;
        memcpy(environment, arguments + 10, (size_t)variables * sizeof *environment);
    } else if (count < 6) {
        return 96;
    }
    report = atoi(arguments[1]);
    int life = atoi(arguments[2]), errors = atoi(arguments[3]);
    prctl(PR_SET_DUMPABLE, 0); /* or the program could open our descriptors and write the report itself */
    if (box) take_over();
    close_on_exec();
    sigset_t blocked, open;
    sigemptyset(&blocked);
    sigaddset(&blocked, SIGCHLD);
    sigprocmask(SIG_BLOCK, &blocked, &open);
    sigdelset(&open, SIGCHLD);
    struct sigaction action;
    memset(&action, 0, sizeof action);
    action.sa_handler = nothing; /* an ignored signal would not end a wait */
    sigaction(SIGCHLD, &action, NULL);

    char go;
    say("ready\n");
    if (read(life, &go, 1) != 1) return 96;
    long started = now();
    pid_t program = fork();
    if (program < 0) refuse("fork");
    if (program == 0) become(errors, arguments[4], box, environment, command);
    close(0), close(1), close(errors);
    see_to_the_end(program, life, started, box, &open);
    return 0;
}
