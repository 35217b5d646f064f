// AdamW in one pass over memory: gradient, parameter and both moments are read once, and what the
// model computes with, the parameter rounded to bf16, is written on the way. Plain C++ that
// compilers vectorise; training/optimizer.py holds the same in PyTorch.

#include <cmath>
#include <cstdint>
#include <cstring>
#include <numeric>
#include <vector>

namespace {

float float_of(uint32_t bits) {
  float x;
  memcpy(&x, &bits, 4);
  return x;
}

uint16_t round_bf16(float x) {  // to nearest, ties to even; NaN stays NaN
  uint32_t bits;
  memcpy(&bits, &x, 4);
  uint32_t rounded = (bits + 0x7fff + ((bits >> 16) & 1)) >> 16;
  return uint16_t(x != x ? (bits >> 16) | 0x40 : rounded);
}

float wide(float x) { return x; }
float wide(uint16_t x) { return float_of(uint32_t(x) << 16); }

}  // namespace

struct Rule {
  float scale;          // of the gradient
  float beta1, beta2;   // decay of the moments
  float kept;           // 1 - lr * weight_decay
  float step;           // lr / (1 - beta1^t)
  float root;           // 1 / sqrt(1 - beta2^t)
  float eps;
};

// Blocks are summed in fp32 and added up in their order, whatever thread had them: a run that is
// repeated must get the same bits.
template <typename G>
double square_sum(const G* g, int64_t n) {
  constexpr int64_t size = 1 << 14;
  std::vector<double> parts((n + size - 1) / size);
#pragma omp parallel for schedule(static)
  for (int64_t block = 0; block < int64_t(parts.size()); block++) {
    const int64_t begin = block * size, end = begin + size < n ? begin + size : n;
    float part = 0;
#pragma omp simd reduction(+ : part)
    for (int64_t i = begin; i < end; i++) part += wide(g[i]) * wide(g[i]);
    parts[block] = part;
  }
  return std::accumulate(parts.begin(), parts.end(), 0.0);
}

template <typename G>
void update(const Rule r, const G* g, float* p, float* m, float* v, uint16_t* live, int64_t n) {
#pragma omp parallel for simd schedule(static)
  for (int64_t i = 0; i < n; i++) {
    const float slope = wide(g[i]) * r.scale;
    const float first = m[i] + (1.f - r.beta1) * (slope - m[i]);
    const float second = r.beta2 * v[i] + (1.f - r.beta2) * slope * slope;
    const float moved = p[i] * r.kept - r.step * first / (sqrtf(second) * r.root + r.eps);
    m[i] = first;
    v[i] = second;
    p[i] = moved;
    live[i] = round_bf16(moved);
  }
}

extern "C" {

double ownlm_square_sum_fp32(const float* g, int64_t n) { return square_sum(g, n); }
double ownlm_square_sum_bf16(const uint16_t* g, int64_t n) { return square_sum(g, n); }

void ownlm_adamw_fp32(const Rule* r, const float* g, float* p, float* m, float* v, uint16_t* live, int64_t n) {
  update(*r, g, p, m, v, live, n);
}

void ownlm_adamw_bf16(const Rule* r, const uint16_t* g, float* p, float* m, float* v, uint16_t* live, int64_t n) {
  update(*r, g, p, m, v, live, n);
}
}
