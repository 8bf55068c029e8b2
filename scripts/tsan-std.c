// What ThreadSanitizer must be told of the standard library, which is compiled without it.
//
// Most of the library's synchronisation is inlined into the code that uses it, and so is seen: the fast paths
// of locks, channels, `Arc`. Threads are made and joined through pthread, which is intercepted. The rest is
// calls into the compiled library, and the linker leads them through here (--wrap; scripts/tsan finds the
// names). Each wrapper states the edge that the call's documentation promises, and no other.

#include <stdbool.h>
#include <stdint.h>

extern void __tsan_acquire(void *address);
extern void __tsan_release(void *address);

#define REAL(name) __asm__("__real_" name)
#define WRAP(name) __asm__("__wrap_" name)

// Who gets a contended lock comes after those who released it. Both words of a lock for readers and writers.
#define LOCK(function, name)                                                                                \
    extern void real_##function(void *lock) REAL(name);                                                     \
    void wrap_##function(void *lock) WRAP(name);                                                            \
    void wrap_##function(void *lock) {                                                                      \
        real_##function(lock);                                                                              \
        __tsan_acquire(lock);                                                                               \
    }
LOCK(lock, MUTEX_LOCK)
LOCK(read, RWLOCK_READ)
LOCK(write, RWLOCK_WRITE)

// Waiting for a condition releases the mutex and gets it again.
extern void real_wait(void *condvar, void *mutex) REAL(CONDVAR_WAIT);
void wrap_wait(void *condvar, void *mutex) WRAP(CONDVAR_WAIT);
void wrap_wait(void *condvar, void *mutex) {
    __tsan_release(mutex);
    real_wait(condvar, mutex);
    __tsan_acquire(mutex);
}

extern bool real_wait_timeout(void *condvar, void *mutex, uint64_t s, uint32_t ns) REAL(CONDVAR_WAIT_TIMEOUT);
bool wrap_wait_timeout(void *condvar, void *mutex, uint64_t s, uint32_t ns) WRAP(CONDVAR_WAIT_TIMEOUT);
bool wrap_wait_timeout(void *condvar, void *mutex, uint64_t s, uint32_t ns) {
    __tsan_release(mutex);
    bool done = real_wait_timeout(condvar, mutex, s, ns);
    __tsan_acquire(mutex);
    return done;
}

// What is done once comes before whoever finds that it is done. The library says so when the closure has
// returned, so the edge begins there: the closure is called through one that releases.
struct closure {
    void *data;
    void **vtable;
    void *once;
};
enum { CALL_MUT = 4, VTABLE_LEN = 5 }; // drop, size, align, call_once, call_mut

static void call(struct closure *closure, void *state) {
    ((void (*)(void *, void *))closure->vtable[CALL_MUT])(closure->data, state);
    __tsan_release(closure->once);
}
static void *vtable[VTABLE_LEN] = {0, (void *)sizeof(struct closure), (void *)8, (void *)call, (void *)call};

extern void real_once(void *once, bool ignore, void *data, void **vtable, void *caller) REAL(ONCE_CALL);
void wrap_once(void *once, bool ignore, void *data, void **closure_vtable, void *caller) WRAP(ONCE_CALL);
void wrap_once(void *once, bool ignore, void *data, void **closure_vtable, void *caller) {
    struct closure closure = {data, closure_vtable, once};
    real_once(once, ignore, &closure, vtable, caller);
    __tsan_acquire(once);
}

// The end of a thread of a scope comes before the end of the scope, which looks at one of these words.
extern void real_thread_ends(void **scope, bool panicked) REAL(SCOPE_THREAD_ENDS);
void wrap_thread_ends(void **scope, bool panicked) WRAP(SCOPE_THREAD_ENDS);
void wrap_thread_ends(void **scope, bool panicked) {
    for (int nth = 0; nth < 3; nth++)
        __tsan_release(scope + nth);
    real_thread_ends(scope, panicked);
}

// `Arc` counts down with release and then has a fence, and fences are not followed. So counting down with
// release acquires as well. It can hide a race of code that counts down so and forgets the fence.
enum { RELEASE = 3, ACQUIRE_RELEASE = 4 };
extern int64_t __real___tsan_atomic64_fetch_sub(volatile int64_t *count, int64_t by, int order);
int64_t __wrap___tsan_atomic64_fetch_sub(volatile int64_t *count, int64_t by, int order) {
    return __real___tsan_atomic64_fetch_sub(count, by, order == RELEASE ? ACQUIRE_RELEASE : order);
}
