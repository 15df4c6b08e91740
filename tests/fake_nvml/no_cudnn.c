/* What CTranslate2 with CUDA does where cuDNN can't be loaded, on a machine without a GPU.
 *
 * Preloaded into a real worker (LD_PRELOAD). In the process that was given the device named in CT2_LACKS_CUDNN,
 * it takes the place of CTranslate2's encoder: the first encode prints cuDNN's own words and aborts.
 * Two libraries from this one file: with -DENCODER the encoder, without it what loads it into the global
 * scope, where the linker looks before it looks into CTranslate2's own.
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#ifdef ENCODER
/* ctranslate2::models::Whisper::encode(StorageView const&, bool) */
void _ZN11ctranslate26models7Whisper6encodeERKNS_11StorageViewEb(void) {
    fputs("Unable to load any of {libcudnn_ops.so.9.1.0, libcudnn_ops.so.9.1, libcudnn_ops.so.9, libcudnn_ops.so}\n"
          "Invalid handle. Cannot load symbol cudnnCreateTensorDescriptor\n", stderr);
    abort();
}
#else
__attribute__((constructor)) static void load(void) {
    const char *mine = getenv("CUDA_VISIBLE_DEVICES"), *lacks = getenv("CT2_LACKS_CUDNN");
    Dl_info own;
    char path[4096];
    if (!mine || !lacks || strcmp(mine, lacks) || !dladdr((void *)load, &own)) return;
    snprintf(path, sizeof path, "%s", own.dli_fname);
    strcpy(strrchr(path, '/') + 1, "encoder.so");
    if (!dlopen(path, RTLD_NOW | RTLD_GLOBAL)) fprintf(stderr, "%s\n", dlerror());
}
#endif
