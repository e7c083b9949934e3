// The arguments of the CUDA kernels, and how a problem is cut into blocks.
#pragma once

#include <algorithm>
#include <cstdint>

namespace reskd::cuda {

enum class Type { kFloat, kHalf, kBFloat16 };

// (B, D, height, width) in memory; strides in elements. Pixels of an image follow each other with one stride.
struct Images {
  int height, width;
  int64_t image_stride, pixel_stride, channel_stride;
};

struct Problem {
  const void* student;
  const void* teacher;
  void* saved;  // of the student's type and layout; null where no gradient is wanted
  Type student_type, teacher_type;
  Images student_images, teacher_images;
  int64_t num_images;
  int num_channels;
  float saved_factor;  // 1 / divisor: Note [What the forward pass saves]
  double* partials;    // one per block
  float* loss;
};

// Two kernels. columns_kernel, for channels-last with whole vectors: each of its `lanes` threads goes down an image
// alone for `vector` adjacent channels, read in one load of up to 16 bytes. tiles_kernel, for all else: a block takes
// `lanes * vector` channels of one image, and its lanes x columns threads share out the columns of each row.
enum class Kernel { kColumns, kTiles };

struct Plan {
  Kernel kernel;
  int vector, lanes, columns;
  bool channels_fastest;  // whether neighboring threads take neighboring channels
  int pitch;              // floats from column to column in shared memory
  int64_t blocks_per_image;
  int64_t num_blocks;
  int64_t shared_bytes;
};

constexpr int64_t kSharedBytes = 48 * 1024;  // the most that a kernel gets on any GPU without asking for more
constexpr int kMaxThreads = 256;
constexpr int kColumnsThreads = 128;  // halved down to kWarp while the rows of gradients do not fit
constexpr int kWarp = 32;
constexpr int kMaxSide = 1024;  // of a grid, so that tables and rows fit into kSharedBytes; dispatch.py has it too
constexpr int kVectorLanes = 16;
constexpr int64_t kSumBytes = 8 * kMaxThreads;  // one double a thread

inline int64_t ceil_div(int64_t a, int64_t b) { return (a + b - 1) / b; }

// Tables of rows, columns and first places; two rows of differences; two rows of gradients.
inline int64_t shared_bytes(const Problem& problem, int pitch) {
  const Images &student = problem.student_images, &teacher = problem.teacher_images;
  const int64_t tables = 8 * (int64_t(teacher.height) + teacher.width) + 4 * (int64_t(student.width) + 2);
  return std::max(kSumBytes, ceil_div(tables, 16) * 16 + 8 * int64_t(pitch) * (teacher.width + student.width));
}

// Fills the plan of columns_kernel. Returns whether its rows of gradients fit into shared memory.
inline bool fit_columns(const Problem& problem, int vector, Plan& plan) {
  const Images &student = problem.student_images, &teacher = problem.teacher_images;
  const int64_t tables = 4 * (2 * int64_t(teacher.height) + teacher.width + student.width + 1);
  for (int threads = kColumnsThreads; threads >= kWarp; threads /= 2) {
    const int64_t bytes = tables + 8 * int64_t(student.width) * vector * threads;
    if (bytes > kSharedBytes) continue;
    plan.kernel = Kernel::kColumns;
    plan.vector = vector;
    plan.lanes = threads;
    plan.columns = 1;
    plan.num_blocks = ceil_div(problem.num_images * (problem.num_channels / vector), threads);
    plan.shared_bytes = std::max(kSumBytes, bytes);
    return true;
  }
  return false;
}

// `vector`: channels that one load may take, 1 where the layouts or the alignment forbid more.
inline Plan make_plan(const Problem& problem, int vector) {
  Plan plan{};
  if (vector > 1 && fit_columns(problem, vector, plan)) return plan;
  plan.kernel = Kernel::kTiles;
  plan.channels_fastest = problem.student_images.channel_stride == 1 && problem.teacher_images.channel_stride == 1;
  const int width = std::max(problem.student_images.width, problem.teacher_images.width);
  const auto set = [&](int each, int lanes) {
    plan.vector = each;
    plan.lanes = lanes;
    // Planar rows are written to shared memory column by column: an odd pitch spreads them over the banks.
    plan.pitch = plan.channels_fastest ? each * lanes : (each * lanes) | 1;
    plan.shared_bytes = shared_bytes(problem, plan.pitch);
  };
  const int wanted = plan.channels_fastest ? (vector > 1 ? kVectorLanes : 32) : std::max(1, kMaxThreads / width);
  set(vector, static_cast<int>(std::min<int64_t>(wanted, ceil_div(problem.num_channels, vector))));
  while (plan.shared_bytes > kSharedBytes && plan.lanes > 1) set(vector, plan.lanes / 2);
  if (plan.shared_bytes > kSharedBytes && vector > 1) set(1, 1);
  plan.columns = std::max(1, std::min(width, kMaxThreads / plan.lanes));
  plan.blocks_per_image = ceil_div(problem.num_channels, int64_t(plan.vector) * plan.lanes);
  plan.num_blocks = problem.num_images * plan.blocks_per_image;
  return plan;
}

// Enough for a load of 16 bytes. A tensor may start anywhere in its storage.
inline bool is_aligned(const void* data) { return reinterpret_cast<uintptr_t>(data) % 16 == 0; }

// `full` where every load of so many channels is whole and aligned, else 1.
inline int widest_vector(const Problem& problem, int full) {
  const bool fits = problem.student_images.channel_stride == 1 && problem.teacher_images.channel_stride == 1 &&
                    problem.num_channels % full == 0 && is_aligned(problem.student) && is_aligned(problem.teacher) &&
                    is_aligned(problem.saved);
  return fits ? full : 1;
}

inline int vector_size(Type teacher_type) { return teacher_type == Type::kFloat ? 4 : 8; }  // 16 bytes

inline Plan make_plan(const Problem& problem) {
  return make_plan(problem, widest_vector(problem, vector_size(problem.teacher_type)));
}

}  // namespace reskd::cuda
