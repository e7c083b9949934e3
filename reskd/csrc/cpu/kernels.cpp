#include "kernels.h"

#include <cstring>

namespace reskd::cpu {
namespace {

// Note [One source, several instruction sets]
// A package is compiled on one machine and may run on another, so it cannot be built for one processor only.
// The loops are written once, as always_inline bodies over the compiler's vector types; RESKD_KERNELS compiles them
// again under each `target`, and kernels() queries the processor. Files of one extension share their compiler flags, so
// one file per instruction set, as in PyTorch, would need its own build system.

// A vector of kWidth numbers. Needs no alignment.
template <typename T, int kWidth>
struct Lanes {
  typedef T type __attribute__((vector_size(sizeof(T) * kWidth), aligned(sizeof(T)), may_alias));
};

// Note [A row in registers]
// The row goes from left to right through the columns of the small grid. The pixels between two of them are
// mixed from these two, so the two enlarged columns and the two columns of gradients stay in registers while the
// teacher's pixels are read, each once. At the next column the right ones become the left ones. A loop over pixels goes
// through memory, and took three times as long for the same arithmetic (docs/lab_notes.md).
template <typename Acc, int kWidth, bool kGradient>
struct Row {
  using Vector = typename Lanes<Acc, kWidth>::type;
  static constexpr int kVectors = kBlock / kWidth < 2 ? 1 : 2;
  static constexpr int kStep = kVectors * kWidth;

  static RESKD_INLINE const Vector& at(const Acc* data, int i) {
    return *reinterpret_cast<const Vector*>(data + i * kWidth);
  }
  static RESKD_INLINE Vector& at(Acc* data, int i) { return *reinterpret_cast<Vector*>(data + i * kWidth); }

  static RESKD_INLINE void run(const RowTask<Acc>& task) {
    using Wide = typename Lanes<double, kWidth>::type;
    Wide totals = {};
    for (int channel = 0; channel < task.num_channels; channel += kStep) {
      const Vector squares = columns(task, channel);
      totals += __builtin_convertvector(squares, Wide);
    }
    for (int i = 0; i < kWidth; ++i) task.totals[i] += totals[i];
  }

  // All columns for kStep channels. Returns partial sums of the squared differences.
  static RESKD_INLINE Vector columns(const RowTask<Acc>& task, int channel) {
    const Acc weight_low = 1 - task.weight_high;
    Vector squares[kVectors] = {}, right[kVectors], gradient_right[kVectors] = {};
    enlarge(task, channel, weight_low, right);
    for (int column = 0; column < task.num_source_columns; ++column) {
      Vector left[kVectors], gradient_left[kVectors];
      for (int i = 0; i < kVectors; ++i) {
        left[i] = right[i];
        gradient_left[i] = gradient_right[i];
        gradient_right[i] = Vector{};
      }
      const int64_t next = int64_t(column + 1) * task.num_channels + channel;
      const bool own_neighbor = column + 1 == task.num_source_columns || !task.resizes;
      if (column + 1 < task.num_source_columns) enlarge(task, next, weight_low, right);
      for (int x = task.first[column]; x < task.first[column + 1]; ++x) {
        const Acc weight_right = task.weights_high[x], weight_left = 1 - weight_right;
        const Acc* target = task.target + x * task.target_stride + channel;
        if (task.ahead != nullptr) fetch(task, x, channel);
        for (int i = 0; i < kVectors; ++i) {
          const Vector other = own_neighbor ? left[i] : right[i];
          const Vector difference = weight_left * left[i] + weight_right * other - at(target, i);
          squares[i] += difference * difference;
          if (!kGradient) continue;
          if (own_neighbor) {
            gradient_left[i] += weight_left * difference + weight_right * difference;  // infinity * 0 is NaN
          } else {
            gradient_left[i] += weight_left * difference;
            gradient_right[i] += weight_right * difference;
          }
        }
      }
      if (!kGradient) continue;
      const int64_t here = next - task.num_channels;
      for (int i = 0; i < kVectors; ++i) {
        at(task.gradient_low + here, i) += weight_low * gradient_left[i];
        at(task.gradient_high + here, i) += task.weight_high * gradient_left[i];
      }
    }
    if constexpr (kVectors == 2) squares[0] += squares[1];
    return squares[0];
  }

