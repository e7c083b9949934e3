// The inner loops of the CPU path: one row of the large grid at a time, many channels side by side. Compiled for
// several instruction sets; the first use chooses the best one of this processor.
#pragma once

#include <cstdint>

#include "../half.h"
#include "../interpolate_mse.h"

namespace reskd::cpu {

// Channels that the inner loop takes at once, whatever the instruction set; pieces are padded to a multiple of it.
constexpr int kBlock = 32;
// Partial sums of a row's squares.
constexpr int kTotals = 16;

// One row of the large grid against the two rows of the small one that it lies between, for num_channels channels. Acc
// is the type we compute in. Pixels of num_channels adjacent channels are stored without gaps, except for the
// teacher's, which may be read in place.
template <typename Acc>
struct RowTask {
  const Acc* source_low;
  const Acc* source_high;
  Acc weight_high;
  const Acc* target;      // the teacher's row
  int64_t target_stride;  // elements from pixel to pixel
  Acc* gradient_low;      // added to; null where no gradient is wanted
  Acc* gradient_high;
  const int* first;         // first_place of each of the small row's pixels, and of the one after the last
  const Acc* weights_high;  // of each pixel of the large row
  bool resizes;             // false where both rows are equally wide: every pixel is its own neighbor
  int num_source_columns;
  int num_channels;      // a multiple of kBlock
  double* totals;        // kTotals numbers, together the sum of squared differences; added to
  const char* ahead;     // the next row to read, laid out like this one; null if none
  int64_t ahead_stride;  // bytes
  int element_bytes;     // of the teacher's type
};

// A tensor's pixels in memory: element (pixel, channel) at data[pixel * pixel_stride + channel * channel_stride].
template <typename T>
struct Strided {
  T* data;
  int64_t pixel_stride;
  int64_t channel_stride;
};

// Between a tensor and our own memory, where pixels are `padded` channels apart; load fills the padding with zeros.
template <typename T, typename Acc>
struct Access {
  void (*load)(Strided<const T> from, Acc* to, int num_pixels, int num_channels, int padded);
  void (*store)(const Acc* from, Strided<T> to, int num_pixels, int num_channels, int padded, Acc factor);
  void (*scale)(const T* from, T* to, int64_t num_elements, Acc factor);
};

struct Kernels {
  const char* instruction_set;
  void (*row_f32)(const RowTask<float>&);
  void (*row_f64)(const RowTask<double>&);
  Access<float, float> f32;
  Access<double, double> f64;
  Access<Half, float> f16;
  Access<BFloat16, float> bf16;
};

const Kernels& kernels();

}  // namespace reskd::cpu
