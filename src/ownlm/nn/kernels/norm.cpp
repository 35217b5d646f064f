// Root mean square norm, forward and backward, in one pass over each row: bf16 numbers, float32
// inside. See nn/norm.py for the caller; torch makes six passes of it on a CPU.

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <cstring>

namespace {

struct bf16 {
  uint16_t bits;
};

inline float read(bf16 x) {
  const uint32_t wide = uint32_t(x.bits) << 16;
  float y;
  memcpy(&y, &wide, 4);
  return y;
}
inline void write(bf16* at, float x) {  // to nearest, ties to even; not a number stays one
  uint32_t bits;
  memcpy(&bits, &x, 4);
  const uint32_t rounded = (bits + 0x7fff + ((bits >> 16) & 1)) >> 16;
  at->bits = x != x ? uint16_t(0x7fc0) : uint16_t(rounded);
}

}  // namespace

extern "C" {

void ownlm_norm(const bf16* x, const bf16* weight, float eps, bf16* y, float* inverse, int64_t rows, int64_t width) {
#pragma omp parallel for
  for (int64_t i = 0; i < rows; i++) {
    const bf16* from = x + i * width;
    bf16* to = y + i * width;
    float sum = 0;
#pragma omp simd reduction(+ : sum)
    for (int64_t d = 0; d < width; d++) sum += read(from[d]) * read(from[d]);
    const float r = inverse[i] = 1 / std::sqrt(sum / width + eps);
#pragma omp simd
    for (int64_t d = 0; d < width; d++) write(to + d, read(from[d]) * r * read(weight[d]));
  }
}

// `sums` (blocks, width) are zeros; the caller adds them up. Rows are divided into blocks, not
// among threads, so that the sums do not depend on how many there are.
void ownlm_norm_back(const bf16* grad, const bf16* x, const bf16* weight, const float* inverse, bf16* dx, float* sums, int64_t blocks, int64_t rows, int64_t width) {
#pragma omp parallel for
  for (int64_t b = 0; b < blocks; b++) {
    float* for_weight = sums + b * width;
    for (int64_t i = rows * b / blocks; i < rows * (b + 1) / blocks; i++) {
      const bf16 *from = x + i * width, *g = grad + i * width;
      bf16* to = dx + i * width;
      const float r = inverse[i];
      float along = 0;
#pragma omp simd reduction(+ : along)
      for (int64_t d = 0; d < width; d++) along += read(g[d]) * read(weight[d]) * read(from[d]);
      const float back = along * r * r * r / width;
#pragma omp simd
      for (int64_t d = 0; d < width; d++) {
        for_weight[d] += read(g[d]) * read(from[d]) * r;
        write(to + d, read(g[d]) * read(weight[d]) * r - read(from[d]) * back);
      }
    }
  }
}
}
