// The CUDA path, PyTorch's side: memory, stream, and the kernels' arguments.
#include <ATen/ops/empty.h>
#include <ATen/ops/empty_like.h>
#include <c10/cuda/CUDAException.h>
#include <c10/cuda/CUDAGuard.h>
#include <c10/cuda/CUDAStream.h>

#include <limits>

#include "../interpolate_mse_backends.h"
#include "launch.h"

namespace reskd::cuda {
namespace {

Type type_of(const at::Tensor& tensor) {
  switch (tensor.scalar_type()) {
    case at::kFloat:
      return Type::kFloat;
    case at::kHalf:
      return Type::kHalf;
    case at::kBFloat16:
      return Type::kBFloat16;
    default:
      TORCH_CHECK_TYPE(false, "expected fp16, bf16 or fp32, found ", tensor.scalar_type());
  }
}

Images images_of(const at::Tensor& tensor) {
  const int64_t num_channels = tensor.size(1), num_pixels = tensor.size(2) * tensor.size(3);
  TORCH_CHECK_VALUE(tensor.size(2) <= kMaxSide && tensor.size(3) <= kMaxSide, "expected grids of at most ", kMaxSide,
                    " by ", kMaxSide, ", found ", tensor.sizes());
  const bool channels_last = tensor.is_contiguous(at::MemoryFormat::ChannelsLast);
  return {static_cast<int>(tensor.size(2)), static_cast<int>(tensor.size(3)), num_channels * num_pixels,
          channels_last ? num_channels : 1, channels_last ? 1 : num_pixels};
}

}  // namespace

bool runs_here() { return has_code_for_this_gpu(); }

ForwardResult interpolate_mse(const at::Tensor& student, const at::Tensor& teacher, bool needs_gradient) {
  const c10::cuda::CUDAGuard guard(student.device());
  at::Tensor saved = needs_gradient ? at::empty_like(student) : at::empty({0, 0, 0, 0}, student.options());
  at::Tensor loss = at::empty({}, student.options().dtype(at::kFloat));
  Problem problem{};
  problem.student = student.const_data_ptr();
  problem.teacher = teacher.const_data_ptr();
  problem.saved = needs_gradient ? saved.mutable_data_ptr() : nullptr;
  problem.student_type = type_of(student);
  problem.teacher_type = type_of(teacher);
  problem.student_images = images_of(student);
  problem.teacher_images = images_of(teacher);
  problem.num_images = student.size(0);
  problem.num_channels = static_cast<int>(student.size(1));
  problem.saved_factor = static_cast<float>(1 / divisor_for(student, teacher.size(2), teacher.size(3)));
  const int64_t num_blocks = make_plan(problem).num_blocks;
  TORCH_CHECK_VALUE(num_blocks <= std::numeric_limits<int>::max(),
                    "too many images and channels for one launch: ", student.sizes());
  at::Tensor partials = at::empty({num_blocks}, student.options().dtype(at::kDouble));
  problem.partials = partials.mutable_data_ptr<double>();
  problem.loss = loss.mutable_data_ptr<float>();
  C10_CUDA_CHECK(launch_forward(problem, c10::cuda::getCurrentCUDAStream()));
  return {loss, saved};
}

at::Tensor scale(const at::Tensor& saved, const at::Tensor& grad_output, double factor) {
  const c10::cuda::CUDAGuard guard(saved.device());
  at::Tensor out = at::empty_like(saved);
  const at::Tensor upstream = grad_output.to(saved.device(), at::kFloat);
  C10_CUDA_CHECK(launch_scale(saved.const_data_ptr(), out.mutable_data_ptr(), type_of(saved), saved.numel(),
                              upstream.const_data_ptr<float>(), factor, c10::cuda::getCurrentCUDAStream()));
  return out;
}

}  // namespace reskd::cuda
