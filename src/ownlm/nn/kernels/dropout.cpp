// Dropout whose mask is a function of (seed, place) and is never stored: the backward pass
// computes it again. Plain C++ that compilers vectorise; nn/dropout.py holds the same in PyTorch.

#include <cstdint>
#include <cstring>

namespace {

uint32_t mix(uint32_t x) {  // C. Wellons, lowbias32
  x ^= x >> 16;
  x *= 0x7feb352du;
  x ^= x >> 15;
  x *= 0x846ca68bu;
  return x ^ (x >> 16);
}

uint32_t bits_of(float x) {
  uint32_t bits;
  memcpy(&bits, &x, 4);
  return bits;
}

float float_of(uint32_t bits) {
  float x;
  memcpy(&x, &bits, 4);
  return x;
}

uint16_t round_bf16(float x) {  // to nearest, ties to even; NaN stays NaN
  uint32_t bits = bits_of(x);
  uint32_t rounded = (bits + 0x7fff + ((bits >> 16) & 1)) >> 16;
  return uint16_t(x != x ? (bits >> 16) | 0x40 : rounded);
}

}  // namespace

extern "C" {

// y = x / (1 - p) where the mixed counter reaches threshold = p * 2^32, elsewhere 0.
void ownlm_dropout_fp32(const float* x, float* y, int64_t n, uint32_t seed, uint32_t threshold) {
  const float factor = 1.f / (1.f - threshold * 0x1p-32f);
  const uint32_t mixed = mix(seed);
#pragma omp parallel for simd schedule(static)
  for (int64_t i = 0; i < n; i++) y[i] = mix(uint32_t(i) ^ mixed) >= threshold ? x[i] * factor : 0.f;
}

void ownlm_dropout_bf16(const uint16_t* x, uint16_t* y, int64_t n, uint32_t seed, uint32_t threshold) {
  const float factor = 1.f / (1.f - threshold * 0x1p-32f);
  const uint32_t mixed = mix(seed);
#pragma omp parallel for simd schedule(static)
  for (int64_t i = 0; i < n; i++) {
    uint16_t scaled = round_bf16(float_of(uint32_t(x[i]) << 16) * factor);
    y[i] = mix(uint32_t(i) ^ mixed) >= threshold ? scaled : 0;
  }
}
}
