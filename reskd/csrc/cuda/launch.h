// The interface between PyTorch's C++ (interpolate_mse_cuda.cpp) and the kernels (launch.cu). The kernels' side
// includes no PyTorch header, so it compiles quickly for many architectures.
#pragma once

#include <cuda_runtime_api.h>

#include "problem.h"

namespace reskd::cuda {

// All run on `stream` and return the launch's status without waiting for it.
cudaError_t launch_forward(const Problem& problem, cudaStream_t stream);
cudaError_t launch_scale(const void* saved, void* out, Type type, int64_t num_elements, const float* grad_output,
                         double factor, cudaStream_t stream);

bool has_code_for_this_gpu();

}  // namespace reskd::cuda
