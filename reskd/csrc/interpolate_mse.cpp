// The two operators' PyTorch interface: schema, checks, dispatch by device. Shapes for torch.compile and the
// autograd formula are registered in reskd/ops/native.py.
#include "interpolate_mse.h"

#include <ATen/core/Tensor.h>
#include <Python.h>
#include <torch/library.h>

#include <limits>

#include "interpolate_mse_backends.h"

namespace reskd {

double divisor_for(const at::Tensor& student, int64_t height, int64_t width) {
  if (student.scalar_type() != at::kHalf) return 1;
  return saved_divisor(static_cast<int>(student.size(2)), static_cast<int>(height), static_cast<int>(student.size(3)),
                       static_cast<int>(width));
}

namespace {

// Copies a tensor of any other layout once, to channels-last.
at::Tensor as_either_layout(const at::Tensor& tensor) {
  if (tensor.is_contiguous() || tensor.is_contiguous(at::MemoryFormat::ChannelsLast)) return tensor;
  return tensor.contiguous(at::MemoryFormat::ChannelsLast);
}

void check(const at::Tensor& student, const at::Tensor& teacher) {
  TORCH_CHECK_VALUE(student.dim() == 4 && teacher.dim() == 4, "expected (B, D, h, w) and (B, D, H, W), found student ",
                    student.sizes(), " and teacher ", teacher.sizes());
  TORCH_CHECK_VALUE(student.size(0) == teacher.size(0) && student.size(1) == teacher.size(1),
                    "expected the same B and D, found student ", student.sizes(), " and teacher ", teacher.sizes());
  TORCH_CHECK_VALUE(student.numel() > 0 && teacher.numel() > 0, "expected at least one element, found student ",
                    student.sizes(), " and teacher ", teacher.sizes());
  TORCH_CHECK_VALUE(student.device() == teacher.device(), "expected one device, found student on ", student.device(),
                    " and teacher on ", teacher.device());
  TORCH_CHECK_TYPE((student.scalar_type() == at::kDouble) == (teacher.scalar_type() == at::kDouble),
                   "expected fp64 for both or for neither, found student ", student.scalar_type(), " and teacher ",
                   teacher.scalar_type());
  constexpr int64_t kMost = std::numeric_limits<int>::max();
  for (const at::Tensor& tensor : {student, teacher}) {
    TORCH_CHECK_VALUE(tensor.size(1) <= kMost && tensor.size(2) * tensor.size(3) <= kMost, "expected fewer than ",
                      kMost, " channels and pixels an image, found ", tensor.sizes());
  }
}

template <ForwardResult (*kForward)(const at::Tensor&, const at::Tensor&, bool)>
ForwardResult forward(const at::Tensor& student, const at::Tensor& teacher, bool needs_gradient) {
  check(student, teacher);
  return kForward(as_either_layout(student), as_either_layout(teacher), needs_gradient);
}

// saved times grad_output * 2 / numel, the product in fp32, then in the student's dtype.
template <at::Tensor (*kScale)(const at::Tensor&, const at::Tensor&, double)>
at::Tensor backward(const at::Tensor& saved, const at::Tensor& grad_output, int64_t height, int64_t width) {
  TORCH_CHECK_VALUE(saved.dim() == 4 && saved.is_non_overlapping_and_dense() && grad_output.numel() == 1,
                    "expected what the forward pass saved and one number, found ", saved.sizes(), " and ",
                    grad_output.sizes());
  const double numel = static_cast<double>(saved.size(0)) * saved.size(1) * height * width;
  return kScale(saved, grad_output, 2 / numel * divisor_for(saved, height, width));
}

}  // namespace
}  // namespace reskd

TORCH_LIBRARY(reskd, library) {
  library.def("interpolate_mse(Tensor student, Tensor teacher, bool needs_gradient) -> (Tensor loss, Tensor saved)");
  library.def("interpolate_mse_backward(Tensor saved, Tensor grad_output, SymInt height, SymInt width) -> Tensor");
  library.def("cpu_instruction_set() -> str", [] { return std::string(reskd::cpu::instruction_set()); });
}

#ifdef RESKD_WITH_CUDA
TORCH_LIBRARY_FRAGMENT(reskd, library) {
  library.def("cuda_runs_here() -> bool", [] { return reskd::cuda::runs_here(); });
}
#endif

TORCH_LIBRARY_IMPL(reskd, CPU, library) {
  library.impl("interpolate_mse", reskd::forward<reskd::cpu::interpolate_mse>);
  library.impl("interpolate_mse_backward", reskd::backward<reskd::cpu::scale>);
}

#ifdef RESKD_WITH_CUDA
TORCH_LIBRARY_IMPL(reskd, CUDA, library) {
  library.impl("interpolate_mse", reskd::forward<reskd::cuda::interpolate_mse>);
  library.impl("interpolate_mse_backward", reskd::backward<reskd::cuda::scale>);
}
#endif

// An empty module, required by the build; the library is loaded by torch.ops.load_library.
#define RESKD_JOIN_(a, b) a##b
#define RESKD_JOIN(a, b) RESKD_JOIN_(a, b)
#define RESKD_TEXT_(a) #a
#define RESKD_TEXT(a) RESKD_TEXT_(a)
PyMODINIT_FUNC RESKD_JOIN(PyInit_, TORCH_EXTENSION_NAME)(void) {
  static PyModuleDef definition = {PyModuleDef_HEAD_INIT,
                                   RESKD_TEXT(TORCH_EXTENSION_NAME),
                                   nullptr,
                                   -1,
                                   nullptr,
                                   nullptr,
                                   nullptr,
                                   nullptr,
                                   nullptr};
  return PyModule_Create(&definition);
}
