#include "kernels.h"

#include <cstring>

// No pointer of a loop overlaps another; the callers see to it.
#define RESKD_SIMD _Pragma("GCC ivdep")

namespace reskd::cpu {
namespace {

// Note [One source, several instruction sets]
// A package is compiled on one machine and may run on another, so it cannot be built for the processor at hand alone. The
// loops are written once, without intrinsics, as always_inline bodies; RESKD_KERNELS compiles them again under each
// `target`, and kernels() asks the processor. Files of one extension share their compiler flags, so a file for each
// instruction set, as PyTorch has them, would need a build system of its own.

template <typename Acc>
RESKD_INLINE void blend(const Acc* __restrict low, const Acc* __restrict high, Acc weight_high, Acc* __restrict out,
                        int num_channels) {
  const Acc weight_low = 1 - weight_high;
  RESKD_SIMD for (int c = 0; c < num_channels; ++c) out[c] = weight_low * low[c] + weight_high * high[c];
}

template <typename Acc>
RESKD_INLINE void add_share(const Acc* __restrict from, Acc share, Acc* __restrict to, int num_channels) {
  RESKD_SIMD for (int c = 0; c < num_channels; ++c) to[c] += share * from[c];
}

// One pixel: the difference's square, and the difference's shares in the gradients of the two columns beside it.
template <typename Acc, bool kGradient>
RESKD_INLINE void pixel(const Acc* __restrict low, const Acc* __restrict high, Acc weight_high,
                        const Acc* __restrict target, Acc* __restrict squares, Acc* __restrict gathered_low,
                        Acc* __restrict gathered_high, int num_channels) {
  const Acc weight_low = 1 - weight_high;
  RESKD_SIMD for (int c = 0; c < num_channels; ++c) {
    const Acc difference = weight_low * low[c] + weight_high * high[c] - target[c];
    squares[c] += difference * difference;
    if (kGradient) {
      gathered_low[c] += weight_low * difference;
      gathered_high[c] += weight_high * difference;
    }
  }
}

// The same where both neighbours are the last column.
template <typename Acc, bool kGradient>
RESKD_INLINE void last_pixel(const Acc* __restrict low, Acc weight_high, const Acc* __restrict target,
                             Acc* __restrict squares, Acc* __restrict gathered, int num_channels) {
  const Acc weight_low = 1 - weight_high;
  RESKD_SIMD for (int c = 0; c < num_channels; ++c) {
    const Acc difference = weight_low * low[c] + weight_high * low[c] - target[c];
    squares[c] += difference * difference;
    if (kGradient) gathered[c] += difference;
  }
}

template <typename Acc, bool kGradient>
RESKD_INLINE void row_body(const RowTask<Acc>& task) {
  const int num_channels = task.num_channels;
  for (int x = 0; x < task.num_source_columns; ++x) {
    blend(task.source_low + x * task.source_stride, task.source_high + x * task.source_stride, task.weight_high,
          task.blended + int64_t(x) * num_channels, num_channels);
  }
  std::memset(task.squares, 0, sizeof(Acc) * num_channels);
  if (kGradient) std::memset(task.gathered, 0, sizeof(Acc) * num_channels * task.num_source_columns);
  for (int x = 0; x < task.num_columns; ++x) {
    const Neighbours<Acc> at = task.columns[x];
    const int64_t low = int64_t(at.low) * num_channels, high = int64_t(at.high) * num_channels;
    const Acc* target = task.target + x * task.target_stride;
    if (at.low == at.high) {
      last_pixel<Acc, kGradient>(task.blended + low, at.weight_high, target, task.squares, task.gathered + low,
                                 num_channels);
    } else {
      pixel<Acc, kGradient>(task.blended + low, task.blended + high, at.weight_high, target, task.squares,
                            task.gathered + low, task.gathered + high, num_channels);
    }
  }
  double* __restrict totals = task.totals;
  const Acc* __restrict squares = task.squares;
  RESKD_SIMD for (int c = 0; c < num_channels; ++c) totals[c] += squares[c];
  if (!kGradient) return;
  const bool last = task.gradient_low == task.gradient_high;
  for (int x = 0; x < task.num_source_columns; ++x) {
    const Acc* gathered = task.gathered + int64_t(x) * num_channels;
    add_share(gathered, last ? Acc(1) : 1 - task.weight_high, task.gradient_low + x * task.gradient_stride,
              num_channels);
    if (!last) add_share(gathered, task.weight_high, task.gradient_high + x * task.gradient_stride, num_channels);
  }
}

template <typename Acc>
RESKD_INLINE void row_choice(const RowTask<Acc>& task) {
  if (task.gradient_low != nullptr) {
    row_body<Acc, true>(task);
  } else {
    row_body<Acc, false>(task);
  }
}

template <typename T, typename Acc>
RESKD_INLINE void load_body(Strided<const T> from, Acc* to_PC, int num_pixels, int num_channels) {
  for (int p = 0; p < num_pixels; ++p) {
    const T* __restrict source = from.data + p * from.pixel_stride;
    Acc* __restrict to = to_PC + int64_t(p) * num_channels;
    if (from.channel_stride == 1) {
      RESKD_SIMD for (int c = 0; c < num_channels; ++c) to[c] = widen(source[c]);
    } else {
      for (int c = 0; c < num_channels; ++c) to[c] = widen(source[c * from.channel_stride]);
    }
  }
}

template <typename T, typename Acc>
RESKD_INLINE void store_body(const Acc* from_PC, Strided<T> into, int num_pixels, int num_channels, Acc factor) {
  for (int p = 0; p < num_pixels; ++p) {
    const Acc* __restrict from = from_PC + int64_t(p) * num_channels;
    T* __restrict to = into.data + p * into.pixel_stride;
    if (into.channel_stride == 1) {
      RESKD_SIMD for (int c = 0; c < num_channels; ++c) narrow(factor * from[c], to[c]);
    } else {
      for (int c = 0; c < num_channels; ++c) narrow(factor * from[c], to[c * into.channel_stride]);
    }
  }
}

template <typename T, typename Acc>
RESKD_INLINE void scale_body(const T* __restrict from, T* __restrict to, int64_t num_elements, Acc factor) {
  RESKD_SIMD for (int64_t i = 0; i < num_elements; ++i) narrow(factor * widen(from[i]), to[i]);
}

#define RESKD_KERNELS(name, target)                                                                        \
  namespace name {                                                                                         \
  template <typename Acc>                                                                                  \
  target void row(const RowTask<Acc>& task) {                                                              \
    row_choice(task);                                                                                      \
  }                                                                                                        \
  template <typename T, typename Acc>                                                                      \
  target void load(Strided<const T> from, Acc* to_PC, int num_pixels, int num_channels) {                  \
    load_body(from, to_PC, num_pixels, num_channels);                                                      \
  }                                                                                                        \
  template <typename T, typename Acc>                                                                      \
  target void store(const Acc* from_PC, Strided<T> to, int num_pixels, int num_channels, Acc factor) {     \
    store_body(from_PC, to, num_pixels, num_channels, factor);                                             \
  }                                                                                                        \
  template <typename T, typename Acc>                                                                      \
  target void scale(const T* from, T* to, int64_t num_elements, Acc factor) {                              \
    scale_body(from, to, num_elements, factor);                                                            \
  }                                                                                                        \
  template <typename T, typename Acc>                                                                      \
  constexpr Access<T, Acc> access{load<T, Acc>, store<T, Acc>, scale<T, Acc>};                             \
  const Kernels table{#name,                row<float>,           row<double>,              access<float, float>, \
                      access<double, double>, access<Half, float>, access<BFloat16, float>};                \
  }

RESKD_KERNELS(baseline, )
#if defined(__x86_64__)
RESKD_KERNELS(avx2, __attribute__((target("avx2,fma"))))
RESKD_KERNELS(avx512, __attribute__((target("avx512f,avx512bw,avx512dq,avx512vl,avx2,fma,prefer-vector-width=512"))))
#endif

const Kernels& choose() {
#if defined(__x86_64__)
  if (__builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") && __builtin_cpu_supports("avx512dq") &&
      __builtin_cpu_supports("avx512vl")) {
    return avx512::table;
  }
  if (__builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma")) return avx2::table;
#endif
  return baseline::table;
}

}  // namespace

const Kernels& kernels() {
  static const Kernels& chosen = choose();
  return chosen;
}

}  // namespace reskd::cpu
