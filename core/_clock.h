/* The seconds of time.monotonic, by two clocks. */

#ifndef ANYWASM_CLOCK_H
#define ANYWASM_CLOCK_H

#include <time.h>

/* The clock of the kernel's ticks takes a fourth of the time, and is late by a tick at most: 10 ms
 * at the slowest. */
#define COARSE_TICK 0.01

static inline double read_clock(clockid_t clock) {
    struct timespec now;
    clock_gettime(clock, &now);
    return (double)now.tv_sec + 1e-9 * (double)now.tv_nsec;
}

#endif
