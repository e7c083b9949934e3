// The inner loops of the CPU path: one row of the large grid at a time, many channels side by side. Compiled for several
// instruction sets; the best that this processor has is chosen when it is first asked for.
#pragma once

#include <cstdint>

#include "../half.h"
#include "../interpolate_mse.h"

namespace reskd::cpu {

// One row of the large grid. All pointers are to pixels of num_channels adjacent channels in Acc, the type we compute in;
// a stride is from pixel to pixel, in elements.
template <typename Acc>
struct RowTask {
  const Acc* source_low;  // the two student rows that this row lies between
  const Acc* source_high;
  int64_t source_stride;
  Acc weight_high;
  const Acc* target;  // the teacher's row
  int64_t target_stride;
  Acc* gradient_low;  // added to; null where no gradient is wanted
  Acc* gradient_high;
  int64_t gradient_stride;
  const Neighbours<Acc>* columns;  // of each pixel of the row
  int num_columns;
  int num_source_columns;
  int num_channels;
  Acc* blended;   // scratch: num_source_columns pixels
  Acc* gathered;  // scratch: num_source_columns pixels
  Acc* squares;   // scratch: one pixel
  double* totals;  // one pixel: sum of squared differences, added to
};

// Pixels as they lie in a tensor: element (pixel, channel) at data[pixel * pixel_stride + channel * channel_stride].
template <typename T>
struct Strided {
  T* data;
  int64_t pixel_stride;
  int64_t channel_stride;
};

template <typename T, typename Acc>
struct Access {
  void (*load)(Strided<const T> from, Acc* to_PC, int num_pixels, int num_channels);
  void (*store)(const Acc* from_PC, Strided<T> to, int num_pixels, int num_channels, Acc factor);
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
