/* A CUDA driver of the tests' own. STUB_CUDA says what it is like:
 *   none    finds no GPU (as without the variable)    one     has one GPU
 *   hang    never answers                             crash   dies
 *   early   is not ready yet, as before NVIDIA's fabric manager runs
 * STUB_CUDA_FULL, whatever it is: no memory is left, not even for a context.
 * STUB_CUDA_VERSION is the CUDA version that it takes, such as 13000. Every function that
 * is not here, but that PyCUDA wants, is added to it when it is compiled: it finds no GPU.
 */
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define OUT_OF_MEMORY 2
#define NO_DEVICE 100
#define SYSTEM_NOT_READY 802

static int one(void) { const char *is = getenv("STUB_CUDA"); return is && !strcmp(is, "one"); }

int cuInit(unsigned flags) {
  const char *is = getenv("STUB_CUDA");
  if (is && !strcmp(is, "hang")) for (;;) pause();
  if (is && !strcmp(is, "crash")) abort();
  if (is && !strcmp(is, "early")) return SYSTEM_NOT_READY;
  return one() ? 0 : NO_DEVICE;
}
int cuDriverGetVersion(int *version) {
  const char *is = getenv("STUB_CUDA_VERSION");
  *version = is ? atoi(is) : 13000;
  return 0;
}
int cuDeviceGetCount(int *count) { *count = one(); return one() ? 0 : NO_DEVICE; }
int cuDeviceGet(int *device, int number) { *device = number; return one() ? 0 : NO_DEVICE; }
int cuDeviceGetName(char *name, int size, int device) { strncpy(name, "Stub GPU", size); return 0; }
int cuDeviceGetUuid(char *uuid, int device) { memset(uuid, 0xab, 16); return 0; }
int cuDeviceGetAttribute(int *value, int which, int device) {
  const char *is = getenv("STUB_CUDA_CAPABILITY");
  int capability = is ? atoi(is) : 87;
  *value = which == 75 ? capability / 10 : capability % 10;
  return 0;
}
int cuDeviceTotalMem_v2(size_t *total, int device) { *total = 4ull << 30; return 0; }
int cuDevicePrimaryCtxRetain(void **context, int device) {
  *context = &one;
  if (getenv("STUB_CUDA_FULL")) return OUT_OF_MEMORY;
  return one() ? 0 : NO_DEVICE;
}
int cuCtxSetCurrent(void *context) { return 0; }
int cuMemGetInfo_v2(size_t *free_, size_t *total) { *free_ = 3u << 30; *total = 4ull << 30; return 0; }
int cuGetErrorName(int code, const char **name) {
  *name = code == NO_DEVICE ? "CUDA_ERROR_NO_DEVICE" : "CUDA_ERROR_UNKNOWN";
  return 0;
}
int cuGetErrorString(int code, const char **text) {
  *text = code == NO_DEVICE ? "no CUDA-capable device is detected" : "unknown error";
  return 0;
}
