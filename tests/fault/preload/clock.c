// LD_PRELOAD: the clock of a program jumps. CLOCK_SHIFT is "SECONDS" or "SECONDS@N SECONDS@N …": how far the clock of the wall is off from the
// beginning, and from the N-th look at it on. CLOCK_STANDS is the second at which it stands instead. Clocks that only run (CLOCK_MONOTONIC) and what the kernel writes into inodes stay as they are.

#define _GNU_SOURCE
#include <stdatomic.h>
#include <stdlib.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <time.h>
#include <unistd.h>

static _Atomic long looks;

static long shift(void) {
  const long look = atomic_fetch_add(&looks, 1) + 1;
  const char* text = getenv("CLOCK_SHIFT");
  long seconds = 0;
  while (text && *text) {
    char* end;
    const long value = strtol(text, &end, 10);
    const long from = *end == '@' ? strtol(end + 1, &end, 10) : 0;
    if (look >= from) seconds = value;
    if (end == text) break;
    text = end + (*end == ' ');
  }
  return seconds;
}

int clock_gettime(clockid_t clock, struct timespec* now) {
  const int result = (int)syscall(SYS_clock_gettime, clock, now);
  if (result == 0 && (clock == CLOCK_REALTIME || clock == CLOCK_REALTIME_COARSE)) {
    const char* stands = getenv("CLOCK_STANDS");
    now->tv_sec = stands ? strtol(stands, NULL, 10) : now->tv_sec + shift();
  }
  return result;
}

time_t time(time_t* result) {
  struct timespec now;
  clock_gettime(CLOCK_REALTIME, &now);
  if (result) *result = now.tv_sec;
  return now.tv_sec;
}

int gettimeofday(struct timeval* restrict result, void* restrict zone) {
  (void)zone;
  struct timespec now;
  clock_gettime(CLOCK_REALTIME, &now);
  result->tv_sec = now.tv_sec;
  result->tv_usec = now.tv_nsec / 1000;
  return 0;
}
