// The CUDA kernels. Compiled by nvcc for GPUs, and by a C++ compiler for tests/reskd/ops/cuda_on_cpu.cpp, which
// replaces the few CUDA names used here and runs blocks with real threads.
//
// Note [Why gather, not scatter]
// Each pixel of the student gets its gradient from several pixels of the teacher. Scattering would have two threads
// add to one number with atomics, whose order changes from run to run. So differences go through shared memory, and the
// thread that owns a student's column sums the differences of its pixels, always in the same order. Rows are handled
// one after another: a row of the teacher adds to two rows of gradients, and the lower one is written when no further
// row adds to it. The teacher is read once, gradients are written once, the student comes from the cache.
#pragma once

#include "columns_kernel.cuh"
#include "device.cuh"

namespace reskd::cuda {

// Any layout: threads share the columns of some channels, and the differences go through shared memory.
template <typename S, typename T, int kVector>
__global__ void __launch_bounds__(kMaxThreads) tiles_kernel(const Problem problem, const Plan plan) {
  extern __shared__ float4 shared[];
  const Images student_images = problem.student_images, teacher_images = problem.teacher_images;
  const int height = teacher_images.height, width = teacher_images.width;
  const int small_height = student_images.height, small_width = student_images.width;
  const bool needs_gradient = problem.saved != nullptr;
  const int num_threads = plan.lanes * plan.columns;
  const int thread = threadIdx.x;
  const int lane = plan.channels_fastest ? thread % plan.lanes : thread / plan.columns;
  const int first_column = plan.channels_fastest ? thread / plan.lanes : thread % plan.columns;

  // Shared memory: the mapping of rows and columns, then the rows of numbers.
  float* row_weight = reinterpret_cast<float*>(shared);
  float* column_weight = row_weight + height;
  int* row_low = reinterpret_cast<int*>(column_weight + width);
  int* column_low = row_low + height;
  int* first = column_low + width;  // first[i]: the first column whose low neighbor is i - 1 or beyond
  const int table_words = 2 * (height + width) + small_width + 2;
  float* differences = reinterpret_cast<float*>(shared) + (table_words + 3) / 4 * 4;
  float* gradient_low = differences + 2 * width * plan.pitch;
  float* gradient_high = gradient_low + small_width * plan.pitch;
  for (int y = thread; y < height; y += num_threads) {
    const Neighbors<float> at = neighbors<float>(y, small_height, height);
    row_low[y] = at.low;
    row_weight[y] = at.weight_high;
  }
  for (int x = thread; x < width; x += num_threads) {
    const Neighbors<float> at = neighbors<float>(x, small_width, width);
    column_low[x] = at.low;
    column_weight[x] = at.weight_high;
  }
  for (int i = thread; i < small_width + 2; i += num_threads) first[i] = first_place(i - 1, small_width, width);
  __syncthreads();

  const int64_t image = blockIdx.x / plan.blocks_per_image;
  const int in_block = lane * kVector;
  const int64_t channel = blockIdx.x % plan.blocks_per_image * (int64_t(plan.lanes) * kVector) + in_block;
  const bool active = channel < problem.num_channels;
  const int64_t student_start = image * student_images.image_stride + channel * student_images.channel_stride;
  const int64_t teacher_start = image * teacher_images.image_stride + channel * teacher_images.channel_stride;
  const S* student = static_cast<const S*>(problem.student) + student_start;
  const T* teacher = static_cast<const T*>(problem.teacher) + teacher_start;
  S* saved = static_cast<S*>(problem.saved) + student_start;

  if (needs_gradient) {
    for (int x = first_column; x < small_width; x += plan.columns) {
      for (int v = 0; v < kVector; ++v) {
        gradient_low[x * plan.pitch + in_block + v] = 0;
        gradient_high[x * plan.pitch + in_block + v] = 0;
      }
    }
  }
  // The gradient's row `row` is complete: write it out, and let the next take its place.
  const auto finish_row = [&](int row) {
    for (int x = first_column; x < small_width; x += plan.columns) {
      Pack<S, kVector> out;
      for (int v = 0; v < kVector; ++v) {
        const int at = x * plan.pitch + in_block + v;
        from_float(gradient_low[at] * problem.saved_factor, out.element[v]);
        gradient_low[at] = gradient_high[at];
        gradient_high[at] = 0;
      }
      const int64_t pixel = int64_t(row) * small_width + x;
      if (active) *reinterpret_cast<Pack<S, kVector>*>(saved + pixel * student_images.pixel_stride) = out;
    }
  };

  double sum = 0;
  int current = 0;  // the row of gradient_low
  for (int y = 0; y < height; ++y) {
    const int low = row_low[y], high = high_neighbor(low, small_height, height);
    const float weight_high = row_weight[y], weight_low = 1 - weight_high;
    // Two buffers take turns: a thread writes row y + 1 while others still read row y, and row y + 2 only after all
    // have passed the barrier of row y + 1.
    float* difference_row = differences + (y & 1) * width * plan.pitch;
    float row_sum = 0;
    for (int x = first_column; x < width; x += plan.columns) {
      if (!active) break;
      const int left = column_low[x], right = high_neighbor(left, small_width, width);
      const float weight_right = column_weight[x], weight_left = 1 - weight_right;
      const auto pixel = [&](int row, int column) {
        return load<kVector>(student + (int64_t(row) * small_width + column) * student_images.pixel_stride);
      };
      const Pack<S, kVector> low_left = pixel(low, left), low_right = pixel(low, right);
      const Pack<S, kVector> high_left = pixel(high, left), high_right = pixel(high, right);
      const Pack<T, kVector> target = load<kVector>(teacher + (int64_t(y) * width + x) * teacher_images.pixel_stride);
      for (int v = 0; v < kVector; ++v) {
        const float on_left = weight_low * to_float(low_left.element[v]) + weight_high * to_float(high_left.element[v]);
        const float on_right =
            weight_low * to_float(low_right.element[v]) + weight_high * to_float(high_right.element[v]);
        const float difference = weight_left * on_left + weight_right * on_right - to_float(target.element[v]);
        row_sum += difference * difference;
        if (needs_gradient) difference_row[x * plan.pitch + in_block + v] = difference;
      }
    }
    sum += row_sum;
    if (!needs_gradient) continue;
    __syncthreads();
    for (; current < low; ++current) finish_row(current);
    const bool last = low == high;
    for (int i = first_column; i < small_width; i += plan.columns) {
      if (!active) break;
      float gathered[kVector] = {};
      // Where columns are not resized, each is its own neighbor: a weight of 0 on another would still pass on NaN.
      for (int x = first[small_width == width ? i + 1 : i]; x < first[i + 2]; ++x) {
        const int left = column_low[x];
        const Neighbors<float> at{left, high_neighbor(left, small_width, width), column_weight[x]};
        const float share = share_of(i, at);
        for (int v = 0; v < kVector; ++v) gathered[v] += share * difference_row[x * plan.pitch + in_block + v];
      }
      for (int v = 0; v < kVector; ++v) {
        const int at = i * plan.pitch + in_block + v;
        gradient_low[at] += (last ? 1.0f : weight_low) * gathered[v];
        if (!last) gradient_high[at] += weight_high * gathered[v];
      }
    }
  }
  if (needs_gradient) {
    for (; current < small_height; ++current) finish_row(current);
  }

  __syncthreads();  // the rows are finished, and the sums reuse their memory
  const double block_sum = sum_of_block(sum, num_threads, reinterpret_cast<double*>(shared));
  if (thread == 0) problem.partials[blockIdx.x] = block_sum;
}

// The loss from the blocks' sums: one block of kMaxThreads.
__global__ void __launch_bounds__(kMaxThreads)
    reduce_kernel(const double* partials, int64_t num_partials, double numel, float* loss) {
  extern __shared__ float4 shared[];
  double sum = 0;
  for (int64_t i = threadIdx.x; i < num_partials; i += kMaxThreads) sum += partials[i];
  sum = sum_of_block(sum, kMaxThreads, reinterpret_cast<double*>(shared));
  if (threadIdx.x == 0) *loss = static_cast<float>(sum / numel);
}

// out = saved * (grad_output * factor), the product in fp32.
template <typename T, int kVector>
__global__ void __launch_bounds__(kMaxThreads)
    scale_kernel(const T* saved, T* out, int64_t num_elements, const float* grad_output, double factor) {
  const float scale = static_cast<float>(static_cast<double>(*grad_output) * factor);
  const int64_t step = int64_t(gridDim.x) * blockDim.x * kVector;
  const int64_t start = (int64_t(blockIdx.x) * blockDim.x + threadIdx.x) * kVector;
  for (int64_t i = start; i < num_elements; i += step) {
    if (i + kVector <= num_elements) {
      const Pack<T, kVector> in = load<kVector>(saved + i);
      Pack<T, kVector> scaled;
      for (int v = 0; v < kVector; ++v) from_float(to_float(in.element[v]) * scale, scaled.element[v]);
      *reinterpret_cast<Pack<T, kVector>*>(out + i) = scaled;
    } else {
      for (int64_t j = i; j < num_elements; ++j) from_float(to_float(saved[j]) * scale, out[j]);
    }
  }
}

}  // namespace reskd::cuda
