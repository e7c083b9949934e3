// Chooses the kernel and its grid. See launch.h.
#include "kernels.cuh"
#include "launch.h"

namespace reskd::cuda {
namespace {

template <typename Function>
void with_type(Type type, Function function) {
  if (type == Type::kHalf) {
    function(Half{});
  } else if (type == Type::kBFloat16) {
    function(BFloat16{});
  } else {
    function(float{});
  }
}

template <typename S, typename T>
void launch(const Problem& problem, const Plan& plan, cudaStream_t stream) {
  constexpr int kVector = 16 / sizeof(T);
  const auto kernel = plan.kernel == Kernel::kColumns ? columns_kernel<S, T, kVector>
                      : plan.vector == kVector        ? tiles_kernel<S, T, kVector>
                                                      : tiles_kernel<S, T, 1>;
  const auto blocks = static_cast<unsigned>(plan.num_blocks);
  kernel<<<blocks, plan.lanes * plan.columns, plan.shared_bytes, stream>>>(problem, plan);
}

template <typename T>
void scale(const void* saved, void* out, int64_t num_elements, const float* grad_output, double factor,
           cudaStream_t stream) {
  constexpr int kVector = 16 / sizeof(T);
  constexpr int64_t kMaxBlocks = 1 << 20;
  const auto launch_with = [&](auto kernel, int vector) {
    const int64_t blocks = std::min(kMaxBlocks, ceil_div(num_elements, int64_t(kMaxThreads) * vector));
    kernel<<<static_cast<unsigned>(blocks), kMaxThreads, 0, stream>>>(
        static_cast<const T*>(saved), static_cast<T*>(out), num_elements, grad_output, factor);
  };
  if (is_aligned(saved) && is_aligned(out)) {
    launch_with(scale_kernel<T, kVector>, kVector);
  } else {
    launch_with(scale_kernel<T, 1>, 1);
  }
}

}  // namespace

cudaError_t launch_forward(const Problem& problem, cudaStream_t stream) {
  const Plan plan = make_plan(problem);
  with_type(problem.student_type, [&](auto student) {
    with_type(problem.teacher_type,
              [&](auto teacher) { launch<decltype(student), decltype(teacher)>(problem, plan, stream); });
  });
  if (const cudaError_t status = cudaGetLastError(); status != cudaSuccess) return status;
  const double numel =
      double(problem.num_images) * problem.num_channels * problem.teacher_images.height * problem.teacher_images.width;
  reduce_kernel<<<1, kMaxThreads, kSumBytes, stream>>>(problem.partials, plan.num_blocks, numel, problem.loss);
  return cudaGetLastError();
}

cudaError_t launch_scale(const void* saved, void* out, Type type, int64_t num_elements, const float* grad_output,
                         double factor, cudaStream_t stream) {
  with_type(type,
            [&](auto element) { scale<decltype(element)>(saved, out, num_elements, grad_output, factor, stream); });
  return cudaGetLastError();
}

bool has_code_for_this_gpu() {
  cudaFuncAttributes attributes;
  const bool found = cudaFuncGetAttributes(&attributes, reduce_kernel) == cudaSuccess;
  cudaGetLastError();  // otherwise the next launch would report it
  return found;
}

}  // namespace reskd::cuda
