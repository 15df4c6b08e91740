/* A libnvidia-ml.so.1 without a GPU, loaded by the unmodified pynvml.
 *
 * Everything it says stands in the file `state` beside the library, read again whenever it
 * changes: lines of a key, one blank and a value. All keys are optional but `count`.
 *
 *   count 2                     GPUs
 *   error.NAME 999              this call (`*`: every call) gives this NVML error
 *   delay.NAME 60000            this call (`*`: every call) takes so many milliseconds, or until the line is gone
 *   gpu0.error.NAME, gpu0.delay.NAME        the same for one GPU
 *   gpu0.lost 1                 every call on it gives GPU_IS_LOST (15)
 *   gpu0.uuid, .name, .bus, .total, .used (bytes), .utilization (%), .temperature (C), .power (mW),
 *   gpu0.throttle (mask), .ecc, .remapped "0 0 0 0", .recovery (field 230), .affinity (mask of CPUs)
 *   gpu0.pids "12 34", gpu0.bytes_per_pid N   used grows by N for each of them that is alive
 *   follow N                    used grows by N for each real process that has CUDA_VISIBLE_DEVICES=<the GPU's uuid>
 *   gpu0.xids "79 31"           one event each; only what is added after registering is told
 *   gpu0.xids "48@1 31@1/0"     the same, attributed to a GPU instance, or to a compute instance in it
 *   gpu0.mig "MIG-a - MIG-b"    MIG mode is on; a dash is a hole; they are instances 0/0, 1/0, 2/0
 * A figure without a line is NOT_SUPPORTED (3). Calls of pynvml that are not here are made by
 * `build.py`, and answer NOT_SUPPORTED.
 */
#define _GNU_SOURCE
#include <ctype.h>
#include <dirent.h>
#include <dlfcn.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

enum { OK = 0, INVALID = 2, NOT_SUPPORTED = 3, NOT_FOUND = 6, TOO_SMALL = 7, TIMEOUT = 10, LOST = 15 };
enum { XID_EVENT = 8, MIG_MOST = 7, STEP_MS = 50 };
typedef unsigned long long u64;
typedef long handle; /* GPU n is n + 1; its MIG device m is 1000 * (n + 1) + m */

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static char text[65536];
static struct stat seen;

static void wait_ms(long ms) {
    nanosleep(&(struct timespec){ms / 1000, (ms % 1000) * 1000000L}, NULL);
}

/* Give the path of a file beside this library. */
static const char *beside(const char *name, char path[4096]) {
    Dl_info own;
    dladdr((void *)beside, &own);
    snprintf(path, 4000, "%s", own.dli_fname);
    return strcpy(strrchr(path, '/') + 1, name) ? path : NULL;
}

/* Bring `text` up to date with the state file. The lock is held. */
static void refresh(void) {
    static char path[4096];
    if (!path[0]) beside("state", path);
    struct stat now;
    if (stat(path, &now) || (now.st_ino == seen.st_ino && now.st_mtim.tv_sec == seen.st_mtim.tv_sec &&
                             now.st_mtim.tv_nsec == seen.st_mtim.tv_nsec && now.st_size == seen.st_size))
        return;
    FILE *file = fopen(path, "r");
    if (!file) return;
    text[0] = '\n';
    text[1 + fread(text + 1, 1, sizeof text - 2, file)] = 0;
    fclose(file);
    seen = now;
}

/* Copy the value of a key; 0 where there is no such line. */
static int look(const char *key, char *value, size_t size) {
    char start[160];
    snprintf(start, sizeof start, "\n%s ", key);
    pthread_mutex_lock(&lock);
    refresh();
    char *found = strstr(text, start);
    if (found) {
        found += strlen(start);
        snprintf(value, size, "%.*s", (int)strcspn(found, "\n"), found);
    }
    pthread_mutex_unlock(&lock);
    return found != NULL;
}

static int number(const char *key, long *value) {
    char digits[64];
    if (!look(key, digits, sizeof digits)) return 0;
    *value = strtol(digits, NULL, 0);
    return 1;
}

static long gpu_of(handle h) { return (h >= 1000 ? h / 1000 : h) - 1; }

static int gpu_text(handle h, const char *name, char *value, size_t size) {
    char key[128];
    snprintf(key, sizeof key, "gpu%ld.%s", gpu_of(h), name);
    return look(key, value, size);
}

static int gpu_number(handle h, const char *name, long *value) {
    char key[128];
    snprintf(key, sizeof key, "gpu%ld.%s", gpu_of(h), name);
    return number(key, value);
}

static long asked(const char *kind, const char *call, handle h) {
    char key[128];
    long value = 0;
    snprintf(key, sizeof key, "%s.*", kind);
    if (number(key, &value)) return value;
    snprintf(key, sizeof key, "%s.%s", kind, call);
    if (number(key, &value)) return value;
    return h && gpu_number(h, key, &value) ? value : 0;
}

