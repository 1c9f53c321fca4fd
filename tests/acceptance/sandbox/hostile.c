/* A program that means harm: each act is one way of taking more than was given, or of reaching out of a box.
 *
 * usage: hostile ACT WORKER_PID PORT TOKEN SECRET
 *
 * TOKEN names things that must not appear outside; SECRET is a file that anybody may read, outside.
 * An act says "escaped: WHAT" for everything it was able to do that it must not be. It ends by itself if it is let. */
#define _GNU_SOURCE
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/ioctl.h>
#include <sys/ipc.h>
#include <sys/mman.h>
#include <sys/msg.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/sem.h>
#include <sys/shm.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define MB (1024 * 1024)
#define KEY 0x5EC2E7

extern char **environ;
static int worker, port;
static const char *token, *secret;

static void escaped(const char *what, const char *detail) {
    printf("escaped: %s %s\n", what, detail);
    fflush(stdout);
}

static void burn(void) { for (volatile unsigned long n = 0;; n++) {} }

static void burn_for(double seconds) {
    struct timespec t;
    do clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &t); while (t.tv_sec + t.tv_nsec / 1e9 < seconds);
}

static void nap(double seconds) {
    struct timespec t = {(time_t)seconds, (long)((seconds - (time_t)seconds) * 1e9)};
    nanosleep(&t, NULL);
}

/* ---- processor and wall time */
static void spin(void) { burn(); }
static void cpu_ign(void) { for (int n = 1; n < 65; n++) signal(n, SIG_IGN); burn(); }
static void cpu_fork(void) { for (int n = 0; n < 4; n++) if (!fork()) burn(); for (;;) pause(); }
static void cpu_relay(void) { if (fork()) for (;;) pause(); for (;;) { burn_for(0.03); if (fork()) _exit(0); } }
static void cpu_orphan(void) { if (!fork()) { if (!fork()) { setsid(); burn(); } _exit(0); } for (;;) pause(); }
static void *burn_thread(void *nothing) { burn(); return nothing; }
static void cpu_threads(void) { pthread_t t; for (int n = 0; n < 4; n++) pthread_create(&t, NULL, burn_thread, NULL); for (;;) pause(); }
static void cpu_unreaped(void) { signal(SIGCHLD, SIG_IGN); for (;;) { if (!fork()) { burn_for(0.1); _exit(0); } while (wait(NULL) > 0) {} } }
static void sleeps(void) { for (;;) pause(); }
static void stop(void) { for (;;) raise(SIGSTOP); }

/* ---- memory */
static void touch(volatile char *p, long size) { for (long n = 0; n < size; n += 1024) p[n] = 1; }
static void mem(void) {
    for (int n = 0; n < 512; n++) { char *p = malloc(MB); if (!p) exit(1); touch(p, MB); }
    escaped("512 MB of heap", "");
}
static void mapped(int flags) {
    for (int n = 0; n < 512; n++) {
        char *p = mmap(NULL, MB, PROT_READ | PROT_WRITE, flags | MAP_ANONYMOUS, -1, 0);
        if (p == MAP_FAILED) exit(1);
        touch(p, MB);
    }
    nap(2);
    escaped("512 MB of mappings", "");
}
static void mem_mmap(void) { mapped(MAP_PRIVATE); }
static void mem_shared(void) { mapped(MAP_SHARED); }
static void mem_fork(void) {
    volatile int *full = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    for (int n = 0; n < 10; n++) if (!fork()) { char *p = malloc(20 * MB); if (p) touch(p, 20 * MB), full[n] = 1; for (;;) pause(); }
    for (int n = 0; n < 10; n++) while (!full[n]) nap(0.01);
    nap(0.5);
    escaped("200 MB in ten processes", "");
}
static void memfd(void) {
    static char block[MB];
    long total = 0;
    signal(SIGXFSZ, SIG_IGN);
    for (int n = 0; n < 60; n++) {
        int f = syscall(SYS_memfd_create, "x", 0);
        if (f < 0) return;
        for (int m = 0; m < 4; m++) if (write(f, block, MB) == MB) total++;
    }
    if (total > 200) escaped("200 MB in memfds", "");
}
static long fill(const char *where) {
    static char block[MB], path[300];
    long total = 0;
    for (int n = 0; n < 40; n++) {
        snprintf(path, sizeof path, "%s/%s%d", where, token, n);
        int f = open(path, O_CREAT | O_WRONLY, 0600);
        if (f < 0) break;
        for (int m = 0; m < 4; m++) { long w = write(f, block, MB); if (w <= 0) break; total += w; }
        close(f);
    }
    return total;
}
static void tmpfs(void) {
    signal(SIGXFSZ, SIG_IGN);
    if (fill("/tmp") > 10 * MB) escaped("more than the scratch space", "/tmp");
    if (fill("/dev/shm") > 10 * MB) escaped("more than the scratch space", "/dev/shm");
    if (fill("/dev") > 0) escaped("files in", "/dev");
    if (fill("/run") > 0) escaped("files in", "/run");
}

