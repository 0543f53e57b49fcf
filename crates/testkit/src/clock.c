/* The wall clock of a program, moved by what a file says (seconds, an int64), while the monotonic clock stays.
 *
 * Debian's libfaketime was tried first: clock_gettime fails in its hands now and then while many threads ask at once, and a JVM
 * spins under it. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <semaphore.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <threads.h>
#include <time.h>
#include <unistd.h>

/* Of the two clocks, only the wall clock has counted as many seconds. */
#define WALL 1000000000

static const volatile int64_t *file;
static int (*next_clock_gettime)(clockid_t, struct timespec *);
static int (*next_cond_timedwait)(pthread_cond_t *, pthread_mutex_t *, const struct timespec *);
static int (*next_cnd_timedwait)(cnd_t *, mtx_t *, const struct timespec *);
static int (*next_sem_timedwait)(sem_t *, const struct timespec *);

__attribute__((constructor)) static void begin(void) {
    next_clock_gettime = (int (*)(clockid_t, struct timespec *))dlsym(RTLD_NEXT, "clock_gettime");
    next_cnd_timedwait = (int (*)(cnd_t *, mtx_t *, const struct timespec *))dlsym(RTLD_NEXT, "cnd_timedwait");
    next_sem_timedwait = (int (*)(sem_t *, const struct timespec *))dlsym(RTLD_NEXT, "sem_timedwait");
    /* x86_64 has one of another age besides, and would give that. */
    void *wait = dlvsym(RTLD_NEXT, "pthread_cond_timedwait", "GLIBC_2.3.2");
    next_cond_timedwait = (int (*)(pthread_cond_t *, pthread_mutex_t *, const struct timespec *))(
        wait ? wait : dlsym(RTLD_NEXT, "pthread_cond_timedwait"));
    const char *path = getenv("TESTKIT_CLOCK"), *only = getenv("TESTKIT_CLOCK_OF");
    if (!path || (only && strcmp(only, program_invocation_short_name)))
        return;
    int opened = open(path, O_RDONLY | O_CLOEXEC);
    void *mapped = opened < 0 ? MAP_FAILED : mmap(NULL, sizeof *file, PROT_READ, MAP_SHARED, opened, 0);
    if (mapped == MAP_FAILED)
        abort(); /* a test that goes by another clock than it thinks proves nothing */
    close(opened);
    file = mapped;
}

static int64_t ahead(void) { return file ? *file : 0; }

/* A point in time of our wall clock as the kernel has it; those of the monotonic clock stay. */
static struct timespec as_the_kernel_has_it(const struct timespec *at) {
    struct timespec kernel = *at;
    if (kernel.tv_sec > WALL)
        kernel.tv_sec -= ahead();
    return kernel;
}

int clock_gettime(clockid_t id, struct timespec *now) {
    int failed = next_clock_gettime ? next_clock_gettime(id, now) : (int)syscall(SYS_clock_gettime, id, now);
    if (!failed && (id == CLOCK_REALTIME || id == CLOCK_REALTIME_COARSE))
        now->tv_sec += ahead();
    return failed;
}

int timespec_get(struct timespec *now, int base) {
    return base == TIME_UTC && !clock_gettime(CLOCK_REALTIME, now) ? base : 0;
}

int gettimeofday(struct timeval *restrict now, void *restrict zone) {
    (void)zone;
    struct timespec at;
    if (clock_gettime(CLOCK_REALTIME, &at))
        return -1;
    now->tv_sec = at.tv_sec;
    now->tv_usec = at.tv_nsec / 1000;
    return 0;
}

time_t time(time_t *now) {
    struct timespec at;
    if (clock_gettime(CLOCK_REALTIME, &at))
        return -1;
    if (now)
        *now = at.tv_sec;
    return at.tv_sec;
}

int pthread_cond_timedwait(pthread_cond_t *restrict cond, pthread_mutex_t *restrict mutex, const struct timespec *restrict at) {
    struct timespec kernel = as_the_kernel_has_it(at);
    return next_cond_timedwait(cond, mutex, &kernel);
}

int cnd_timedwait(cnd_t *restrict cond, mtx_t *restrict mutex, const struct timespec *restrict at) {
    struct timespec kernel = as_the_kernel_has_it(at);
    return next_cnd_timedwait(cond, mutex, &kernel);
}

int sem_timedwait(sem_t *restrict semaphore, const struct timespec *restrict at) {
    struct timespec kernel = as_the_kernel_has_it(at);
    return next_sem_timedwait(semaphore, &kernel);
}
