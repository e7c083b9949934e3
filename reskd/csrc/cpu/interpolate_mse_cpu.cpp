// The CPU path: which piece of the tensors is worked on when, and by whom. The arithmetic is in kernels.cpp.
#include <ATen/Parallel.h>
#include <ATen/ops/empty.h>
#include <ATen/ops/empty_like.h>
#include <ATen/ops/scalar_tensor.h>

#include <algorithm>
#include <cstring>
#include <type_traits>
#include <vector>

#include "../interpolate_mse_backends.h"
#include "kernels.h"

namespace reskd::cpu {
namespace {

// A piece is some channels of one image: small enough for the student's pixels, their gradients and a row of the teacher
// to stay in the cache while each pixel of the teacher comes by once. docs/benchmarks.md has the measurement.
constexpr int64_t kChannelsLastPiece = 512;
constexpr int64_t kPlanarPiece = 64;

template <typename T>
using AccOf = std::conditional_t<std::is_same_v<T, double>, double, float>;

template <typename T>
const auto& access() {
  if constexpr (std::is_same_v<T, double>) {
    return kernels().f64;
  } else if constexpr (std::is_same_v<T, float>) {
    return kernels().f32;
  } else if constexpr (std::is_same_v<T, Half>) {
    return kernels().f16;
  } else {
    return kernels().bf16;
  }
}

// One (B, D, H, W) tensor whose pixels follow each other with one stride, which contiguous and channels-last both do.
template <typename T>
struct Images {
  explicit Images(const at::Tensor& tensor)
      : data(static_cast<T*>(tensor.data_ptr())),
        height(static_cast<int>(tensor.size(2))),
        width(static_cast<int>(tensor.size(3))),
        planar(tensor.is_contiguous() && !tensor.is_contiguous(at::MemoryFormat::ChannelsLast)),
        image_stride(tensor.size(1) * height * width),
        pixel_stride(planar ? 1 : tensor.size(1)),
        channel_stride(planar ? int64_t(height) * width : 1) {}

  int num_pixels() const { return height * width; }

  template <typename U = T>
  Strided<U> from(int64_t image, int64_t pixel, int64_t channel) const {
    return {data + image * image_stride + pixel * pixel_stride + channel * channel_stride, pixel_stride,
            channel_stride};
  }

  T* data;
  int height, width;
  bool planar;
  int64_t image_stride, pixel_stride, channel_stride;
};

// Pixels in the type we compute in: a tensor's own memory where that will do, a copy of the piece otherwise.
template <typename Acc>
struct Pixels {
  Acc* data;
  int64_t stride;
};

template <typename T, typename Acc>
bool usable_in_place(const Images<T>& images) {
  return std::is_same_v<T, Acc> && !images.planar;
}

template <typename S, typename T>
class Forward {
 public:
  using Acc = AccOf<S>;

  Forward(const at::Tensor& student, const at::Tensor& teacher, const at::Tensor& saved, double divisor)
      : student_(student),
        teacher_(teacher),
        saved_(saved),
        needs_gradient_(saved.numel() > 0),
        factor_(static_cast<Acc>(1 / divisor)),
        num_images_(student.size(0)),
        num_channels_(student.size(1)),
        piece_(std::min(num_channels_, student_.planar || teacher_.planar ? kPlanarPiece : kChannelsLastPiece)),
        pieces_per_image_((num_channels_ + piece_ - 1) / piece_) {
    for (int y = 0; y < teacher_.height; ++y) rows_.push_back(neighbours<Acc>(y, student_.height, teacher_.height));
    for (int x = 0; x < teacher_.width; ++x) columns_.push_back(neighbours<Acc>(x, student_.width, teacher_.width));
  }

