// Runs the CUDA kernels without a GPU: each block's threads are real threads, __syncthreads is a barrier, and blocks go
// one after another. Slow, but the arithmetic, the indices and the use of shared memory are those of the GPU, and a
// thread sanitizer sees two threads that touch one number without a barrier in between.
//
// As a shared library it is called from test_native_cuda_kernel.py; as a program (its main) it runs a few problems.
#include <pthread.h>

#include <cstdint>
#include <cstdio>
#include <cstring>
#include <functional>
#include <random>
#include <thread>
#include <vector>

#define __global__
#define __device__
#define __shared__
#define __forceinline__ inline
#define __launch_bounds__(num_threads)

struct Index {
  unsigned x;
};
struct alignas(16) float4 {
  float x, y, z, w;
};
static thread_local Index threadIdx, blockIdx;
static Index blockDim, gridDim;
static pthread_barrier_t barrier;
static void __syncthreads() { pthread_barrier_wait(&barrier); }

#include "../../../reskd/csrc/cuda/kernels.cuh"

namespace reskd::cuda {

constexpr int kGuard = 64;
float4 shared[kSharedBytes / 16 + kGuard];  // what `extern __shared__ float4 shared[]` names

namespace {

// Runs `kernel` in all blocks. Returns whether it kept to its shared memory.
bool launch(int64_t num_blocks, int num_threads, int64_t shared_bytes, const std::function<void()>& kernel) {
  std::memset(shared, 0xff, sizeof shared);  // NaN: nothing may count on zeros
  gridDim.x = static_cast<unsigned>(num_blocks);
  blockDim.x = num_threads;
  pthread_barrier_init(&barrier, nullptr, num_threads);
  std::vector<std::thread> threads;
  for (int i = 0; i < num_threads; ++i) {
    threads.emplace_back([&, i] {
      threadIdx.x = i;
      for (int64_t block = 0; block < num_blocks; ++block) {
        blockIdx.x = static_cast<unsigned>(block);
        kernel();
        pthread_barrier_wait(&barrier);
      }
    });
  }
  for (std::thread& thread : threads) thread.join();
  pthread_barrier_destroy(&barrier);
  const auto* bytes = reinterpret_cast<const unsigned char*>(shared);
  for (int64_t i = shared_bytes; i < static_cast<int64_t>(sizeof shared); ++i) {
    if (bytes[i] != 0xff) return false;
  }
  return true;
}

template <typename S, typename T>
bool run_forward(Problem problem) {
  constexpr int kVector = 16 / sizeof(T);
  const Plan plan = make_plan(problem);
  const int num_threads = plan.lanes * plan.columns;
  if (plan.shared_bytes > kSharedBytes || num_threads > kMaxThreads) return false;
  std::vector<double> partials(plan.num_blocks);
  problem.partials = partials.data();
  const auto kernel = plan.kernel == Kernel::kColumns ? columns_kernel<S, T, kVector>
                      : plan.vector == kVector        ? tiles_kernel<S, T, kVector>
                                                      : tiles_kernel<S, T, 1>;
  const bool kept = launch(plan.num_blocks, num_threads, plan.shared_bytes, [&] { kernel(problem, plan); });
  const double numel =
      double(problem.num_images) * problem.num_channels * problem.teacher_images.height * problem.teacher_images.width;
  return launch(1, kMaxThreads, kSumBytes,
                [&] { reduce_kernel(partials.data(), plan.num_blocks, numel, problem.loss); }) &&
         kept;
}

Images images(int num_channels, int height, int width, bool channels_last) {
  const int64_t num_pixels = int64_t(height) * width;
  return {height, width, num_channels * num_pixels, channels_last ? num_channels : 1, channels_last ? 1 : num_pixels};
}

}  // namespace
}  // namespace reskd::cuda

using namespace reskd;
using namespace reskd::cuda;

// Types: 0 float, 1 half, 2 bfloat16. Returns 0 if all went well.
extern "C" int forward(const void* student, const void* teacher, void* saved, float* loss, int student_type,
                       int teacher_type, int64_t num_images, int num_channels, int small_height, int small_width,
                       int height, int width, int student_channels_last, int teacher_channels_last, double divisor) {
  Problem problem{};
  problem.student = student;
  problem.teacher = teacher;
  problem.saved = saved;
  problem.loss = loss;
  problem.student_type = static_cast<Type>(student_type);
  problem.teacher_type = static_cast<Type>(teacher_type);
  problem.student_images = images(num_channels, small_height, small_width, student_channels_last);
  problem.teacher_images = images(num_channels, height, width, teacher_channels_last);
  problem.num_images = num_images;
  problem.num_channels = num_channels;
  problem.saved_factor = static_cast<float>(1 / divisor);
  bool (*const functions[3][3])(Problem) = {
      {run_forward<float, float>, run_forward<float, Half>, run_forward<float, BFloat16>},
      {run_forward<Half, float>, run_forward<Half, Half>, run_forward<Half, BFloat16>},
      {run_forward<BFloat16, float>, run_forward<BFloat16, Half>, run_forward<BFloat16, BFloat16>}};
  return functions[student_type][teacher_type](problem) ? 0 : 1;
}

extern "C" int scale_half(const void* saved, void* out, int64_t num_elements, float grad_output, double factor) {
  return launch(3, 32, 0,
                [&] {
                  scale_kernel<Half, 8>(static_cast<const Half*>(saved), static_cast<Half*>(out), num_elements,
                                        &grad_output, factor);
                })
             ? 0
             : 1;
}

int main() {
  struct Case {
    int num_channels, small_height, small_width, height, width, channels_last;
  };
  for (const Case& c :
       {Case{40, 4, 4, 7, 7, 1}, Case{40, 4, 4, 7, 7, 0}, Case{5, 7, 6, 3, 2, 1}, Case{5, 1, 1, 5, 9, 0}}) {
    std::mt19937 random(1);
    std::normal_distribution<float> normal;
    std::vector<float> student(2 * c.num_channels * c.small_height * c.small_width), saved(student.size());
    std::vector<float> teacher(2 * c.num_channels * c.height * c.width);
    for (float& value : student) value = normal(random);
    for (float& value : teacher) value = normal(random);
    float loss = 0;
    if (forward(student.data(), teacher.data(), saved.data(), &loss, 0, 0, 2, c.num_channels, c.small_height,
                c.small_width, c.height, c.width, c.channels_last, c.channels_last, 1) != 0) {
      return 1;
    }
    std::printf("%.6f\n", loss);
  }
  return 0;
}
