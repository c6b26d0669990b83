/* Makes the n-th call of one kind fail, among those that concern a folder: for LD_PRELOAD. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <link.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

static char kind[32], folder[PATH_MAX];
static long at;
static int code;
static _Atomic long count;

void arm(const char *new_kind, long new_at, int new_code, const char *new_folder) {
    strncpy(kind, new_kind, sizeof kind - 1);
    strncpy(folder, new_folder, sizeof folder - 1);
    at = new_at;
    code = new_code;
    count = 0;
}

int has_failed(void) { return count >= at; }

static int due(const char *called, int concerns) {
    return concerns && !strcmp(called, kind) && ++count == at;
}

static int in_folder(const char *path) {
    return folder[0] && !strncmp(path, folder, strlen(folder));
}

static int is_of_folder(int file) {
    char link[64], path[PATH_MAX] = "";
    if (!folder[0]) return 0;
    snprintf(link, sizeof link, "/proc/self/fd/%d", file);
    return readlink(link, path, sizeof path - 1) > 0 && in_folder(path);
}

/* Looked for once: dlsym frees the caller's text of dlerror, while Python allocates memory for it. */
#define REAL(name) ({ \
        static __typeof__(name) *real; \
        if (!real) real = (__typeof__(name) *)dlsym(RTLD_NEXT, #name); \
        real; \
    })
#define FAIL_IF(called, concerns, value) \
    if (due(called, concerns)) { errno = code; return value; }

#define OPEN(name) \
    int name(const char *path, int flags, ...) { \
        va_list rest; va_start(rest, flags); mode_t mode = va_arg(rest, mode_t); va_end(rest); \
        FAIL_IF("open", in_folder(path), -1) \
        return REAL(name)(path, flags, mode); \
    }
OPEN(open)
OPEN(open64)

#define ON_FILE(called, type, name, parameters, arguments, fails) \
    type name parameters { \
        FAIL_IF(called, is_of_folder(file), fails) \
        return REAL(name) arguments; \
    }
ON_FILE("read", ssize_t, read, (int file, void *data, size_t size), (file, data, size), -1)
ON_FILE("write", ssize_t, write, (int file, const void *data, size_t size), (file, data, size), -1)
ON_FILE("seek", off_t, lseek, (int file, off_t to, int whence), (file, to, whence), -1)
ON_FILE("seek", off64_t, lseek64, (int file, off64_t to, int whence), (file, to, whence), -1)
ON_FILE("fsync", int, fsync, (int file), (file), -1)
ON_FILE("mmap", void *, mmap, (void *to, size_t size, int access, int flags, int file, off_t from),
        (to, size, access, flags, file, from), MAP_FAILED)
ON_FILE("mmap", void *, mmap64,
        (void *to, size_t size, int access, int flags, int file, off64_t from),
        (to, size, access, flags, file, from), MAP_FAILED)

int rename(const char *from, const char *to) {
    FAIL_IF("rename", in_folder(to), -1)
    return REAL(rename)(from, to);
}

int link(const char *from, const char *to) {
    FAIL_IF("rename", in_folder(to), -1)
    return REAL(link)(from, to);
}

int pthread_create(pthread_t *thread, const pthread_attr_t *how, void *(*work)(void *), void *with) {
    if (due("thread", 1)) return code;
    return REAL(pthread_create)(thread, how, work, with);
}

/* PyAV loads its libraries for itself, where RTLD_NEXT does not find them. OpenCV has others. */
static int is_encoder(struct dl_phdr_info *library, size_t size, void *found) {
    if (!strstr(library->dlpi_name, "libavcodec") || strstr(library->dlpi_name, "opencv")) return 0;
    *(void **)found = dlopen(library->dlpi_name, RTLD_NOLOAD | RTLD_LAZY);
    return 1;
}

int avcodec_send_frame(void *encoder, const void *frame) {
    static int (*real)(void *, const void *);
    if (due("encoder", 1)) return -code;
    if (!real) {
        void *library = NULL;
        dl_iterate_phdr(is_encoder, &library);
        real = (int (*)(void *, const void *))dlsym(library, "avcodec_send_frame");
    }
    return real(encoder, frame);
}
