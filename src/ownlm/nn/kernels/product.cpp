// Matrix products of training: bf16 in, fp32 inside, bf16 or fp32 out.
//
// C (M, N) = A (M, K) B (K, N), where A or B may be stored transposed: x W^T forward, dy W for the
// inputs, dy^T x for the weights. A second pair may be added, A' (M, K') and B' (K', N), as if the
// depth were K + K'. All are first packed into tiles, which all threads share; what is computed at
// once fits the caches. See nn/linear.py for the caller and its plain form.

#include "product_32x32.h"

#include <algorithm>
#include <cstdint>
#include <cstdlib>
#include <cstring>

// `a` is (M, K), or (K, M) when `a_turned`; `b` is (K, N), or (N, K) when `b_turned`: rows of
// a_row, b_row numbers. `c` has rows of c_row numbers: bf16, or fp32 when `wide`, which with `add`
// are added to. `bias` is N numbers or null. The second pair (`more`, null without one) is stored as
// the first is.
struct Product {
  int64_t M, N, K, a_row, b_row, c_row, more_K, more_a_row, more_b_row;
  const bf16 *a, *b, *bias;
  void* c;
  const bf16 *more_a, *more_b;
  int32_t a_turned, b_turned, wide, add;
};

namespace {

constexpr int kRows = 256, kColumns = 384, kDepth = 1024;  // of what is computed at once
constexpr int64_t kPacked = 4096;  // rows of A or columns of B that are packed at once

int64_t round_up(int64_t n, int64_t unit) { return (n + unit - 1) / unit * unit; }

// The depth of all panels.
int64_t depth_of(const Product& z) { return round_up(z.K, 32) + round_up(z.more_K, 32); }

struct Arena {  // grows once, then is reused for every call
  char* base = nullptr;
  size_t size = 0;
  char* reserve(size_t bytes) {
    if (bytes > size) {
      free(base);
      size = round_up(bytes, 2 << 20);
      base = static_cast<char*>(aligned_alloc(2 << 20, size));
      if (!base) abort();
    }
    return base;
  }
};
thread_local Arena packs, sums;

// ---- packing -----------------------------------------------------------------------------------

__mmask32 first(int64_t n) { return n >= 32 ? ~0u : n <= 0 ? 0 : (1u << n) - 1; }

void transpose_16x16(__m512i r[16]) {  // of 32-bit words
  __m512i t[16];
  for (int i = 0; i < 8; i++) {
    t[2 * i] = _mm512_unpacklo_epi32(r[2 * i], r[2 * i + 1]);
    t[2 * i + 1] = _mm512_unpackhi_epi32(r[2 * i], r[2 * i + 1]);
  }
  for (int i = 0; i < 4; i++)
    for (int j = 0; j < 2; j++) {
      r[4 * i + 2 * j] = _mm512_unpacklo_epi64(t[4 * i + j], t[4 * i + 2 + j]);
      r[4 * i + 2 * j + 1] = _mm512_unpackhi_epi64(t[4 * i + j], t[4 * i + 2 + j]);
    }
  for (int half = 0; half < 16; half += 8)
    for (int i = 0; i < 4; i++) {
      t[half + i] = _mm512_shuffle_i32x4(r[half + i], r[half + 4 + i], 0x88);
      t[half + 4 + i] = _mm512_shuffle_i32x4(r[half + i], r[half + 4 + i], 0xdd);
    }
  for (int i = 0; i < 8; i++) {
    r[i] = _mm512_shuffle_i32x4(t[i], t[8 + i], 0x88);
    r[8 + i] = _mm512_shuffle_i32x4(t[i], t[8 + i], 0xdd);
  }
}

// Two rows of 16 numbers, interleaved.
__m512i interleaved(const bf16* x, int64_t row, int64_t rows, int64_t columns) {
  const __mmask16 m = first(columns);
  __m512i even = rows > 0 ? _mm512_cvtepu16_epi32(_mm256_maskz_loadu_epi16(m, x)) : _mm512_setzero_si512();
  __m512i odd = rows > 1 ? _mm512_cvtepu16_epi32(_mm256_maskz_loadu_epi16(m, x + row)) : _mm512_setzero_si512();
  return _mm512_or_si512(even, _mm512_slli_epi32(odd, 16));
}

// The tile that begins at x; what lies beyond `rows` and `columns` counts as zero.
// across: 16 rows of 32 numbers along the depth, else 32 rows along the depth of 16 numbers.
template <bool across, bool paired>
void pack_tile(bf16* tile, const bf16* x, int64_t row, int64_t rows, int64_t columns) {
  __m512i r[16];
  for (int i = 0; i < 16; i++)
    if (across) r[i] = i < rows ? _mm512_maskz_loadu_epi16(first(columns), x + i * row) : _mm512_setzero_si512();
    else r[i] = interleaved(x + 2 * i * row, row, rows - 2 * i, columns);
  if (across == paired) transpose_16x16(r);
  for (int i = 0; i < 16; i++) _mm512_store_si512(tile + i * 32, r[i]);
}

// 32 rows of A or columns of B, the whole depth: [depth / 32][2 tiles].
template <bool across, bool paired>
void pack_panel(bf16* out, const bf16* x, int64_t row, int64_t wide, int64_t depth) {
  for (int64_t d = 0; d < depth; d += 32)
    for (int h = 0; h < 32; h += 16, out += kTile)
      if (across) pack_tile<true, paired>(out, x + h * row + d, row, wide - h, depth - d);
      else pack_tile<false, paired>(out, x + d * row + h, row, depth - d, wide - h);
}

struct Matrix {
  const bf16* x;
  int64_t row, depth;
};

template <bool paired>
void pack(bf16* out, Matrix one, Matrix more, bool across, int64_t from, int64_t to) {
  const int64_t deep = round_up(one.depth, 32) + round_up(more.depth, 32);
#pragma omp for schedule(dynamic, 2) nowait
  for (int64_t w = from; w < to; w += 32) {
    bf16* panel = out + (w - from) * deep;
    for (const Matrix& m : {one, more}) {
      if (across) pack_panel<true, paired>(panel, m.x + w * m.row, m.row, to - w, m.depth);
      else pack_panel<false, paired>(panel, m.x + w, m.row, to - w, m.depth);
      panel += 32 * round_up(m.depth, 32);
    }
  }
}

// ---- products ----------------------------------------------------------------------------------

__m512 widened(const bf16* x, __mmask16 m) {
  return _mm512_castsi512_ps(_mm512_slli_epi32(_mm512_cvtepu16_epi32(_mm256_maskz_loadu_epi16(m, x)), 16));
}

// A finished 32 x 32 goes to its place (m, n) in C.
void deliver(const Product& z, const float* c, int64_t m, int64_t n) {
  const __mmask32 seen = first(z.N - n);
  const __mmask16 low = seen, high = seen >> 16;
  const int64_t rows = std::min<int64_t>(32, z.M - m);
  __m512 bias_low = _mm512_setzero_ps(), bias_high = bias_low;
  if (z.bias) bias_low = widened(z.bias + n, low), bias_high = widened(z.bias + n + 16, high);
  for (int64_t i = 0; i < rows; i++, c += 32) {
    __m512 left = _mm512_add_ps(_mm512_load_ps(c), bias_low), right = _mm512_add_ps(_mm512_load_ps(c + 16), bias_high);
    if (z.wide) {
      float* y = static_cast<float*>(z.c) + (m + i) * z.c_row + n;
      if (z.add) left = _mm512_add_ps(left, _mm512_maskz_loadu_ps(low, y));
      if (z.add) right = _mm512_add_ps(right, _mm512_maskz_loadu_ps(high, y + 16));
      _mm512_mask_storeu_ps(y, low, left);
      _mm512_mask_storeu_ps(y + 16, high, right);
    } else {
      bf16* y = static_cast<bf16*>(z.c) + (m + i) * z.c_row + n;
      _mm512_mask_storeu_epi16(y, seen, (__m512i)_mm512_cvtne2ps_pbh(right, left));
    }
  }
}

// One block of C from packed panels, depth by depth so that a panel stays in the nearest cache.
void block(const Product& z, const bf16* a, const bf16* b, int64_t m0, int64_t m1, int64_t n0, int64_t n1, float* c) {
  const int64_t deep = depth_of(z), parts = (deep + kDepth - 1) / kDepth;
  const int64_t depth = round_up((deep + parts - 1) / parts, 32);
  for (int64_t k = 0; k < deep; k += depth) {
    const int steps = std::min(depth, deep - k) / 32;
    float* at = c;
    for (int64_t m = m0; m < m1; m += 32)
      for (int64_t n = n0; n < n1; n += 32) {
        const Rows rows{a + (m - m0) * deep + k * 32, 32, 2 * kTile};
        const Columns columns{b + (n - n0) * deep + k * 32, kTile, 2 * kTile};
        product_32x32(at, 32, k > 0, rows, columns, steps);
        if (k + depth >= deep) deliver(z, at, m, n);
        if (parts > 1) at += 1024;
      }
  }
}

// All of C whose rows and columns are packed.
void multiply(const Product& z, const bf16* a, const bf16* b, int64_t m0, int64_t m1, int64_t n0, int64_t n1) {
  const int64_t deep = depth_of(z);
#pragma omp for collapse(2) schedule(dynamic, 1)
  for (int64_t n = n0; n < n1; n += kColumns)
    for (int64_t m = m0; m < m1; m += kRows) {
      float* c = reinterpret_cast<float*>(sums.reserve(sizeof(float) * kRows * kColumns));
      block(z, a + (m - m0) * deep, b + (n - n0) * deep, m, std::min(m1, m + kRows), n, std::min(n1, n + kColumns), c);
    }
}

}  // namespace

