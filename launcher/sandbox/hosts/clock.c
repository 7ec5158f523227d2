/* A wall clock that is AHEAD_S seconds ahead, for every program that loads this before its C library (ld.so(8)).

   The monotonic clock is right, as on a machine whose clock nobody has set; so what waits for a time of the wall clock
   must be told the right one. What the kernel itself writes, such as the times of files, stays right too. */

#define _GNU_SOURCE
#include <dlfcn.h>
#include <semaphore.h>
#include <sys/time.h>
#include <time.h>

#define NEXT(name) __typeof__(&name) next = (__typeof__(&name)) dlsym(RTLD_NEXT, #name)

static int is_wall(clockid_t clock) { return clock == CLOCK_REALTIME || clock == CLOCK_REALTIME_COARSE; }

static struct timespec right(const struct timespec *wrong)
{
    struct timespec at = *wrong;
    at.tv_sec -= AHEAD_S;
    return at;
}

int clock_gettime(clockid_t clock, struct timespec *now)
{
    NEXT(clock_gettime);
    int failed = next(clock, now);
    if (!failed && is_wall(clock)) now->tv_sec += AHEAD_S;
    return failed;
}

time_t time(time_t *result)
{
    struct timespec now;
    clock_gettime(CLOCK_REALTIME, &now);
    if (result) *result = now.tv_sec;
    return now.tv_sec;
}

int gettimeofday(struct timeval *restrict result, void *restrict zone)
{
    struct timespec now;
    (void) zone;
    clock_gettime(CLOCK_REALTIME, &now);
    result->tv_sec = now.tv_sec;
    result->tv_usec = now.tv_nsec / 1000;
    return 0;
}

int timespec_get(struct timespec *result, int base)
{
    return base == TIME_UTC && !clock_gettime(CLOCK_REALTIME, result) ? base : 0;
}

int clock_nanosleep(clockid_t clock, int flags, const struct timespec *request, struct timespec *left)
{
    NEXT(clock_nanosleep);
    if (!is_wall(clock) || !(flags & TIMER_ABSTIME)) return next(clock, flags, request, left);
    struct timespec at = right(request);
    return next(clock, flags, &at, left);
}

int sem_timedwait(sem_t *restrict semaphore, const struct timespec *restrict deadline)
{
    NEXT(sem_timedwait);
    struct timespec at = right(deadline);
    return next(semaphore, &at);
}