/* ---- processes */
static void forkbomb(void) {
    int born = 0;
    for (int n = 0; n < 100; n++) { int p = fork(); if (!p) for (;;) pause(); if (p > 0) born++; }
    if (born > 16) escaped("more processes than allowed", "");
    for (;;) if (!fork()) for (;;) fork();
}
static void *idle_thread(void *nothing) { pause(); return nothing; }
static void threadbomb(void) {
    pthread_t t;
    pthread_attr_t small;
    int born = 0;
    pthread_attr_init(&small);
    pthread_attr_setstacksize(&small, 65536);
    for (int n = 0; n < 100; n++) born += !pthread_create(&t, &small, idle_thread, NULL);
    if (born > 16) escaped("more threads than allowed", "");
}
static void kills(void) {
    if (kill(worker, 0) == 0) escaped("sees the worker", "");
    if (kill(worker, SIGKILL) == 0) escaped("signals the worker", "");
    kill(getppid(), SIGKILL);
    kill(getppid(), SIGSTOP);
    if (syscall(SYS_tgkill, worker, worker, SIGKILL) == 0) escaped("tgkill", "");
    struct rlimit none = {0, 0};
    if (prlimit(worker, RLIMIT_NOFILE, &none, NULL) == 0) escaped("limits the worker", "");
    if (setpriority(PRIO_PROCESS, worker, 19) == 0) escaped("slows the worker", "");
}
static void killall(void) { kill(-1, SIGKILL); kill(-1, SIGSTOP); }
static void daemonise(void) {
    if (fork()) { nap(0.05); return; }
    setsid();
    if (fork()) _exit(0);
    for (int n = 1; n < 65; n++) signal(n, SIG_IGN);
    prctl(PR_SET_NAME, "kworker/0:1");
    for (;;) sleep(60);
}
static void zombies(void) { for (int n = 0; n < 10; n++) if (!fork()) _exit(0); nap(0.05); }