  // Sum of squared differences. Pieces and the order of their sum depend on the shapes alone, so the bits do not depend
  // on the number of threads.
  double run() {
    const int64_t num_pieces = num_images_ * pieces_per_image_;
    std::vector<double> sums(num_pieces);
    at::parallel_for(0, num_pieces, 1, [&](int64_t begin, int64_t end) {
      Scratch scratch(*this);
      for (int64_t piece = begin; piece < end; ++piece) {
        const int64_t channel = piece % pieces_per_image_ * piece_;
        sums[piece] = run_piece(piece / pieces_per_image_, channel,
                                static_cast<int>(std::min(piece_, num_channels_ - channel)), scratch);
      }
    });
    double sum = 0;
    for (const double part : sums) sum += part;
    return sum;
  }

 private:
  struct Scratch {
    explicit Scratch(const Forward& forward)
        : student(usable_in_place<S, Acc>(forward.student_) ? 0 : forward.student_.num_pixels() * forward.piece_),
          gradient(forward.needs_gradient_ && !usable_in_place<S, Acc>(forward.saved_) ? student.size() : 0),
          target(usable_in_place<T, Acc>(forward.teacher_) ? 0 : forward.teacher_.width * forward.piece_),
          blended(forward.student_.width * forward.piece_),
          gathered(blended.size()),
          squares(forward.piece_),
          totals(forward.piece_) {}

    std::vector<Acc> student, gradient, target, blended, gathered, squares;
    std::vector<double> totals;
  };

  double run_piece(int64_t image, int64_t channel, int num_channels, Scratch& scratch) const {
    const Pixels<Acc> student = load_student(image, channel, num_channels, scratch);
    const Pixels<Acc> gradient = clear_gradient(image, channel, num_channels, scratch);
    std::fill(scratch.totals.begin(), scratch.totals.end(), 0.0);
    RowTask<Acc> task{};
    task.source_stride = student.stride;
    task.gradient_stride = gradient.stride;
    task.columns = columns_.data();
    task.num_columns = teacher_.width;
    task.num_source_columns = student_.width;
    task.num_channels = num_channels;
    task.blended = scratch.blended.data();
    task.gathered = scratch.gathered.data();
    task.squares = scratch.squares.data();
    task.totals = scratch.totals.data();
    for (int y = 0; y < teacher_.height; ++y) {
      const Neighbours<Acc>& at = rows_[y];
      const int64_t low = int64_t(at.low) * student_.width, high = int64_t(at.high) * student_.width;
      task.weight_high = at.weight_high;
      task.source_low = student.data + low * student.stride;
      task.source_high = student.data + high * student.stride;
      if (needs_gradient_) {
        task.gradient_low = gradient.data + low * gradient.stride;
        task.gradient_high = gradient.data + high * gradient.stride;
      }
      const Pixels<Acc> target = load_target(image, y, channel, num_channels, scratch);
      task.target = target.data;
      task.target_stride = target.stride;
      run_row(task);
    }
    if (needs_gradient_ && !usable_in_place<S, Acc>(saved_)) {
      access<S>().store(gradient.data, saved_.template from<S>(image, 0, channel), saved_.num_pixels(), num_channels,
                        factor_);
    }
    double sum = 0;
    for (int c = 0; c < num_channels; ++c) sum += scratch.totals[c];
    return sum;
  }

  Pixels<Acc> load_student(int64_t image, int64_t channel, int num_channels, Scratch& scratch) const {
    const auto from = student_.template from<const S>(image, 0, channel);
    if constexpr (std::is_same_v<S, Acc>) {
      if (!student_.planar) return {const_cast<Acc*>(from.data), from.pixel_stride};
    }
    access<S>().load(from, scratch.student.data(), student_.num_pixels(), num_channels);
    return {scratch.student.data(), num_channels};
  }

  Pixels<Acc> clear_gradient(int64_t image, int64_t channel, int num_channels, Scratch& scratch) const {
    if (!needs_gradient_) return {nullptr, 0};
    Pixels<Acc> gradient{scratch.gradient.data(), num_channels};
    if constexpr (std::is_same_v<S, Acc>) {
      if (!saved_.planar) {
        const auto into = saved_.template from<S>(image, 0, channel);
        gradient = {into.data, into.pixel_stride};
      }
    }
    for (int p = 0; p < saved_.num_pixels(); ++p) {
      std::memset(gradient.data + p * gradient.stride, 0, sizeof(Acc) * num_channels);
    }
    return gradient;
  }

