// Cross entropy over rows of bf16 logits, and in their place its derivative: one pass to find what
// a row sums to, one to write. See nn/loss.py for the caller and its plain form.

#include <immintrin.h>

#include <algorithm>
#include <cmath>
#include <cstdint>

typedef uint16_t bf16;

namespace {

constexpr float kLog2e = 1.44269504088896340736f;

// 2^x to about 2e-7 relative: integer part by scaling, fraction in [-0.5, 0.5] by a polynomial.
__m512 exp2_ps(__m512 x) {
  x = _mm512_max_ps(x, _mm512_set1_ps(-127.f));
  __m512 whole = _mm512_roundscale_ps(x, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC);
  __m512 f = _mm512_sub_ps(x, whole);
  __m512 y = _mm512_set1_ps(1.535336188319500e-4f);
  for (float c : {1.339887440266574e-3f, 9.618437357674640e-3f, 5.550332471162809e-2f, 2.402264791363012e-1f, 6.931472028550421e-1f, 1.0f})
    y = _mm512_fmadd_ps(y, f, _mm512_set1_ps(c));
  return _mm512_scalef_ps(y, whole);
}

__mmask16 first(int64_t n) { return n >= 16 ? 0xffff : (1 << n) - 1; }

__m512 widened(const bf16* x, __mmask16 m) {
  return _mm512_castsi512_ps(_mm512_slli_epi32(_mm512_cvtepu16_epi32(_mm256_maskz_loadu_epi16(m, x)), 16));
}

float to_float(bf16 x) {
  const uint32_t bits = uint32_t(x) << 16;
  float y;
  __builtin_memcpy(&y, &bits, 4);
  return y;
}

// Nats of one row; the row becomes probabilities less one at the target.
float row(bf16* x, int64_t columns, int64_t target) {
  __m512 top = _mm512_set1_ps(-INFINITY), total = _mm512_setzero_ps();
  for (int64_t v = 0; v < columns; v += 16) {
    const __mmask16 m = first(columns - v);
    top = _mm512_mask_max_ps(top, m, top, widened(x + v, m));
  }
  const float most = _mm512_reduce_max_ps(top) * kLog2e;
  const __m512 scale = _mm512_set1_ps(kLog2e);
  for (int64_t v = 0; v < columns; v += 16) {
    const __mmask16 m = first(columns - v);
    total = _mm512_mask_add_ps(total, m, total, exp2_ps(_mm512_fmsub_ps(widened(x + v, m), scale, _mm512_set1_ps(most))));
  }
  const float shift = most + std::log2(_mm512_reduce_add_ps(total)), said = to_float(x[target]);
  for (int64_t v = 0; v < columns; v += 16) {
    const __mmask16 m = first(columns - v);
    __m512 p = exp2_ps(_mm512_fmsub_ps(widened(x + v, m), scale, _mm512_set1_ps(shift)));
    if (target >= v && target < v + 16) p = _mm512_mask_sub_ps(p, 1 << (target - v), p, _mm512_set1_ps(1.f));
    _mm256_mask_storeu_epi16(x + v, m, (__m256i)_mm512_cvtneps_pbh(p));
  }
  return shift / kLog2e - said;
}

}  // namespace

extern "C" void ownlm_entropy(bf16* logits, const int64_t* targets, float* nats, int64_t rows, int64_t columns) {
#pragma omp parallel for schedule(dynamic, 4)
  for (int64_t i = 0; i < rows; i++) nats[i] = row(logits + i * columns, columns, targets[i]);
}