/* ---- files */
static void flood(void) { static char block[65536]; memset(block, 'x', sizeof block); for (;;) if (write(1, block, sizeof block) < 0) {} }
static void bigfile(void) {
    static char block[MB];
    int f = open("big", O_CREAT | O_WRONLY, 0600);
    for (int n = 0; n < 64; n++) if (write(f, block, MB) < 0) exit(1);
    escaped("a file of 64 MB", "");
}
static void manyfiles(void) {
    static char block[MB], path[100];
    mkdir("hidden", 0700);
    for (int n = 0; n < 100; n++) {
        snprintf(path, sizeof path, "hidden/%d", n);
        int f = open(path, O_CREAT | O_WRONLY, 0600);
        for (int m = 0; m < 3; m++) if (write(f, block, MB) < 0) exit(1);
        close(f);
    }
    chmod("hidden", 0);
}
static void inodes(void) {
    char path[100];
    for (int n = 0; n < 3000; n++) { snprintf(path, sizeof path, "empty%d", n); close(open(path, O_CREAT | O_WRONLY, 0600)); }
}
static void tmp_inodes(void) {
    char path[300];
    const char *place = getenv("TMPDIR") ? getenv("TMPDIR") : "/tmp";
    for (int n = 0; n < 100000; n++) {
        snprintf(path, sizeof path, "%s/%s%d", place, token, n);
        close(open(path, O_CREAT | O_WRONLY, 0600));
    }
    nap(1);
}
static void deep(void) {
    for (int n = 0; n < 250; n++) if (mkdir("d", 0700) || chdir("d")) break;
    nap(0.3);
}
static void outside(void) {
    const char *places[] = {"/", "/etc", "/usr", "/usr/bin", "/usr/local/bin", "/var/tmp", "/var", "/root", "/home", "/opt", "/dev",
                            "/proc", "/sys", "/run", "/mnt", "/lib", "/bin", "/box/..", "/proc/1/root", "/proc/1/cwd", "/proc/self/root/etc"};
    char path[300];
    for (unsigned n = 0; n < sizeof places / sizeof *places; n++) {
        snprintf(path, sizeof path, "%s/%s", places[n], token);
        int f = open(path, O_CREAT | O_WRONLY, 0600);
        if (f >= 0) escaped("writes", path);
        if (mkdir(path, 0700) == 0) escaped("makes a directory", path);
        if (symlink("x", path) == 0) escaped("makes a link", path);
    }
    if (open("/usr/bin/env", O_WRONLY) >= 0) escaped("opens for writing", "/usr/bin/env");
    if (open(secret, O_WRONLY) >= 0) escaped("opens for writing", secret);
    if (truncate(secret, 0) == 0 || unlink(secret) == 0 || chmod(secret, 0) == 0) escaped("changes", secret);
    snprintf(path, sizeof path, "/tmp/%s", token);
    close(open(path, O_CREAT | O_WRONLY, 0600)); /* fine if that is a /tmp of its own: who started this looks */
}
static void try_read(const char *path) {
    char c;
    int f = open(path, O_RDONLY);
    if (f >= 0 && read(f, &c, 1) == 1) escaped("reads", path);
    if (f >= 0) close(f);
}
static void reads(void) {
    char path[100];
    try_read(secret);
    try_read("/etc/shadow");
    try_read("/etc/gshadow");
    try_read("/etc/hostname");
    try_read("/etc/ssh/sshd_config");
    try_read("/proc/kcore");
    try_read("/proc/1/environ");
    try_read("/sys/class/net/lo/address");
    snprintf(path, sizeof path, "/proc/%d/environ", worker);
    try_read(path);
    snprintf(path, sizeof path, "/proc/%d/cmdline", worker);
    try_read(path);
    snprintf(path, sizeof path, "/proc/1/root%s", secret);
    try_read(path);
    snprintf(path, sizeof path, "/proc/self/root%s", secret);
    try_read(path);
    DIR *d = opendir("/root");
    if (d && readdir(d)) { struct dirent *e; while ((e = readdir(d))) if (e->d_name[0] != '.') { escaped("lists", "/root"); break; } }
    int f = open("/dev/vda", O_RDONLY);
    if (f >= 0) escaped("opens", "/dev/vda");
}
static void links(void) {
    symlink(secret, "out"); /* where output is promised to go */
    symlink(secret, "collected");
    symlink("/proc/self/fd/1", "magic");
    symlink("..", "up");
    if (link(secret, "hard") == 0) escaped("hard link to", secret);
    mkfifo("pipe", 0600);
    if (mknod("device", S_IFBLK | 0600, 0xFE00) == 0) escaped("makes a device", "");
    int f = open("sparse", O_CREAT | O_WRONLY, 0600);
    if (ftruncate(f, 3 * MB)) {}
    chmod("sparse", 06777);
}
static void fds(void) {
    char path[50], target[300];
    for (int n = 3; n < 1024; n++) if (fcntl(n, F_GETFD) >= 0) {
        snprintf(path, sizeof path, "/proc/self/fd/%d", n);
        long size = readlink(path, target, sizeof target - 1);
        target[size > 0 ? size : 0] = 0;
        escaped("inherits", target);
    }
    int f = open("/proc/self/fd/0", O_RDWR);
    if (f >= 0 && write(f, "x", 1) == 1 && lseek(f, 0, SEEK_CUR) > 0) escaped("writes its input", "");
}
static void env(void) { for (char **e = environ; *e; e++) puts(*e); try_read("/proc/1/environ"); }

