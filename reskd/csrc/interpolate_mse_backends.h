// The functions that each device provides. Shapes: student (B, D, h, w), teacher (B, D, H, W), already checked;
// contiguous or channels-last, not necessarily the same.
#pragma once

#include <ATen/core/Tensor.h>

#include <tuple>

namespace reskd {

// The loss (0-dim, fp32; fp64 for fp64) and what the backward pass needs: Note [What the forward pass saves]. The
// second has the student's dtype and layout, or no elements where needs_gradient is false.
using ForwardResult = std::tuple<at::Tensor, at::Tensor>;

namespace cpu {
ForwardResult interpolate_mse(const at::Tensor& student, const at::Tensor& teacher, bool needs_gradient);
at::Tensor scale(const at::Tensor& saved, const at::Tensor& grad_output, double factor);
const char* instruction_set();
}  // namespace cpu

namespace cuda {
// Whether the library has code for the current GPU.
bool runs_here();
ForwardResult interpolate_mse(const at::Tensor& student, const at::Tensor& teacher, bool needs_gradient);
at::Tensor scale(const at::Tensor& saved, const at::Tensor& grad_output, double factor);
}  // namespace cuda

// The divisor of the saved gradient: a power of two in fp16, 1 otherwise.
double divisor_for(const at::Tensor& student, int64_t height, int64_t width);

}  // namespace reskd
