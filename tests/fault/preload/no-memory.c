// LD_PRELOAD: the N-th allocation of a program fails. NO_MEMORY_STATE names a file of a struct State (below) that the tests and the program share:
// they may set `at` while it runs. Counted are malloc(3) and its relatives, which operator new calls, in all threads; those of the dynamic loader are not.
// Which failed is noted: whether one of the callers is code of a library that does not look at what it is given.

#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <execinfo.h>
#include <fcntl.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

struct State {
  _Atomic uint64_t count;     // of all allocations
  _Atomic uint64_t at;        // that fails; 0: none
  _Atomic uint64_t last;      // and all after it up to this one; 0: it alone
  _Atomic uint64_t failed;    // how many did
  _Atomic uint64_t foreign;   // of these, in such a library
  char where[3000];           // the callers of the first
};

void* __libc_malloc(size_t);
void* __libc_calloc(size_t, size_t);
void* __libc_realloc(void*, size_t);
void* __libc_memalign(size_t, size_t);

static struct State* state;
static _Thread_local int inside;

__attribute__((constructor(101))) static void begin(void) {
  const char* path = getenv("NO_MEMORY_STATE");
  const int fd = path ? open(path, O_RDWR | O_CLOEXEC) : -1;
  if (fd < 0) return;
  void* frames[2];
  backtrace(frames, 2);  // loads what it needs while there is memory
  void* mapped = mmap(NULL, sizeof(struct State), PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
  close(fd);
  if (mapped != MAP_FAILED) state = mapped;
}

// They use what they did not get: nothing that their callers could help.
static const char* const libraries[] = {"libEngine12", "libfbclient", "/firebird/", "libtasn1", "libgnutls", "libp11-kit", "libnettle", "libhogweed", "libgmp"};

static void note(void) {
  void* frames[40];
  const int depth = backtrace(frames, 40);
  const int is_first = atomic_fetch_add(&state->failed, 1) == 0;
  int foreign = 0;
  size_t length = 0;
  for (int i = 2; i < depth; ++i) {
    Dl_info info;
    if (!dladdr(frames[i], &info) || !info.dli_fname) continue;
    for (size_t library = 0; library < sizeof libraries / sizeof *libraries; ++library) foreign |= strstr(info.dli_fname, libraries[library]) != NULL;
    const char* name = strrchr(info.dli_fname, '/');
    if (is_first && length < sizeof state->where - 200)
      length += (size_t)snprintf(state->where + length, 199, "%s+0x%lx ", name ? name + 1 : info.dli_fname, (unsigned long)((char*)frames[i] - (char*)info.dli_fbase));
  }
  if (foreign) atomic_fetch_add(&state->foreign, 1);
}

static int fails(void) {
  if (!state || inside) return 0;
  const uint64_t number = atomic_fetch_add(&state->count, 1) + 1, at = atomic_load(&state->at);
  if (!at || number < at || number > (atomic_load(&state->last) ? atomic_load(&state->last) : at)) return 0;
  inside = 1;
  note();
  inside = 0;
  errno = ENOMEM;
  return 1;
}

void* malloc(size_t size) { return fails() ? NULL : __libc_malloc(size); }
void* calloc(size_t count, size_t size) { return fails() ? NULL : __libc_calloc(count, size); }
void* realloc(void* old, size_t size) { return fails() ? NULL : __libc_realloc(old, size); }
void* memalign(size_t alignment, size_t size) { return fails() ? NULL : __libc_memalign(alignment, size); }
void* aligned_alloc(size_t alignment, size_t size) { return fails() ? NULL : __libc_memalign(alignment, size); }
int posix_memalign(void** place, size_t alignment, size_t size) {
  if (fails()) return ENOMEM;
  *place = __libc_memalign(alignment, size);
  return *place ? 0 : ENOMEM;
}
