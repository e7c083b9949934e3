// Shared by all kernels: number types, vector loads, a sum over a block.
#pragma once

#include "../half.h"
#include "../interpolate_mse.h"
#include "problem.h"

#ifdef __CUDACC__
#include <cuda_bf16.h>
#include <cuda_fp16.h>
#endif

namespace reskd::cuda {

#ifdef __CUDACC__
__device__ __forceinline__ float to_float(float value) { return value; }
__device__ __forceinline__ float to_float(Half value) { return __half2float(__half(__half_raw{value.bits})); }
__device__ __forceinline__ float to_float(BFloat16 value) {
  return __bfloat162float(__nv_bfloat16(__nv_bfloat16_raw{value.bits}));
}
__device__ __forceinline__ void from_float(float value, float& out) { out = value; }
__device__ __forceinline__ void from_float(float value, Half& out) {
  out.bits = static_cast<__half_raw>(__float2half_rn(value)).x;
}
__device__ __forceinline__ void from_float(float value, BFloat16& out) {
  out.bits = static_cast<__nv_bfloat16_raw>(__float2bfloat16_rn(value)).x;
}
#else
template <typename T>
float to_float(T value) {
  return widen(value);
}
template <typename T>
void from_float(float value, T& out) {
  narrow(value, out);
}
#endif

// kSize adjacent elements, loaded and stored together.
template <typename T, int kSize>
struct alignas(sizeof(T) * kSize < 16 ? sizeof(T) * kSize : 16) Pack {
  T element[kSize];
};

template <int kSize, typename T>
__device__ __forceinline__ Pack<T, kSize> load(const T* from) {
  return *reinterpret_cast<const Pack<T, kSize>*>(from);
}

// Sums the threads' values in an order that depends on num_threads alone. All threads must call it.
__device__ __forceinline__ double sum_of_block(double value, int num_threads, double* shared_sums) {
  const int thread = threadIdx.x;
  shared_sums[thread] = value;
  __syncthreads();
  for (int half = kMaxThreads / 2; half > 0; half /= 2) {
    if (thread < half && thread + half < num_threads) shared_sums[thread] += shared_sums[thread + half];
    __syncthreads();
  }
  return shared_sums[0];
}

}  // namespace reskd::cuda
