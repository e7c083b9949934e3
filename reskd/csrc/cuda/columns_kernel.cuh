// Channels-last, as in training. A thread owns kVector adjacent channels of an image, and no other thread adds to their
// gradients, so there is no barrier in the loop. It goes down the teacher pixel by pixel, as the CPU kernel
// does: cpu/kernels.cpp, Note [A row in registers]. The two unfinished rows of gradients are in shared memory, one word
// a bank for the threads of a warp.
//
// The teacher's pixels are loaded kAhead before they are needed: with half a thousand threads per multiprocessor,
// this keeps enough bytes in flight. kAhead and the block sizes are reasoned, not measured: no GPU has run this yet.
#pragma once

#include "device.cuh"

namespace reskd::cuda {

constexpr int kAhead = 4;

template <typename S, typename T, int kVector>
__global__ void __launch_bounds__(kColumnsThreads) columns_kernel(const Problem problem, const Plan plan) {
  extern __shared__ float4 shared[];
  const Images student_images = problem.student_images, teacher_images = problem.teacher_images;
  const int height = teacher_images.height, width = teacher_images.width;
  const int small_height = student_images.height, small_width = student_images.width;
  const int thread = threadIdx.x, num_threads = plan.lanes;
  const bool needs_gradient = problem.saved != nullptr, resizes = small_width != width;

  float* row_weight = reinterpret_cast<float*>(shared);
  float* column_weight = row_weight + height;
  int* row_low = reinterpret_cast<int*>(column_weight + width);
  int* first = row_low + height;  // first_place of each of the student's columns, and of the one after the last
  // Gradient (row 0 or 1, column, channel) of this thread: gradients[((row * small_width + column) * kVector + v) *
  // stride].
  float* gradients = reinterpret_cast<float*>(first + small_width + 1) + thread;
  const int stride = num_threads;
  for (int y = thread; y < height; y += num_threads) {
    const Neighbors<float> at = neighbors<float>(y, small_height, height);
    row_low[y] = at.low;
    row_weight[y] = at.weight_high;
  }
  for (int x = thread; x < width; x += num_threads) {
    column_weight[x] = neighbors<float>(x, small_width, width).weight_high;
  }
  for (int i = thread; i <= small_width; i += num_threads) first[i] = first_place(i, small_width, width);
  if (needs_gradient) {
    for (int i = 0; i < 2 * small_width * kVector; ++i) gradients[i * stride] = 0;
  }
  __syncthreads();

  const int64_t groups = problem.num_channels / kVector;
  const int64_t item = int64_t(blockIdx.x) * num_threads + thread;
  double sum = 0;
  if (item < problem.num_images * groups) {
    const int64_t image = item / groups, channel = item % groups * kVector;
    const S* student = static_cast<const S*>(problem.student) + image * student_images.image_stride + channel;
    const T* teacher = static_cast<const T*>(problem.teacher) + image * teacher_images.image_stride + channel;
    S* saved = static_cast<S*>(problem.saved) + image * student_images.image_stride + channel;
    const int channels = problem.num_channels;

    // The gradient's row `row` is complete: write it out, and let the next take its place.
    const auto finish_row = [&](int row) {
      for (int column = 0; column < small_width; ++column) {
        Pack<S, kVector> out;
#pragma unroll
        for (int v = 0; v < kVector; ++v) {
          float* low = gradients + (column * kVector + v) * stride;
          float* high = low + small_width * kVector * stride;
          from_float(*low * problem.saved_factor, out.element[v]);
          *low = *high;
          *high = 0;
        }
        *reinterpret_cast<Pack<S, kVector>*>(saved + (int64_t(row) * small_width + column) * channels) = out;
      }
    };

    const int num_pixels = height * width;
    int coming = 0;  // the next pixel of the teacher to load
    Pack<T, kVector> ahead[kAhead];
    const auto ask = [&](Pack<T, kVector>& into) {
      if (coming < num_pixels) into = load<kVector>(teacher + int64_t(coming) * channels);
      ++coming;
    };
#pragma unroll
    for (int i = 0; i < kAhead; ++i) ask(ahead[i]);

    int current = 0;  // the row of the lower gradients
    for (int y = 0; y < height; ++y) {
      const int low = row_low[y], high = high_neighbor(low, small_height, height);
      const float weight_high = row_weight[y], weight_low = 1 - weight_high;
      if (needs_gradient) {
        for (; current < low; ++current) finish_row(current);
      }
      const S* low_row = student + int64_t(low) * small_width * channels;
      const S* high_row = student + int64_t(high) * small_width * channels;
      float left[kVector], right[kVector], gradient_left[kVector], gradient_right[kVector];
      const auto enlarge = [&](int column) {
        const Pack<S, kVector> above = load<kVector>(low_row + int64_t(column) * channels);
        const Pack<S, kVector> below = load<kVector>(high_row + int64_t(column) * channels);
#pragma unroll
        for (int v = 0; v < kVector; ++v) {
          right[v] = weight_low * to_float(above.element[v]) + weight_high * to_float(below.element[v]);
        }
      };
      enlarge(0);
#pragma unroll
      for (int v = 0; v < kVector; ++v) gradient_right[v] = 0;
      float row_sum = 0;
      for (int column = 0; column < small_width; ++column) {
#pragma unroll
        for (int v = 0; v < kVector; ++v) {
          left[v] = right[v];
          gradient_left[v] = gradient_right[v];
          gradient_right[v] = 0;
        }
        const bool own_neighbor = column + 1 == small_width || !resizes;
        if (column + 1 < small_width) enlarge(column + 1);
        for (int x = first[column]; x < first[column + 1]; ++x) {
          const float weight_right = column_weight[x], weight_left = 1 - weight_right;
          const Pack<T, kVector> target = ahead[0];
#pragma unroll
          for (int i = 0; i + 1 < kAhead; ++i) ahead[i] = ahead[i + 1];
          ask(ahead[kAhead - 1]);
#pragma unroll
          for (int v = 0; v < kVector; ++v) {
            const float other = own_neighbor ? left[v] : right[v];
            const float difference = weight_left * left[v] + weight_right * other - to_float(target.element[v]);
            row_sum += difference * difference;
            if (own_neighbor) {
              gradient_left[v] += difference;
            } else {
              gradient_left[v] += weight_left * difference;
              gradient_right[v] += weight_right * difference;
            }
          }
        }
        if (!needs_gradient) continue;
#pragma unroll
        for (int v = 0; v < kVector; ++v) {
          float* at = gradients + (column * kVector + v) * stride;
          *at += (low == high ? 1.0f : weight_low) * gradient_left[v];
          if (low != high) at[small_width * kVector * stride] += weight_high * gradient_left[v];
        }
      }
      sum += row_sum;
    }
    if (needs_gradient) {
      for (; current < small_height; ++current) finish_row(current);
    }
  }
  __syncthreads();  // the rows are finished, and the sums reuse their memory
  const double block_sum = sum_of_block(sum, num_threads, reinterpret_cast<double*>(shared));
  if (thread == 0) problem.partials[blockIdx.x] = block_sum;
}

}  // namespace reskd::cuda
