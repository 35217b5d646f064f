// What happens to one row of the stream between two products: norms, activations, and the form in
// which a row multiplies a weight (rounded to bf16, or to 8 bits with a scale for each group).

#pragma once

#include <cmath>

#include "decode_lanes.h"

enum Kind : int32_t { kBf16 = 0, kInt8 = 1, kInt4 = 2 };
enum Act : int32_t { kRelu = 0, kGelu = 1, kGeluTanh = 2, kSilu = 3, kTanh = 4 };

// Weight and bias may be null; `centred` is LayerNorm, otherwise RMSNorm.
struct Norm {
  const float *weight, *bias;
  float eps;
  int32_t centred, present;
};

// ---- functions of single numbers -------------------------------------------------------------

// e^x to about 2e-7 relative: 2^whole by its bits, the fraction in [-0.5, 0.5] by a polynomial.
inline Floats exp(Floats x) {
  x = x < -87.f ? all(-87.f) : x > 88.f ? all(88.f) : x;
  const Floats scaled = x * 1.44269504088896341f, shifted = scaled + 12582912.f;
  const Floats f = scaled - (shifted - 12582912.f);
  Floats y = all(1.535336188319500e-4f);
  for (float c : {1.339887440266574e-3f, 9.618437357674640e-3f, 5.550332471162809e-2f, 2.402264791363012e-1f,
                  6.931472028550421e-1f, 1.0f})
    y = y * f + c;
  return (Floats)((Ints)y + ((Ints)shifted << 23));
}

inline Floats sigmoid(Floats x) { return 1.f / (1.f + exp(-x)); }
inline Floats tanh(Floats x) { return 2.f * sigmoid(2.f * x) - 1.f; }

// Abramowitz and Stegun 7.1.26: within 1.5e-7.
inline Floats erf(Floats x) {
  const Floats size = x < 0.f ? -x : x, t = 1.f / (1.f + 0.3275911f * size);
  Floats y = all(1.061405429f);
  for (float c : {-1.453152027f, 1.421413741f, -0.284496736f, 0.254829592f}) y = y * t + c;
  y = 1.f - y * t * exp(-size * size);
  return x < 0.f ? -y : y;
}

inline Floats activated(Act act, Floats x) {
  switch (act) {
    case kRelu: return x > 0.f ? x : Floats{};
    case kGelu: return 0.5f * x * (1.f + erf(x * 0.70710678118654752f));
    case kGeluTanh: return x * sigmoid(1.5957691216057308f * (x + 0.044715f * x * x * x));
    case kSilu: return x * sigmoid(x);
    default: return tanh(x);
  }
}

inline void cap(float* x, int64_t count, float softcap) {  // into (-softcap, softcap)
  for (int64_t i = 0; i < count; i += kLanes) {
    Floats v{};
    memcpy(&v, x + i, std::min<int64_t>(kLanes, count - i) * sizeof(float));
    write(x + i, softcap * tanh(v * (1.f / softcap)), count - i);
  }
}

// ---- norms -----------------------------------------------------------------------------------

inline void normalise(const Norm& norm, const float* x, float* y, int64_t count) {
  float mean = 0, square = 0;
  if (norm.centred) {
#pragma omp simd reduction(+ : mean)
    for (int64_t i = 0; i < count; i++) mean += x[i];
    mean /= count;
  }
#pragma omp simd reduction(+ : square)
  for (int64_t i = 0; i < count; i++) square += (x[i] - mean) * (x[i] - mean);
  const float inverse = 1.f / std::sqrt(square / count + norm.eps);
  if (norm.bias)
#pragma omp simd
    for (int64_t i = 0; i < count; i++) y[i] = (x[i] - mean) * inverse * norm.weight[i] + norm.bias[i];
  else
#pragma omp simd
    for (int64_t i = 0; i < count; i++) y[i] = (x[i] - mean) * inverse * norm.weight[i];
}

// ---- the form in which rows multiply weights -------------------------------------------------

constexpr int64_t kGroup8 = 64, kGroup4 = 32;  // numbers of a row that share a scale, by the weight's kind

inline int64_t group_of(Kind kind) { return kind == kInt4 ? kGroup4 : kGroup8; }

// Rows as they multiply weights: `halves` in bf16, or `bytes` with a scale for each group and the
// sum of each group. `step` numbers lie between rows, an odd number of lines, since 16 rows at a
// distance of a power of two would push each other out of the nearest cache.
struct Rows {
  bf16* halves;
  int8_t* bytes;
  float* scales;
  int32_t* sums;
  int64_t step, groups;
};

inline int64_t step_of(int64_t inputs) { return round_up(inputs, kLine) | kLine; }
inline int64_t groups_of(int64_t inputs) { return round_up(inputs, kLine) / kGroup4; }

// Sixteen numbers from x, of which `count` exist.
inline Floats some(const float* x, int64_t count) {
  if (count >= kLanes) return read<Floats>(x);
  Floats v{};
  if (count > 0) memcpy(&v, x, count * sizeof(float));
  return v;
}

inline void round_row(bf16* out, const float* x, int64_t count) {
  for (int64_t i = 0; i < round_up(count, kLine); i += kLanes) {
    const Halves rounded = __builtin_convertvector(to_bf16(some(x + i, count - i)), Halves);
    memcpy(out + i, &rounded, sizeof(rounded));
  }
}

inline float largest(const float* x, int64_t count) {
  float most = 0;
#pragma omp simd reduction(max : most)
  for (int64_t i = 0; i < count; i++) most = std::max(most, std::fabs(x[i]));
  return most;
}

// One group, `room` numbers of which `count` exist: the nearest of -127 to 127 times its scale.
inline void round_group(int8_t* out, float* scale, int32_t* sum, const float* x, int64_t count, int64_t room) {
  typedef int8_t Sixteen __attribute__((vector_size(16)));
  const float most = largest(x, std::min(count, room));
  const float inverse = most > 0 ? 127.f / most : 0.f;
  Ints total{};
  for (int64_t i = 0; i < room; i += kLanes) {
    const Floats magic = all(12582912.f);  // adding it rounds to whole numbers
    const Ints whole = (Ints)(some(x + i, count - i) * inverse + magic) - (Ints)magic;
    const Sixteen bytes = __builtin_convertvector(whole, Sixteen);
    memcpy(out + i, &bytes, sizeof(bytes));
    total += whole;
  }
  *scale = most / 127.f;
  *sum = 0;
  for (int n = 0; n < kLanes; n++) *sum += total[n];
}

// Groups from `from` to `to` of row m; x is the whole row.
inline void round_groups(const Rows& rows, int64_t m, Kind kind, const float* x, int64_t count, int64_t from, int64_t to) {
  const int64_t size = group_of(kind), end = round_up(count, kLine);
  for (int64_t g = from; g < to; g++) {
    const int64_t at = g * size, place = m * rows.groups + g;
    round_group(rows.bytes + m * rows.step + at, rows.scales + place, rows.sums + place, x + at, count - at,
                std::min(size, end - at));
  }
}