extern "C" {

// 1 when this processor and kernel can run it.
int ownlm_product_available() { return __builtin_cpu_supports("avx512bf16") && products_allowed(); }

void ownlm_product(const Product* problem) {
  const Product& z = *problem;
  const int64_t deep = depth_of(z);
  const Matrix a_one{z.a, z.a_row, z.K}, a_more{z.more_a, z.more_a_row, z.more_K};
  const Matrix b_one{z.b, z.b_row, z.K}, b_more{z.more_b, z.more_b_row, z.more_K};
  const int64_t rows = std::min(kPacked, round_up(z.M, 32)), columns = std::min(kPacked, round_up(z.N, 32));
  bf16* a = reinterpret_cast<bf16*>(packs.reserve(sizeof(bf16) * (rows + columns) * deep));
  bf16* b = a + rows * deep;
#pragma omp parallel
  {
    begin_products();
    for (int64_t m = 0; m < z.M; m += rows) {
      const int64_t m1 = std::min(z.M, m + rows);
      pack<false>(a, a_one, a_more, !z.a_turned, m, m1);
      for (int64_t n = 0; n < z.N; n += columns) {
        const int64_t n1 = std::min(z.N, n + columns);
        pack<true>(b, b_one, b_more, z.b_turned, n, n1);
#pragma omp barrier
        multiply(z, a, b, m, m1, n, n1);  // ends with a barrier
      }
    }
    end_products();
  }
}
}