  Pixels<Acc> load_target(int64_t image, int y, int64_t channel, int num_channels, Scratch& scratch) const {
    const auto from = teacher_.template from<const T>(image, int64_t(y) * teacher_.width, channel);
    if constexpr (std::is_same_v<T, Acc>) {
      if (!teacher_.planar) return {const_cast<Acc*>(from.data), from.pixel_stride};
    }
    access<T>().load(from, scratch.target.data(), teacher_.width, num_channels);
    return {scratch.target.data(), num_channels};
  }

  static void run_row(const RowTask<Acc>& task) {
    if constexpr (std::is_same_v<Acc, double>) {
      kernels().row_f64(task);
    } else {
      kernels().row_f32(task);
    }
  }

  Images<S> student_;
  Images<T> teacher_;
  Images<S> saved_;
  bool needs_gradient_;
  Acc factor_;
  int64_t num_images_, num_channels_, piece_, pieces_per_image_;
  std::vector<Neighbours<Acc>> rows_, columns_;
};

// Calls `function` with a value of our type for the dtype.
template <typename Function>
auto with_type(at::ScalarType dtype, Function function) {
  switch (dtype) {
    case at::kFloat:
      return function(float{});
    case at::kHalf:
      return function(Half{});
    case at::kBFloat16:
      return function(BFloat16{});
    default:
      TORCH_CHECK_TYPE(false, "expected fp16, bf16 or fp32, found ", dtype);
  }
}

double sum_of_squares(const at::Tensor& student, const at::Tensor& teacher, const at::Tensor& saved, double divisor) {
  if (student.scalar_type() == at::kDouble) return Forward<double, double>(student, teacher, saved, divisor).run();
  return with_type(student.scalar_type(), [&](auto student_type) {
    return with_type(teacher.scalar_type(), [&](auto teacher_type) {
      return Forward<decltype(student_type), decltype(teacher_type)>(student, teacher, saved, divisor).run();
    });
  });
}

template <typename T>
void scale_elements(const at::Tensor& saved, const at::Tensor& out, double factor) {
  constexpr int64_t kGrain = 32768;
  const T* from = static_cast<const T*>(saved.data_ptr());
  T* to = static_cast<T*>(out.data_ptr());
  at::parallel_for(0, saved.numel(), kGrain, [&](int64_t begin, int64_t end) {
    access<T>().scale(from + begin, to + begin, end - begin, static_cast<AccOf<T>>(factor));
  });
}

}  // namespace

ForwardResult interpolate_mse(const at::Tensor& student, const at::Tensor& teacher, bool needs_gradient) {
  at::Tensor saved = needs_gradient ? at::empty_like(student) : at::empty({0, 0, 0, 0}, student.options());
  const double divisor = divisor_for(student, teacher.size(2), teacher.size(3));
  const double mean = sum_of_squares(student, teacher, saved, divisor) / static_cast<double>(teacher.numel());
  const auto dtype = student.scalar_type() == at::kDouble ? at::kDouble : at::kFloat;
  return {at::scalar_tensor(mean, student.options().dtype(dtype)), saved};
}

at::Tensor scale(const at::Tensor& saved, const at::Tensor& grad_output, double factor) {
  at::Tensor out = at::empty_like(saved);
  factor *= grad_output.item<double>();
  if (saved.scalar_type() == at::kDouble) {
    scale_elements<double>(saved, out, factor);
  } else {
    with_type(saved.scalar_type(), [&](auto type) { scale_elements<decltype(type)>(saved, out, factor); });
  }
  return out;
}

const char* instruction_set() { return kernels().instruction_set; }

}  // namespace reskd::cpu