/* What every call does first: take its time, and fail where that is wanted. */
static int enter(const char *call, handle h) {
    long lost = 0;
    for (long waited = 0; waited < asked("delay", call, h); waited += STEP_MS) wait_ms(STEP_MS);
    if (h && gpu_number(h, "lost", &lost) && lost) return LOST;
    return (int)asked("error", call, h);
}

#define ENTER(h) do { int failed = enter(__func__, (handle)(h)); if (failed) return failed; } while (0)

static int give(handle h, const char *name, unsigned *value) {
    long found;
    if (!gpu_number(h, name, &found)) return NOT_SUPPORTED;
    *value = (unsigned)found;
    return OK;
}

/* The n-th word of a line of one GPU; 0 where there are fewer. */
static int word(handle h, const char *name, int n, char *value, size_t size) {
    char line[4096], *rest = line, *one = NULL;
    if (!gpu_text(h, name, line, sizeof line)) return 0;
    for (int i = 0; i <= n; i++)
        if (!(one = strtok_r(rest, " ", &rest))) return 0;
    snprintf(value, size, "%s", one);
    return 1;
}

/* Real processes that were given this device, and those that the state names: their pids. */
static int pids_of(handle h, const char *uuid, int *pids, int most) {
    int count = 0;
    long bytes;
    char one[64];
    for (int i = 0; word(h, "pids", i, one, sizeof one) && count < most; i++)
        if (!kill(atoi(one), 0)) pids[count++] = atoi(one);
    DIR *proc = number("follow", &bytes) ? opendir("/proc") : NULL;
    char wanted[160];
    int length = snprintf(wanted, sizeof wanted, "CUDA_VISIBLE_DEVICES=%s", uuid);
    for (struct dirent *entry; proc && (entry = readdir(proc)) && count < most;) {
        static __thread char environ_text[65536];
        char path[300];
        if (!isdigit((unsigned char)entry->d_name[0])) continue;
        snprintf(path, sizeof path, "/proc/%s/environ", entry->d_name);
        FILE *file = fopen(path, "r");
        if (!file) continue;
        size_t size = fread(environ_text, 1, sizeof environ_text - 1, file);
        fclose(file);
        environ_text[size] = 0;
        char *found = memmem(environ_text, size, wanted, length);
        if (found && found[length] == 0) pids[count++] = atoi(entry->d_name);
    }
    if (proc) closedir(proc);
    return count;
}

int nvmlDeviceGetUUID(handle h, char *value, unsigned size) {
    ENTER(h);
    if (h >= 1000) return word(h, "mig", h % 1000, value, size) ? OK : NOT_FOUND;
    return gpu_text(h, "uuid", value, size) ? OK : NOT_SUPPORTED;
}

static int memory_of(handle h, u64 *total, u64 *used) {
    char uuid[128] = "";
    int pids[256], migs = 0;
    long all, now = 0, per_pid = 0, follow = 0;
    if (!gpu_number(h, "total", &all)) return NOT_SUPPORTED;
    gpu_number(h, "used", &now);
    gpu_number(h, "bytes_per_pid", &per_pid);
    number("follow", &follow);
    if (h >= 1000) word(h, "mig", h % 1000, uuid, sizeof uuid);
    else gpu_text(h, "uuid", uuid, sizeof uuid);
    while (h >= 1000 && migs < MIG_MOST && word(h, "mig", migs, (char[128]){0}, 128)) migs++;
    *used = (u64)now + (u64)pids_of(h, uuid, pids, 256) * (u64)(follow ? follow : per_pid);
    *total = (u64)all / (migs ? migs : 1);
    return OK;
}

int nvmlInitWithFlags(unsigned flags) { (void)flags; ENTER(0); return OK; }
int nvmlShutdown(void) { ENTER(0); return OK; }
const char *nvmlErrorString(int code) {
    static __thread char words[40];
    snprintf(words, sizeof words, "fake error %d", code);
    return words;
}

int nvmlDeviceGetCount_v2(unsigned *count) {
    long found = 0;
    ENTER(0);
    number("count", &found);
    *count = (unsigned)found;
    return OK;
}

int nvmlDeviceGetHandleByIndex_v2(unsigned index, handle *h) {
    *h = (handle)index + 1;
    ENTER(*h);
    return OK;
}

int nvmlDeviceGetName(handle h, char *value, unsigned size) {
    ENTER(h);
    return gpu_text(h, "name", value, size) ? OK : NOT_SUPPORTED;
}

struct pci { char legacy[16]; unsigned domain, bus, device, id, subsystem; char bus_id[32]; };
int nvmlDeviceGetPciInfo_v3(handle h, struct pci *pci) {
    ENTER(h);
    memset(pci, 0, sizeof *pci);
    return gpu_text(h, "bus", pci->bus_id, sizeof pci->bus_id) ? OK : NOT_SUPPORTED;
}

