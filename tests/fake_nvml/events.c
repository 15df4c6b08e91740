/* Events of the fake NVML: one set for one GPU. A part of fake_nvml.c.
 *
 * Each registration adds a line, the GPU's number, to the file `listeners` beside the library.
 */

struct set { handle h; int told; };
static int xid_count(handle h) {
    char one[32];
    int count = 0;
    while (word(h, "xids", count, one, sizeof one)) count++;
    return count;
}

int nvmlEventSetCreate(struct set **set) { ENTER(0); *set = calloc(1, sizeof **set); return OK; }
int nvmlEventSetFree(struct set *set) { ENTER(0); free(set); return OK; }
int nvmlDeviceGetSupportedEventTypes(handle h, u64 *types) { ENTER(h); *types = XID_EVENT | 1; return OK; }

int nvmlDeviceRegisterEvents(handle h, u64 types, struct set *set) {
    ENTER(h);
    if (h >= 1000 || !(types & XID_EVENT) || set->h) return INVALID;
    set->h = h;
    set->told = xid_count(h);
    char path[4096];
    FILE *file = fopen(beside("listeners", path), "a");
    if (file) fprintf(file, "%ld\n", gpu_of(h)), fclose(file);
    return OK;
}

struct event { handle h; u64 type, data; unsigned gpu_instance, compute_instance; };
int nvmlEventSetWait_v2(struct set *set, struct event *event, unsigned most_ms) {
    char one[32];
    for (unsigned waited = 0;; waited += 5 * STEP_MS) { /* seldom: the real one sleeps in the kernel */
        ENTER(0); /* not the GPU's: the event of a GPU that falls off the bus is told */
        if (word(set->h, "xids", set->told, one, sizeof one)) break;
        if (waited >= most_ms) return TIMEOUT;
        wait_ms(5 * STEP_MS);
    }
    set->told++;
    unsigned gpu_instance = ~0u, compute_instance = ~0u;
    u64 xid = 0;
    sscanf(one, "%llu@%u/%u", &xid, &gpu_instance, &compute_instance);
    *event = (struct event){set->h, XID_EVENT, xid, gpu_instance, compute_instance};
    return OK;
}