/* ---- other ways out */
static void attempt(int family, int type, const char *what, struct sockaddr *address, socklen_t size) {
    int s = socket(family, type, 0);
    if (s < 0) return;
    if (address == NULL) escaped("has a socket of", what);
    else if (connect(s, address, size) == 0 && type == SOCK_STREAM) escaped("connects to", what);
    close(s);
}
static void net(void) {
    struct sockaddr_in loopback = {.sin_family = AF_INET, .sin_port = htons(port), .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    attempt(AF_INET, SOCK_STREAM, "the machine's loopback", (struct sockaddr *)&loopback, sizeof loopback);
    struct sockaddr_in metadata = {.sin_family = AF_INET, .sin_port = htons(80), .sin_addr.s_addr = htonl(0xA9FEA9FE)};
    attempt(AF_INET, SOCK_STREAM, "the metadata address", (struct sockaddr *)&metadata, sizeof metadata);
    struct sockaddr_un name = {.sun_family = AF_UNIX};
    snprintf(name.sun_path + 1, sizeof name.sun_path - 1, "%s", token);
    attempt(AF_UNIX, SOCK_STREAM, "an abstract socket", (struct sockaddr *)&name, offsetof(struct sockaddr_un, sun_path) + 1 + strlen(token));
    snprintf(name.sun_path, sizeof name.sun_path, "%s.socket", secret);
    attempt(AF_UNIX, SOCK_STREAM, "a socket in a directory", (struct sockaddr *)&name, sizeof name);
    attempt(40, SOCK_STREAM, "vsock", NULL, 0);
    attempt(AF_PACKET, SOCK_RAW, "packets", NULL, 0);
    attempt(38, SOCK_SEQPACKET, "the kernel's ciphers", NULL, 0);
    attempt(AF_INET, SOCK_RAW, "raw IP", NULL, 0);
    char ring[200] = {0};
    if (syscall(SYS_io_uring_setup, 4, ring) >= 0) escaped("has", "io_uring");
}
static void shmleak(void) {
    int id = shmget(KEY, 4096, IPC_CREAT | 0666);
    if (id >= 0) { char *p = shmat(id, NULL, 0); if (p != (void *)-1) strcpy(p, "told"); }
    msgget(KEY, IPC_CREAT | 0666);
    semget(KEY, 1, IPC_CREAT | 0666);
    int f = open("/dev/shm/leak", O_CREAT | O_WRONLY, 0666);
    if (f >= 0 && write(f, "told", 4) < 0) {}
}
static void shmcheck(void) {
    if (shmget(KEY, 4096, 0) >= 0) escaped("shared memory of", "another box");
    if (msgget(KEY, 0) >= 0) escaped("a message queue of", "another box");
    if (semget(KEY, 1, 0) >= 0) escaped("a semaphore of", "another box");
    try_read("/dev/shm/leak");
    try_read("/tmp/leak");
}
static void keyleak(void) {
    for (int ring = -5; ring < 0; ring++) syscall(SYS_add_key, "user", "leak", "told", 4, ring);
}
static void keycheck(void) {
    for (int ring = -5; ring < 0; ring++) if (syscall(SYS_keyctl, 10, ring, "user", "leak", 0) >= 0) escaped("a key of", "another box");
    try_read("/proc/keys");
}
static void lockhold(void) {
    int f = open("/usr/bin/env", O_RDONLY), g = open("/usr/bin/env", O_RDONLY);
    struct flock range = {.l_type = F_RDLCK};
    flock(f, LOCK_EX);
    fcntl(g, F_SETLK, &range);
    close(open("holding", O_CREAT | O_WRONLY, 0600));
    for (int n = 0; n < 300 && access("done", F_OK); n++) nap(0.02);
}
static void lockchan(void) {
    int f = open("/usr/bin/env", O_RDONLY);
    if (flock(f, LOCK_SH | LOCK_NB) && errno == EWOULDBLOCK) escaped("sees a lock of", "another box");
}
static void userns(void) {
    int flags[] = {CLONE_NEWUSER, CLONE_NEWNS, CLONE_NEWPID, CLONE_NEWNET, CLONE_NEWIPC, CLONE_NEWUTS, CLONE_NEWCGROUP};
    for (int n = 0; n < 7; n++) {
        if (unshare(flags[n]) == 0) escaped("unshare", "");
        long p = syscall(SYS_clone, flags[n] | SIGCHLD, 0, 0, 0, 0);
        if (p == 0) _exit(0);
        if (p > 0) escaped("clone", "");
    }
    unsigned long modern[11] = {CLONE_NEWUSER, 0, 0, 0, SIGCHLD};
    long p = syscall(435, modern, 64);
    if (p == 0) _exit(0);
    if (p > 0) escaped("clone3", "");
    if (syscall(SYS_ptrace, 0, 0, 0, 0) == 0) escaped("ptrace", "");
    if (syscall(SYS_bpf, 0, 0, 0) >= 0 || (errno != EPERM && errno != ENOSYS)) escaped("bpf", "");
    if (syscall(SYS_mount, "x", "/tmp", "tmpfs", 0, 0) == 0) escaped("mount", "");
}
static int recursion(int depth) { volatile char here[4096]; here[0] = depth; return recursion(depth + 1) + here[0]; }
static void procsys(void) {
    const char *places[] = {"/proc/sys/kernel/hostname", "/proc/sys/kernel/core_pattern", "/proc/sys/vm/overcommit_memory", "/proc/sysrq-trigger",
                            "/sys/kernel/mm/ksm/run", "/sys/fs/cgroup/cgroup.procs", "/sys/fs/cgroup/memory/cgroup.procs", "/dev/kmsg", "/dev/mem"};
    for (unsigned n = 0; n < sizeof places / sizeof *places; n++) if (open(places[n], O_WRONLY) >= 0) escaped("opens for writing", places[n]);
    int f = open("/proc/self/oom_score_adj", O_WRONLY);
    if (f >= 0 && write(f, "-1000", 5) == 5) escaped("cannot be killed for memory", "");
}
static void raise_limits(void) {
    for (int n = 0; n < RLIM_NLIMITS; n++) {
        struct rlimit had, wanted;
        getrlimit(n, &had);
        wanted.rlim_cur = wanted.rlim_max = RLIM_INFINITY;
        if (had.rlim_max != RLIM_INFINITY && setrlimit(n, &wanted) == 0) escaped("raises a limit", "");
        char number[20];
        snprintf(number, sizeof number, "%d", n);
        if ((n == RLIMIT_FSIZE || n == RLIMIT_NOFILE || n == RLIMIT_CORE) && had.rlim_cur > 64 * MB) escaped("has no limit", number);
    }
    if (nice(-5) != -1) escaped("takes priority", "");
    struct sched_param high = {.sched_priority = 10};
    if (sched_setscheduler(0, SCHED_FIFO, &high) == 0) escaped("real time", "");
}
static void tiocsti(void) {
    int places[] = {0, 1, 2, open("/dev/tty", O_RDWR), open("/dev/console", O_RDWR)};
    for (int n = 0; n < 5; n++) if (ioctl(places[n], TIOCSTI, "x") == 0) escaped("types for", "the terminal");
    if (places[4] >= 0) escaped("opens", "/dev/console");
}

/* ---- no harm meant: what is measured, and what lives on */
static void measured(void) {
    long size = 30 * MB;
    touch(malloc(size), size);
    burn_for(0.3);
    struct rusage used;
    getrusage(RUSAGE_SELF, &used);
    printf("%f %ld\n", used.ru_utime.tv_sec + used.ru_stime.tv_sec + (used.ru_utime.tv_usec + used.ru_stime.tv_usec) / 1e6, used.ru_maxrss);
}
static void family(void) {
    for (int n = 1; n < 65; n++) signal(n, SIG_IGN);
    for (int n = 0; n < 4; n++) if (!fork()) { setsid(); if (fork()) _exit(0); for (;;) pause(); }
    close(open("living", O_CREAT | O_WRONLY, 0600));
    for (;;) pause();
}

static void fine(void) { puts("fine"); }
static void exits(void) { exit(139); }
static void sig(void) { raise(SIGTERM); }
static void segv(void) { *(volatile int *)8 = 1; }
static void stack(void) { recursion(0); }

int main(int count, char **arguments) {
    static const struct { const char *name; void (*act)(void); } acts[] = {
        {"ok", fine}, {"exit", exits}, {"sig", sig}, {"segv", segv}, {"spin", spin}, {"cpu_ign", cpu_ign}, {"cpu_fork", cpu_fork},
        {"cpu_relay", cpu_relay}, {"cpu_orphan", cpu_orphan}, {"cpu_threads", cpu_threads}, {"cpu_unreaped", cpu_unreaped},
        {"sleep", sleeps}, {"stop", stop}, {"mem", mem}, {"mem_mmap", mem_mmap}, {"mem_shared", mem_shared}, {"mem_fork", mem_fork},
        {"memfd", memfd}, {"tmpfs", tmpfs}, {"forkbomb", forkbomb}, {"threadbomb", threadbomb}, {"flood", flood}, {"bigfile", bigfile},
        {"manyfiles", manyfiles}, {"inodes", inodes}, {"tmp_inodes", tmp_inodes}, {"deep", deep}, {"outside", outside}, {"read", reads},
        {"net", net}, {"kill", kills}, {"killall", killall}, {"daemon", daemonise}, {"zombies", zombies}, {"links", links}, {"fds", fds},
        {"env", env}, {"shmleak", shmleak}, {"shmcheck", shmcheck}, {"keyleak", keyleak}, {"keycheck", keycheck}, {"lockhold", lockhold},
        {"lockchan", lockchan}, {"userns", userns}, {"stack", stack}, {"procsys", procsys}, {"setrlimit", raise_limits}, {"tiocsti", tiocsti},
        {"measured", measured}, {"family", family}};
    if (count < 6) return 64;
    worker = atoi(arguments[2]), port = atoi(arguments[3]), token = arguments[4], secret = arguments[5];
    for (unsigned n = 0; n < sizeof acts / sizeof *acts; n++) if (!strcmp(acts[n].name, arguments[1])) { acts[n].act(); return 0; }
    return 65;
}