struct memory_v2 { unsigned version; u64 total, reserved, free, used; };
int nvmlDeviceGetMemoryInfo_v2(handle h, struct memory_v2 *memory) {
    ENTER(h);
    int code = memory_of(h, &memory->total, &memory->used);
    memory->free = memory->total - memory->used;
    return code;
}

struct memory_v1 { u64 total, free, used; };
int nvmlDeviceGetMemoryInfo(handle h, struct memory_v1 *memory) {
    ENTER(h);
    return memory_of(h, &memory->total, &memory->used);
}

int nvmlDeviceGetUtilizationRates(handle h, unsigned rates[2]) { ENTER(h); rates[1] = 0; return give(h, "utilization", rates); }
int nvmlDeviceGetTemperature(handle h, int sensor, unsigned *value) { (void)sensor; ENTER(h); return give(h, "temperature", value); }
int nvmlDeviceGetPowerUsage(handle h, unsigned *value) { ENTER(h); return give(h, "power", value); }

static int give_long(handle h, const char *name, u64 *value) {
    unsigned found = 0;
    int code = give(h, name, &found);
    *value = found;
    return code;
}

int nvmlDeviceGetCurrentClocksEventReasons(handle h, u64 *value) { ENTER(h); return give_long(h, "throttle", value); }
int nvmlDeviceGetCurrentClocksThrottleReasons(handle h, u64 *value) { ENTER(h); return give_long(h, "throttle", value); }
int nvmlDeviceGetTotalEccErrors(handle h, int kind, int counter, u64 *value) { (void)kind; (void)counter; ENTER(h); return give_long(h, "ecc", value); }

int nvmlDeviceGetRemappedRows(handle h, unsigned *corrected, unsigned *uncorrected, unsigned *pending, unsigned *failed) {
    unsigned *all[] = {corrected, uncorrected, pending, failed};
    char one[32];
    ENTER(h);
    for (int i = 0; i < 4; i++) {
        if (!word(h, "remapped", i, one, sizeof one)) return NOT_SUPPORTED;
        *all[i] = (unsigned)atoi(one);
    }
    return OK;
}

struct field { unsigned id, scope; long long at, took; int kind, code; union { unsigned small; u64 large; } value; };
int nvmlDeviceGetFieldValues(handle h, int count, struct field *fields) {
    ENTER(h);
    for (int i = 0; i < count; i++) {
        fields[i].kind = 1;
        fields[i].value.large = 0;
        fields[i].code = fields[i].id == 230 ? give(h, "recovery", &fields[i].value.small) : NOT_SUPPORTED;
    }
    return OK;
}

int nvmlDeviceGetCpuAffinity(handle h, unsigned size, unsigned long *mask) {
    ENTER(h);
    long found;
    if (!gpu_number(h, "affinity", &found)) return NOT_SUPPORTED;
    memset(mask, 0, size * sizeof *mask);
    if (size) mask[0] = (unsigned long)found;
    return OK;
}

struct process { unsigned pid; u64 bytes; unsigned gpu_instance, compute_instance; };
int nvmlDeviceGetComputeRunningProcesses_v3(handle h, unsigned *count, struct process *processes) {
    char uuid[128] = "";
    int pids[256];
    ENTER(h);
    gpu_text(h, "uuid", uuid, sizeof uuid);
    unsigned found = (unsigned)pids_of(h, uuid, pids, 256), room = processes ? *count : 0;
    *count = found;
    if (found > room) return TOO_SMALL;
    for (unsigned i = 0; i < found; i++) processes[i] = (struct process){(unsigned)pids[i], 0, ~0u, ~0u};
    return OK;
}

/* --- MIG --------------------------------------------------------------------------- */

int nvmlDeviceGetMigMode(handle h, unsigned *now, unsigned *pending) {
    char all[4096];
    ENTER(h);
    *now = *pending = (unsigned)gpu_text(h, "mig", all, sizeof all);
    return OK;
}

int nvmlDeviceGetMaxMigDeviceCount(handle h, unsigned *count) { ENTER(h); *count = MIG_MOST; return OK; }

int nvmlDeviceGetMigDeviceHandleByIndex(handle h, unsigned index, handle *mig) {
    char uuid[128];
    ENTER(h);
    if (!word(h, "mig", (int)index, uuid, sizeof uuid) || uuid[0] == '-') return NOT_FOUND;
    *mig = 1000 * (gpu_of(h) + 1) + index;
    return OK;
}

int nvmlDeviceGetGpuInstanceId(handle h, unsigned *id) { ENTER(h); *id = (unsigned)(h % 1000); return OK; }
int nvmlDeviceGetComputeInstanceId(handle h, unsigned *id) { ENTER(h); *id = 0; return OK; }

#include "events.c"
