// Maps a pixel of the large grid to the small one. Shared by the CPU and the CUDA kernels, so tests of one hold for the
// other. Everything here is about one axis; an image has two.
//
// Bilinear with align_corners=False, as torch.nn.functional.interpolate defines it: the center of pixel `place` of
// num_out lies at (place + 1/2) * num_in / num_out - 1/2 of the small axis, not below 0, and is mixed from the pixels
// on its two sides. In integers: numerator / denominator with denominator = 2 * num_out, so the index is exact and the
// weight is rounded once.
//
// Four pixels from two: places 0 1 2 3 fall at -1/4 (that is 0), 1/4, 3/4, 5/4; the last has no pixel on its right.
#pragma once

#include <cstdint>

#ifdef __CUDACC__
#define RESKD_HOST_DEVICE __host__ __device__ __forceinline__
#else
#define RESKD_HOST_DEVICE inline
#endif

namespace reskd {

// A pixel is (1 - weight_high) * source[low] + weight_high * source[high]. At the end of the axis, and where the axis
// is not resized, high == low; the weight is kept, so that an infinity there gives the same as in PyTorch on a CPU.
template <typename Weight>
struct Neighbors {
  int low;
  int high;
  Weight weight_high;
};

RESKD_HOST_DEVICE int high_neighbor(int low, int num_in, int num_out) {
  return low + 1 < num_in && num_in != num_out ? low + 1 : low;
}

template <typename Weight>
RESKD_HOST_DEVICE Neighbors<Weight> neighbors(int place, int num_in, int num_out) {
  const int64_t denominator = 2 * static_cast<int64_t>(num_out);
  int64_t numerator = (2 * static_cast<int64_t>(place) + 1) * num_in - num_out;
  if (numerator < 0) numerator = 0;
  const int low = static_cast<int>(numerator / denominator);
  const int64_t rest = numerator - low * denominator;
  return {low, high_neighbor(low, num_in, num_out), static_cast<Weight>(rest) / static_cast<Weight>(denominator)};
}

// The inverse, for gradients: the first place whose low neighbor is `source` or beyond. Pixel
// `source` contributes to the places from first_place(source - 1) to before first_place(source + 1).
RESKD_HOST_DEVICE int first_place(int source, int num_in, int num_out) {
  if (source <= 0) return 0;
  if (source >= num_in) return num_out;
  // (2 place + 1) num_in - num_out >= 2 num_out source, solved for place and rounded up.
  const int64_t least = static_cast<int64_t>(num_out) * (2 * static_cast<int64_t>(source) + 1) - num_in;
  const int64_t step = 2 * static_cast<int64_t>(num_in);
  const int64_t place = (least + step - 1) / step;
  return place < num_out ? static_cast<int>(place) : num_out;
}

// The weight of `source` in the place.
template <typename Weight>
RESKD_HOST_DEVICE Weight share_of(int source, const Neighbors<Weight>& at) {
  if (at.low == at.high) return Weight(source == at.low);
  if (source == at.low) return Weight(1) - at.weight_high;
  return source == at.high ? at.weight_high : Weight(0);
}

// The largest sum of a source pixel's shares over all places: num_out / num_in or a little more on an enlarged axis.
RESKD_HOST_DEVICE double largest_sum_of_shares(int num_in, int num_out) {
  double largest = 0, low_sum = 0, high_sum = 0;
  int low = 0;
  for (int place = 0; place < num_out; ++place) {
    const Neighbors<double> at = neighbors<double>(place, num_in, num_out);
    for (; low < at.low; ++low) {  // that pixel is complete
      largest = low_sum > largest ? low_sum : largest;
      low_sum = high_sum;
      high_sum = 0;
    }
    low_sum += share_of(at.low, at);
    if (at.high != at.low) high_sum += at.weight_high;
  }
  largest = low_sum > largest ? low_sum : largest;
  return high_sum > largest ? high_sum : largest;
}

// Note [What the forward pass saves]
// The student's gradient is grad_output * 2 / numel * G with G = sum over places of share * (enlarged - teacher). G is
// known with the loss, so the forward pass saves it and the backward pass only multiplies. It is saved without the
// factor 2 / numel, which (1e-6 for 16 frames of a ResNet-50 at 224, 2e-8 for 1,024) would flush an fp16 G to zero. A
// pixel enlarged to a hundred sums a hundred differences, which may overflow fp16 (65,504 at most); so in fp16 G is
// saved divided by a power of two: at least the largest sum of shares of a pixel, times 2 as a difference may be twice
// the largest number. Division by a power of two rounds only results below 2^-14: where most differences are below
// about 1e-3, an fp16 gradient has fewer digits than eager's.
RESKD_HOST_DEVICE double saved_divisor(int num_in_y, int num_out_y, int num_in_x, int num_out_x) {
  const double most = largest_sum_of_shares(num_in_y, num_out_y) * largest_sum_of_shares(num_in_x, num_out_x);
  double divisor = 2;
  while (divisor < 2 * most) divisor *= 2;
  return divisor;
}

}  // namespace reskd
