// Counts the allocations of the program that it is preloaded into. The count is the first 8 bytes of the file that
// ALLOCATIONS_FILE names, which another program may read at any time.

#include <errno.h>
#include <fcntl.h>
#include <stdatomic.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>

// The C library's own, under the names that it has for programs that replace them. Its `free` takes what they give.
extern void *__libc_malloc(size_t size);
extern void *__libc_calloc(size_t count, size_t size);
extern void *__libc_realloc(void *memory, size_t size);
extern void *__libc_memalign(size_t alignment, size_t size);

// What the loader allocates before the file is there.
static _Atomic uint64_t before;
static _Atomic uint64_t *allocations = &before;

__attribute__((constructor)) static void share(void) {
    const char *path = getenv("ALLOCATIONS_FILE");
    int file = path == NULL ? -1 : open(path, O_RDWR | O_CLOEXEC);
    void *shared = mmap(NULL, sizeof before, PROT_READ | PROT_WRITE, MAP_SHARED, file, 0);
    if (shared == MAP_FAILED) {
        abort();
    }
    close(file);
    allocations = shared;
}

static void count(void) {
    atomic_fetch_add_explicit(allocations, 1, memory_order_relaxed);
}

void *malloc(size_t size) {
    count();
    return __libc_malloc(size);
}

void *calloc(size_t number, size_t size) {
    count();
    return __libc_calloc(number, size);
}

void *realloc(void *memory, size_t size) {
    count();
    return __libc_realloc(memory, size);
}

void *memalign(size_t alignment, size_t size) {
    count();
    return __libc_memalign(alignment, size);
}

void *aligned_alloc(size_t alignment, size_t size) {
    return memalign(alignment, size);
}

int posix_memalign(void **memory, size_t alignment, size_t size) {
    if (alignment % sizeof(void *) != 0 || alignment == 0 || (alignment & (alignment - 1)) != 0) {
        return EINVAL;
    }
    void *made = memalign(alignment, size);
    if (made == NULL) {
        return ENOMEM;
    }
    *memory = made;
    return 0;
}