  static RESKD_INLINE void enlarge(const RowTask<Acc>& task, int64_t place, Acc weight_low, Vector* out) {
    for (int i = 0; i < kVectors; ++i) {
      out[i] = weight_low * at(task.source_low + place, i) + task.weight_high * at(task.source_high + place, i);
    }
  }

  // A piece of each pixel is too short for the hardware prefetcher to predict the next one. Into the L2 cache, as a
  // wide row would not fit into L1.
  static RESKD_INLINE void fetch(const RowTask<Acc>& task, int x, int channel) {
    constexpr int kLine = 64;
    const char* data = task.ahead + x * task.ahead_stride + int64_t(channel) * task.element_bytes;
    for (int byte = 0; byte < kStep * static_cast<int>(sizeof(float)); byte += kLine) {
      __builtin_prefetch(data + byte, 0, 2);
    }
  }
};

template <typename Acc, int kWidth>
RESKD_INLINE void row_body(const RowTask<Acc>& task) {
  if (task.gradient_low != nullptr) {
    Row<Acc, kWidth, true>::run(task);
  } else {
    Row<Acc, kWidth, false>::run(task);
  }
}

// No pointers of these loops overlap.
#define RESKD_SIMD _Pragma("GCC ivdep")

template <typename T, typename Acc>
RESKD_INLINE void load_body(Strided<const T> from, Acc* into, int num_pixels, int num_channels, int padded) {
  for (int p = 0; p < num_pixels; ++p) {
    const T* __restrict source = from.data + p * from.pixel_stride;
    Acc* __restrict to = into + int64_t(p) * padded;
    if (from.channel_stride == 1) {
      RESKD_SIMD for (int c = 0; c < num_channels; ++c) to[c] = widen(source[c]);
    } else {
      for (int c = 0; c < num_channels; ++c) to[c] = widen(source[c * from.channel_stride]);
    }
    for (int c = num_channels; c < padded; ++c) to[c] = 0;
  }
}

template <typename T, typename Acc>
RESKD_INLINE void store_body(const Acc* data, Strided<T> into, int num_pixels, int num_channels, int padded,
                             Acc factor) {
  for (int p = 0; p < num_pixels; ++p) {
    const Acc* __restrict from = data + int64_t(p) * padded;
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

// `width`: of a vector register, in floats.
#define RESKD_KERNELS(name, width, target)                                                                      \
  namespace name {                                                                                              \
  template <typename Acc>                                                                                       \
  target void row(const RowTask<Acc>& task) {                                                                   \
    row_body<Acc, width * sizeof(float) / sizeof(Acc)>(task);                                                   \
  }                                                                                                             \
  template <typename T, typename Acc>                                                                           \
  target void load(Strided<const T> from, Acc* to, int num_pixels, int num_channels, int padded) {              \
    load_body(from, to, num_pixels, num_channels, padded);                                                      \
  }                                                                                                             \
  template <typename T, typename Acc>                                                                           \
  target void store(const Acc* from, Strided<T> to, int num_pixels, int num_channels, int padded, Acc factor) { \
    store_body(from, to, num_pixels, num_channels, padded, factor);                                             \
  }                                                                                                             \
  template <typename T, typename Acc>                                                                           \
  target void scale(const T* from, T* to, int64_t num_elements, Acc factor) {                                   \
    scale_body(from, to, num_elements, factor);                                                                 \
  }                                                                                                             \
  template <typename T, typename Acc>                                                                           \
  constexpr Access<T, Acc> access{load<T, Acc>, store<T, Acc>, scale<T, Acc>};                                  \
  const Kernels table{#name,                                                                                    \
                      row<float>,                                                                               \
                      row<double>,                                                                              \
                      access<float, float>,                                                                     \
                      access<double, double>,                                                                   \
                      access<Half, float>,                                                                      \
                      access<BFloat16, float>};                                                                 \
  }

RESKD_KERNELS(baseline, 4, )
#if defined(__x86_64__)
RESKD_KERNELS(avx2, 8, __attribute__((target("avx2,fma"))))
#if defined(__clang__)  // clang does not know the last word, and would ignore the others with it
#define RESKD_AVX512 __attribute__((target("avx512f,avx512bw,avx512dq,avx512vl,avx2,fma")))
#else
#define RESKD_AVX512 __attribute__((target("avx512f,avx512bw,avx512dq,avx512vl,avx2,fma,prefer-vector-width=512")))
#endif
RESKD_KERNELS(avx512, 16, RESKD_AVX512)
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
