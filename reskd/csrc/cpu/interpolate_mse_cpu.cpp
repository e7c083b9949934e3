// The CPU path: how the tensors are split into pieces over threads. The arithmetic is in kernels.cpp.
#include <ATen/Parallel.h>
#include <ATen/ops/empty.h>
#include <ATen/ops/empty_like.h>
#include <ATen/ops/scalar_tensor.h>

#include <algorithm>
#include <cstring>
#include <new>
#include <numeric>
#include <type_traits>
#include <vector>

#include "../interpolate_mse_backends.h"
#include "kernels.h"

namespace reskd::cpu {
namespace {

// A piece is some channels of one image: so few that the student's pixels and their gradients stay in the cache while
// each pixel of the teacher is read once, so many that memory is read in long runs. Both are copied, because pixels in
// a tensor lie powers of two apart and would evict each other from the cache. 4,096 to 32,768 elements are about
// equally fast, 1,024 half as fast (docs/lab_notes.md).
constexpr int64_t kCacheElements = 8192;
constexpr int64_t kLeastPiece = kBlock;
constexpr int64_t kMostPiece = 512;

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

// One (B, D, H, W) tensor whose pixels have one common stride, as in contiguous and channels-last.
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

// Memory that starts on a cache line: a vector load that crosses two costs twice.
template <typename T>
class Aligned {
 public:
  explicit Aligned(int64_t size)
      : size_(size), data_(static_cast<T*>(::operator new(sizeof(T) * size, std::align_val_t{kLine}))) {}
  Aligned(const Aligned&) = delete;
  ~Aligned() { ::operator delete(data_, std::align_val_t{kLine}); }

  T* data() { return data_; }
  void clear() { std::memset(static_cast<void*>(data_), 0, sizeof(T) * size_); }

 private:
  static constexpr std::size_t kLine = 64;
  int64_t size_;
  T* data_;
};

int64_t pad(int64_t num_channels) { return (num_channels + kBlock - 1) / kBlock * kBlock; }

// Channels in a piece: a multiple of kBlock, or all; pieces of an image are about equal.
int64_t piece_for(int64_t num_channels, int64_t num_student_pixels) {
  const int64_t fitting = std::clamp(kCacheElements / num_student_pixels / kBlock * kBlock, kLeastPiece, kMostPiece);
  const int64_t num_pieces = (num_channels + fitting - 1) / fitting;
  return std::min(num_channels, pad((num_channels + num_pieces - 1) / num_pieces));
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
        piece_(piece_for(num_channels_, student_.num_pixels())),
        pieces_per_image_((num_channels_ + piece_ - 1) / piece_) {
    for (int y = 0; y < teacher_.height; ++y) rows_.push_back(neighbors<Acc>(y, student_.height, teacher_.height));
    for (int x = 0; x < teacher_.width; ++x) {
      weights_high_.push_back(neighbors<Acc>(x, student_.width, teacher_.width).weight_high);
    }
    for (int i = 0; i <= student_.width; ++i) first_.push_back(first_place(i, student_.width, teacher_.width));
  }

  // Sum of squared differences. Pieces and the order of their sum depend on the shapes alone, so the result is
  // bit-identical for any number of threads.
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
  // Buffers of one thread, reused for its pieces.
  struct Scratch {
    explicit Scratch(const Forward& forward)
        : student(forward.student_.num_pixels() * pad(forward.piece_)),
          gradient(forward.needs_gradient_ ? forward.student_.num_pixels() * pad(forward.piece_) : 0),
          target(forward.teacher_.width * pad(forward.piece_)) {}

    Aligned<Acc> student, gradient, target;
  };

  double run_piece(int64_t image, int64_t channel, int num_channels, Scratch& scratch) const {
    const int padded = static_cast<int>(pad(num_channels));
    access<S>().load(student_.template from<const S>(image, 0, channel), scratch.student.data(), student_.num_pixels(),
                     num_channels, padded);
    scratch.gradient.clear();
    RowTask<Acc> task{};
    task.first = first_.data();
    task.weights_high = weights_high_.data();
    task.resizes = student_.width != teacher_.width;
    task.num_source_columns = student_.width;
    task.num_channels = padded;
    task.element_bytes = sizeof(T);
    double totals[kTotals] = {};
    task.totals = totals;
    for (int y = 0; y < teacher_.height; ++y) {
      const Neighbors<Acc>& at = rows_[y];
      const int64_t row = int64_t(student_.width) * padded;
      task.weight_high = at.weight_high;
      task.source_low = scratch.student.data() + at.low * row;
      task.source_high = scratch.student.data() + at.high * row;
      if (needs_gradient_) {
        task.gradient_low = scratch.gradient.data() + at.low * row;
        task.gradient_high = scratch.gradient.data() + at.high * row;
      }
      set_target(task, image, y, channel, num_channels, scratch);
      run_row(task);
    }
    if (needs_gradient_) {
      access<S>().store(scratch.gradient.data(), saved_.template from<S>(image, 0, channel), saved_.num_pixels(),
                        num_channels, padded, factor_);
    }
    return std::accumulate(totals, totals + kTotals, 0.0);
  }

  // The teacher's row in place if possible, otherwise a copy.
  void set_target(RowTask<Acc>& task, int64_t image, int y, int64_t channel, int num_channels, Scratch& scratch) const {
    const auto from = teacher_.template from<const T>(image, int64_t(y) * teacher_.width, channel);
    task.ahead = nullptr;
    if (!teacher_.planar) {
      const bool last = y + 1 == teacher_.height;  // the next piece follows
      const T* ahead = last ? teacher_.template from<const T>(image, 0, channel + num_channels).data
                            : from.data + teacher_.width * from.pixel_stride;
      task.ahead = reinterpret_cast<const char*>(ahead);
      task.ahead_stride = from.pixel_stride * sizeof(T);
    }
    if constexpr (std::is_same_v<T, Acc>) {
      if (!teacher_.planar && num_channels == task.num_channels) {
        task.target = from.data;
        task.target_stride = from.pixel_stride;
        return;
      }
    }
    access<T>().load(from, scratch.target.data(), teacher_.width, num_channels, task.num_channels);
    task.target = scratch.target.data();
    task.target_stride = task.num_channels;
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
  std::vector<Neighbors<Acc>> rows_;
  std::vector<Acc> weights_high_;
  std::vector<int> first_;
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
