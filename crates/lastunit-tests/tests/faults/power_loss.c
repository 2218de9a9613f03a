/* Loaded into a server (LD_PRELOAD), it writes down what the server asks of the disk: every write to its database
 * files, and every sync. From that the test makes the disk as a power loss would have left it.
 *
 * POWER_LOSS_FILE is the database; its log and journal have longer names. POWER_LOSS_LOG is appended to, a record at a
 * time; records are in the order of what they tell of. With POWER_LOSS_LIES, syncs of files with that ending do nothing.
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <unistd.h>

enum kind { CREATED = 1, WROTE, TRUNCATED, SYNC_BEGUN, SYNC_ENDED, UNLINKED };

#define MAX_FILES 65536
#define FOLDER 1 /* no file's inode */

/* The inode behind a descriptor, if it is one of the database's; and whether its syncs are lies. */
static uint64_t inode_of[MAX_FILES];
static char lies[MAX_FILES];

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static const char *database, *lying_suffix;
static size_t database_length, folder_length;
static int log_fd = -1;
static uint64_t syncs;

static void start(void) __attribute__((constructor));
static void start(void)
{
    database = getenv("POWER_LOSS_FILE");
    lying_suffix = getenv("POWER_LOSS_LIES");
    const char *log = getenv("POWER_LOSS_LOG");
    if (!database || !log)
        return;
    database_length = strlen(database);
    folder_length = strrchr(database, '/') - database;
    int (*real_open)(const char *, int, ...) = dlsym(RTLD_NEXT, "open");
    log_fd = real_open(log, O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC, 0644);
    if (log_fd < 0)
        abort();
}

static void record(enum kind kind, uint64_t file, uint64_t at, const void *data, uint64_t length)
{
    uint64_t head[4] = {kind, file, at, length};
    struct iovec parts[2] = {{head, sizeof head}, {(void *)data, length}};
    if (writev(log_fd, parts, 2) != (ssize_t)(sizeof head + length))
        abort();
}

static int ends_with(const char *text, const char *end)
{
    size_t length = strlen(text), of_end = strlen(end);
    return length >= of_end && strcmp(text + length - of_end, end) == 0;
}

/* The shared memory beside the log isn't kept over a restart. */
static int is_watched(const char *path)
{
    return log_fd >= 0 && strncmp(path, database, database_length) == 0 && !ends_with(path, "-shm");
}

static int is_folder(const char *path)
{
    return log_fd >= 0 && strlen(path) == folder_length && strncmp(path, database, folder_length) == 0;
}

static uint64_t watched(int fd)
{
    return fd >= 0 && fd < MAX_FILES ? inode_of[fd] : 0;
}

static int open_with(const char *name, const char *path, int flags, mode_t mode)
{
    int (*real)(const char *, int, ...) = dlsym(RTLD_NEXT, name);
    if (!is_watched(path) && !is_folder(path))
        return real(path, flags, mode);
    pthread_mutex_lock(&lock);
    int existed = access(path, F_OK) == 0;
    int fd = real(path, flags, mode);
    struct stat status;
    if (fd >= MAX_FILES || (fd >= 0 && fstat(fd, &status) != 0))
        abort();
    if (fd >= 0) {
        inode_of[fd] = is_folder(path) ? FOLDER : status.st_ino;
        lies[fd] = lying_suffix && ends_with(path, lying_suffix);
        if (!existed)
            record(CREATED, status.st_ino, 0, path, strlen(path));
    }
    pthread_mutex_unlock(&lock);
    return fd;
}

static mode_t mode_in(int flags, va_list rest)
{
    return flags & O_CREAT ? va_arg(rest, mode_t) : 0;
}

int open(const char *path, int flags, ...)
{
    va_list rest;
    va_start(rest, flags);
    mode_t mode = mode_in(flags, rest);
    va_end(rest);
    return open_with("open", path, flags, mode);
}

int open64(const char *path, int flags, ...)
{
    va_list rest;
    va_start(rest, flags);
    mode_t mode = mode_in(flags, rest);
    va_end(rest);
    return open_with("open64", path, flags, mode);
}

int close(int fd)
{
    static int (*real)(int);
    if (!real)
        real = dlsym(RTLD_NEXT, "close");
    if (watched(fd))
        inode_of[fd] = 0;
    return real(fd);
}

ssize_t write(int fd, const void *data, size_t length)
{
    static ssize_t (*real)(int, const void *, size_t);
    if (!real)
        real = dlsym(RTLD_NEXT, "write");
    if (!watched(fd))
        return real(fd, data, length);
    pthread_mutex_lock(&lock);
    off_t at = lseek(fd, 0, SEEK_CUR);
    ssize_t written = real(fd, data, length);
    if (written > 0)
        record(WROTE, watched(fd), at, data, written);
    pthread_mutex_unlock(&lock);
    return written;
}

static ssize_t write_at(const char *name, int fd, const void *data, size_t length, off_t at)
{
    ssize_t (*real)(int, const void *, size_t, off_t) = dlsym(RTLD_NEXT, name);
    if (!watched(fd))
        return real(fd, data, length, at);
    pthread_mutex_lock(&lock);
    ssize_t written = real(fd, data, length, at);
    if (written > 0)
        record(WROTE, watched(fd), at, data, written);
    pthread_mutex_unlock(&lock);
    return written;
}

ssize_t pwrite(int fd, const void *data, size_t length, off_t at)
{
    return write_at("pwrite", fd, data, length, at);
}

ssize_t pwrite64(int fd, const void *data, size_t length, off64_t at)
{
    return write_at("pwrite64", fd, data, length, at);
}

static int truncate_to(const char *name, int fd, off_t length)
{
    int (*real)(int, off_t) = dlsym(RTLD_NEXT, name);
    if (!watched(fd))
        return real(fd, length);
    pthread_mutex_lock(&lock);
    int result = real(fd, length);
    if (result == 0)
        record(TRUNCATED, watched(fd), length, NULL, 0);
    pthread_mutex_unlock(&lock);
    return result;
}

int ftruncate(int fd, off_t length)
{
    return truncate_to("ftruncate", fd, length);
}

int ftruncate64(int fd, off64_t length)
{
    return truncate_to("ftruncate64", fd, length);
}

/* What was written before a sync begins is on the disk when it ends; what another thread writes meanwhile may not be. */
static int sync_with(const char *name, int fd)
{
    int (*real)(int) = dlsym(RTLD_NEXT, name);
    if (!watched(fd))
        return real(fd);
    if (lies[fd])
        return 0;
    pthread_mutex_lock(&lock);
    uint64_t ticket = (uint64_t)getpid() << 32 | ++syncs;
    record(SYNC_BEGUN, watched(fd), ticket, NULL, 0);
    pthread_mutex_unlock(&lock);
    int result = real(fd);
    pthread_mutex_lock(&lock);
    if (result == 0)
        record(SYNC_ENDED, watched(fd), ticket, NULL, 0);
    pthread_mutex_unlock(&lock);
    return result;
}

int fsync(int fd)
{
    return sync_with("fsync", fd);
}

int fdatasync(int fd)
{
    return sync_with("fdatasync", fd);
}

int unlink(const char *path)
{
    int (*real)(const char *) = dlsym(RTLD_NEXT, "unlink");
    if (!is_watched(path))
        return real(path);
    pthread_mutex_lock(&lock);
    int result = real(path);
    if (result == 0)
        record(UNLINKED, 0, 0, path, strlen(path));
    pthread_mutex_unlock(&lock);
    return result;
}
