/* Stands for libcuda.so.1 and libnvcuvid.so.1. FAKE_NVDEC lists what it decodes: "codec:min:max" of numbers, such as
   "4:48:4096,8:144:8192"; FAKE_CUDA is the status that each call of the driver returns. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

typedef struct {
    int codec, chroma;
    unsigned bit_depth_minus_8, reserved_in[3];
    unsigned char is_supported, num_decoders;
    unsigned short output_formats;
    unsigned max_width, max_height, max_macroblocks;
    unsigned short min_width, min_height;
    unsigned char histogram, counter_bits;
    unsigned short max_bins;
    unsigned reserved_out[10];
} Capabilities;

static int has_context = 0;

static int status(void) {
    const char *text = getenv("FAKE_CUDA");
    return text ? atoi(text) : 0;
}

int cuInit(unsigned flags) { return flags ? 1 : status(); }
int cuDeviceGet(int *device, int index) { *device = index; return index > 1 ? 101 : status(); }
int cuDeviceGetName(char *name, int size, int device) { snprintf(name, size, "Fake GPU %d", device); return status(); }
int cuDriverGetVersion(int *version) { *version = 12080; return status(); }
int cuDevicePrimaryCtxRetain(void **context, int device) { *context = (void *)(size_t)(device + 7); return status(); }
int cuDevicePrimaryCtxRelease_v2(int device) { (void)device; return 0; }
int cuCtxPushCurrent_v2(void *context) { has_context = context != 0; return status(); }
int cuCtxPopCurrent_v2(void **context) { *context = 0; has_context = 0; return 0; }

int cuvidGetDecoderCaps(Capabilities *found) {
    if (!has_context) return 201; /* CUDA_ERROR_INVALID_CONTEXT */
    char *text = strdup(getenv("FAKE_NVDEC") ? getenv("FAKE_NVDEC") : ""), *rest = text, *entry;
    while ((entry = strsep(&rest, ","))) {
        int codec, least, most;
        if (sscanf(entry, "%d:%d:%d", &codec, &least, &most) == 3 && codec == found->codec && found->chroma == 1 &&
            found->bit_depth_minus_8 == 0) {
            found->is_supported = 1;
            found->num_decoders = 7;
            found->min_width = found->min_height = least;
            found->max_width = found->max_height = most;
            found->max_macroblocks = most / 16 * (most / 16);
        }
    }
    free(text);
    return 0;
}
