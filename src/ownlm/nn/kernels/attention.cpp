// Softmax attention for training: bf16 in and out, fp32 inside, dropout
// on the probabilities, each query reading one contiguous range of keys.
//
// The range [lo, hi) of a query says everything a training batch needs: causal, sliding window,
// packed documents and padding (lo == hi: sees nothing). Work outside the ranges is skipped, so
// packing many short documents makes attention faster. See nn/fused.py for the caller and
// nn/attention.py for the plain PyTorch path that this file is tested against.
//
// Letters: T queries, S keys, K head width, P = K padded to 32 (the depth of one block).

#include "product_32x32.h"

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <cstdlib>
#include <cstring>

// Numbers are counted in elements. Rows of a head are K contiguous numbers; `*_row` is the step
// from one position to the next and `*_batch` from one sequence to the next; heads follow each
// other by K. `lo` and `hi` are (B, T). `threshold` = p * 2^32; 0 turns dropout off. `bias` (or null)
// is added to the scores: (heads, T, S) forward, (heads, S, T) backward, where `dbias`, laid out
// alike, gets its gradient.
struct Problem {
  int64_t batch, queries, keys, heads, kv_heads, width;
  int64_t q_row, q_batch, kv_row, kv_batch;
  const int32_t *lo, *hi;
  float scale;
  uint32_t threshold, seed;
  const float* bias;
  float* dbias;
};

namespace {

constexpr float kLog2e = 1.44269504088896340736f;
constexpr int kQueries = 32;  // rows of queries a forward step takes at once
constexpr int kKeys = 64;     // keys a backward step takes at once

int round_up(int n, int unit) { return (n + unit - 1) / unit * unit; }

// ---- small numeric pieces ------------------------------------------------------------------

float to_float(bf16 x) {
  uint32_t bits = uint32_t(x) << 16;
  float y;
  memcpy(&y, &bits, 4);
  return y;
}

__m256i to_bf16(__m512 x) { return (__m256i)_mm512_cvtneps_pbh(x); }

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

// Mixes 32 bits so that neighbouring counters give independent-looking words (C. Wellons,
// lowbias32). nn/dropout.py computes the same in PyTorch, so both paths drop the same places.
__m512i mix(__m512i x) {
  x = _mm512_xor_si512(x, _mm512_srli_epi32(x, 16));
  x = _mm512_mullo_epi32(x, _mm512_set1_epi32(0x7feb352d));
  x = _mm512_xor_si512(x, _mm512_srli_epi32(x, 15));
  x = _mm512_mullo_epi32(x, _mm512_set1_epi32(int(0x846ca68bu)));
  return _mm512_xor_si512(x, _mm512_srli_epi32(x, 16));
}

uint32_t mix(uint32_t x) {
  x ^= x >> 16;
  x *= 0x7feb352du;
  x ^= x >> 15;
  x *= 0x846ca68bu;
  return x ^ (x >> 16);
}

// Which of 16 counters survive dropout: the mixed word reaches the threshold p * 2^32.
__mmask16 kept(__m512i counter, uint32_t seed, uint32_t threshold) {
  return _mm512_cmpge_epu32_mask(mix(_mm512_xor_si512(counter, _mm512_set1_epi32(int(seed)))), _mm512_set1_epi32(int(threshold)));
}

// ---- tiles ---------------------------------------------------------------------------------

// C (32 x 32 fp32, row length ldc) = or += A (32 x depth bf16, row length lda) times B.
// B comes as paired tiles: the one of depth block d and column block n is at b + d*step_d + n*step_n.
void product(float* c, int ldc, bool add, const bf16* a, int lda, const bf16* b, int step_d, int step_n, int depth) {
  product_32x32(c, ldc, add, {a, lda, 32}, {b, step_n, step_d}, round_up(depth, 32) / 32);
}

// Rows of one head, zero-padded to (rows_padded, P).
void copy_rows(bf16* out, const bf16* x, int64_t stride, int rows, int rows_padded, int K, int P) {
  for (int t = 0; t < rows; t++) {
    memcpy(out + t * P, x + t * stride, K * 2);
    memset(out + t * P + K, 0, (P - K) * 2);
  }
  memset(out + rows * P, 0, size_t(rows_padded - rows) * P * 2);
}

// Paired tiles of X^T for products with X's rows as columns: tile (row block n, depth block d)
// at (n * P/32 + d). A tile row is a pair of columns of X over 16 rows: a 16x16 dword transpose.
void pair_transposed(bf16* out, const bf16* x, int rows, int P) {
  for (int n = 0; n < rows; n += 16)
    for (int d = 0; d < P; d += 32, out += kTile)
      for (int r = 0; r < 16; r++) {
        uint32_t line[16];
        for (int c = 0; c < 16; c++) memcpy(&line[c], x + (n + c) * P + d + 2 * r, 4);
        memcpy(out + r * 32, line, 64);
      }
}

// One tile row: two rows of 16 numbers interleaved.
void interleave(bf16* out, const bf16* even, const bf16* odd) {
  __m512i low = _mm512_cvtepu16_epi32(_mm256_loadu_si256((const __m256i*)even));
  __m512i high = _mm512_cvtepu16_epi32(_mm256_loadu_si256((const __m256i*)odd));
  _mm512_storeu_si512(out, _mm512_or_si512(low, _mm512_slli_epi32(high, 16)));
}

// Paired tiles of X itself, for products whose depth runs over X's rows: tile (depth block d of
// 32 rows, column block n) at (d * width/16 + n).
void pair_rows(bf16* out, const bf16* x, int rows, int width, int ld) {
  for (int d = 0; d < rows; d += 32)
    for (int n = 0; n < width; n += 16)
      for (int r = 0; r < 16; r++, out += 32) interleave(out, x + (d + 2 * r) * ld + n, x + (d + 2 * r + 1) * ld + n);
}

void transpose(bf16* out, const bf16* x, int rows, int P) {  // (rows, P) -> (P, rows)
  for (int p = 0; p < P; p++)
    for (int t = 0; t < rows; t++) out[p * rows + t] = x[t * P + p];
}

// ---- memory of one thread --------------------------------------------------------------------

struct Arena {  // grows once, then is reused for every head and every call
  char* base = nullptr;
  size_t size = 0, used = 0;
  void reserve(size_t bytes) {
    used = 0;
    if (bytes <= size) return;
    free(base);
    size = (bytes + 4095) / 4096 * 4096;
    base = static_cast<char*>(aligned_alloc(4096, size));
    if (!base) abort();
  }
  template <class T>
  T* take(size_t count) {
    T* p = reinterpret_cast<T*>(base + used);
    used += (count * sizeof(T) + 63) / 64 * 64;
    return p;
  }
};
thread_local Arena arena;

// The first K numbers of a row, from p on: at most 16.
void store(bf16* row, int p, int K, __m512 x) {
  _mm256_mask_storeu_epi16(row + p, K - p >= 16 ? 0xffff : (1 << (K - p)) - 1, to_bf16(x));
}

// ---- one group of heads ------------------------------------------------------------------------

// The problem's sizes as the loops use them; keys are padded to a multiple of `unit`.
struct Sizes {
  int T, S, H, G, K, P, Tp, Sp;
  float c, inv_keep;  // scores to powers of two; 1 / (1 - p)
  Sizes(const Problem& z, int unit)
      : T(z.queries), S(z.keys), H(z.heads), G(z.kv_heads), K(z.width),
        P(round_up(K, 32)), Tp(round_up(T, 32)), Sp(round_up(S, unit)),
        c(z.scale * kLog2e), inv_keep(1.f / (1.f - z.threshold * 0x1p-32f)) {}
};

// Calls work(b, g) for each sequence and key/value head, in parallel, tiles and memory at hand.
// Sequences follow each other where they add to one gradient of the bias.
template <class Work>
void for_each_group(const Problem& z, size_t bytes, Work work) {
  const int together = z.dbias ? z.batch : 1;
#pragma omp parallel for collapse(2) schedule(dynamic, 1)
  for (int first = 0; first < z.batch; first += together)
    for (int g = 0; g < z.kv_heads; g++) {
      begin_products();
      for (int b = first; b < first + together; b++) {
        arena.reserve(bytes);
        work(b, g);
      }
      end_products();
    }
}

// One sequence and one key/value head with the queries that read it.
void forward_group(const Problem& z, const Sizes& n, int b, int g, const bf16* q, const bf16* k, const bf16* v, bf16* out, float* lse) {
  const auto [T, S, H, G, K, P, Tp, Sp, c, inv_keep] = n;
  bf16* qs = arena.take<bf16>(size_t(Tp) * P);
  bf16* rows = arena.take<bf16>(size_t(Sp) * P);
  bf16* k_cols = arena.take<bf16>(size_t(Sp) * P);
  bf16* v_pairs = arena.take<bf16>(size_t(Sp) * P);
  float* scores = arena.take<float>(size_t(kQueries) * Sp);
  bf16* probs = arena.take<bf16>(size_t(kQueries) * Sp);
  float* sums = arena.take<float>(size_t(kQueries) * P);
  copy_rows(rows, k + b * z.kv_batch + g * K, z.kv_row, S, Sp, K, P);
  pair_transposed(k_cols, rows, Sp, P);
  copy_rows(rows, v + b * z.kv_batch + g * K, z.kv_row, S, Sp, K, P);
  pair_rows(v_pairs, rows, Sp, P, P);
  const int32_t *lo = z.lo + int64_t(b) * T, *hi = z.hi + int64_t(b) * T;
  for (int h = g * (H / G); h < (g + 1) * (H / G); h++) {
    const uint32_t seed = mix(z.seed + uint32_t(b * H + h));
    copy_rows(qs, q + b * z.q_batch + int64_t(h) * K, z.q_row, T, Tp, K, P);
    for (int t0 = 0; t0 < T; t0 += kQueries) {
      const int count = std::min(kQueries, T - t0);
      int from = S, to = 0;
      for (int i = t0; i < t0 + count; i++)
        if (lo[i] < hi[i]) from = std::min(from, int(lo[i])), to = std::max(to, int(hi[i]));
      from = std::min(from, to) / 32 * 32, to = round_up(to, 32);
      for (int s = from; s < to; s += 32)
        product(scores + s, Sp, false, qs + t0 * P, P, k_cols + s * P, kTile, 16 * P, P);
      float inverse[kQueries] = {};
      for (int i = 0; i < kQueries; i++) {
        const bool real = i < count;
        const int l = real ? lo[t0 + i] : 0, r = real ? hi[t0 + i] : 0;
        float* row = scores + i * Sp;
        const __m512i lane = _mm512_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15);
        __m512 top = _mm512_set1_ps(-INFINITY);
        auto seen = [&](int s) {
          __m512i key = _mm512_add_epi32(lane, _mm512_set1_epi32(s));
          return __mmask16(_mm512_cmpge_epi32_mask(key, _mm512_set1_epi32(l)) & _mm512_cmplt_epi32_mask(key, _mm512_set1_epi32(r)));
        };
        const float* bias = z.bias && real ? z.bias + (int64_t(h) * T + t0 + i) * S : nullptr;
        for (int s = from; s < to; s += 16) {
          __mmask16 m = seen(s);
          __m512 score = _mm512_mul_ps(_mm512_loadu_ps(row + s), _mm512_set1_ps(c));
          if (bias) score = _mm512_fmadd_ps(_mm512_maskz_loadu_ps(m, bias + s), _mm512_set1_ps(kLog2e), score);
          _mm512_storeu_ps(row + s, score);
          top = _mm512_mask_max_ps(top, m, top, score);
        }
        const float most = l < r ? _mm512_reduce_max_ps(top) : 0.f;
        __m512 total = _mm512_setzero_ps();
        for (int s = from; s < to; s += 16) {
          __m512 p = exp2_ps(_mm512_sub_ps(_mm512_loadu_ps(row + s), _mm512_set1_ps(most)));
          __mmask16 m = seen(s);
          total = _mm512_mask_add_ps(total, m, total, p);
          if (z.threshold) m &= kept(_mm512_add_epi32(lane, _mm512_set1_epi32((t0 + i) * S + s)), seed, z.threshold);
          _mm256_storeu_si256((__m256i*)(probs + i * Sp + s), to_bf16(_mm512_maskz_mov_ps(m, p)));
        }
        const float sum = _mm512_reduce_add_ps(total);
        inverse[i] = l < r ? inv_keep / sum : 0.f;
        if (real) lse[(int64_t(b) * H + h) * T + t0 + i] = l < r ? most + std::log2(sum) : 0.f;
      }
      for (int p = 0; p < P; p += 32)
        product(sums + p, P, false, probs + from, Sp, v_pairs + from * P + p * 32, 32 * P, kTile, to - from);
      for (int i = 0; i < count; i++) {
        bf16* y = out + ((int64_t(b) * T + t0 + i) * H + h) * K;
        for (int p = 0; p < K; p += 16)
          store(y, p, K, _mm512_mul_ps(_mm512_loadu_ps(sums + i * P + p), _mm512_set1_ps(inverse[i])));
      }
    }
  }
}

// The same backwards, on S^T: keys down and queries across, so that the per-query numbers are
// vectors.
void backward_group(const Problem& z, const Sizes& n, int b, int g, const bf16* q, const bf16* k, const bf16* v, const bf16* out, const float* lse, const bf16* dout, bf16* dq, bf16* dk, bf16* dv) {
  const auto [T, S, H, G, K, P, Tp, Sp, c, inv_keep] = n;
  const __m512i lane = _mm512_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15);
  bf16* rows = arena.take<bf16>(size_t(Tp) * P);
  bf16* q_cols = arena.take<bf16>(size_t(Tp) * P);
  bf16* q_pairs = arena.take<bf16>(size_t(Tp) * P);
  bf16* do_cols = arena.take<bf16>(size_t(Tp) * P);
  bf16* do_pairs = arena.take<bf16>(size_t(Tp) * P);
  float* dq_t = arena.take<float>(size_t(Tp) * P);  // (P, Tp)
  bf16* ks = arena.take<bf16>(size_t(Sp) * P);
  bf16* k_t = arena.take<bf16>(size_t(Sp) * P);  // (P, Sp)
  bf16* vs = arena.take<bf16>(size_t(Sp) * P);
  float* dk_sum = arena.take<float>(size_t(Sp) * P);
  float* dv_sum = arena.take<float>(size_t(Sp) * P);
  float* s_t = arena.take<float>(size_t(kKeys) * Tp);
  float* dp_t = arena.take<float>(size_t(kKeys) * Tp);
  bf16* p_t = arena.take<bf16>(size_t(kKeys) * Tp);
  bf16* ds_t = arena.take<bf16>(size_t(kKeys) * Tp);
  bf16* ds_pairs = arena.take<bf16>(size_t(kKeys) * Tp);
  float* log_sum = arena.take<float>(Tp);
  float* delta = arena.take<float>(Tp);
  int32_t* lo = arena.take<int32_t>(Tp);
  int32_t* hi = arena.take<int32_t>(Tp);
  std::fill(lo, lo + Tp, 0), std::fill(hi, hi + Tp, 0);
  std::fill(log_sum, log_sum + Tp, 0.f), std::fill(delta, delta + Tp, 0.f);
  memcpy(lo, z.lo + int64_t(b) * T, T * 4), memcpy(hi, z.hi + int64_t(b) * T, T * 4);
  copy_rows(ks, k + b * z.kv_batch + g * K, z.kv_row, S, Sp, K, P);
  transpose(k_t, ks, Sp, P);
  copy_rows(vs, v + b * z.kv_batch + g * K, z.kv_row, S, Sp, K, P);
  std::fill(dk_sum, dk_sum + size_t(Sp) * P, 0.f), std::fill(dv_sum, dv_sum + size_t(Sp) * P, 0.f);
  for (int h = g * (H / G); h < (g + 1) * (H / G); h++) {
    const uint32_t seed = mix(z.seed + uint32_t(b * H + h));
    const int64_t y0 = (int64_t(b) * T * H + h) * K;
    copy_rows(rows, q + b * z.q_batch + int64_t(h) * K, z.q_row, T, Tp, K, P);
    pair_transposed(q_cols, rows, Tp, P);
    pair_rows(q_pairs, rows, Tp, P, P);
    copy_rows(rows, dout + y0, int64_t(H) * K, T, Tp, K, P);
    pair_transposed(do_cols, rows, Tp, P);
    pair_rows(do_pairs, rows, Tp, P, P);
    for (int t = 0; t < T; t++) {
      const bf16* y = out + y0 + int64_t(t) * H * K;
      float sum = 0;
      for (int p = 0; p < K; p++) sum += to_float(y[p]) * to_float(rows[t * P + p]);
      delta[t] = sum;
    }
    memcpy(log_sum, lse + (int64_t(b) * H + h) * T, T * 4);
    std::fill(dq_t, dq_t + size_t(Tp) * P, 0.f);
    for (int s0 = 0; s0 < S; s0 += kKeys) {
      int from = Tp, to = 0;  // the queries that read any of these keys
      for (int t = 0; t < T; t++)
        if (lo[t] < hi[t] && lo[t] < s0 + kKeys && hi[t] > s0) from = std::min(from, t), to = std::max(to, t + 1);
      if (from >= to) continue;
      from = from / 32 * 32, to = round_up(to, 32);
      for (int s = 0; s < kKeys; s += 32)
        for (int t = from; t < to; t += 32) {
          product(s_t + s * Tp + t, Tp, false, ks + (s0 + s) * P, P, q_cols + t * P, kTile, 16 * P, P);
          product(dp_t + s * Tp + t, Tp, false, vs + (s0 + s) * P, P, do_cols + t * P, kTile, 16 * P, P);
        }
      for (int s = 0; s < kKeys; s++) {
        const __m512i key = _mm512_set1_epi32(s0 + s);
        const int64_t of_key = (int64_t(h) * S + s0 + s) * T;  // read only where a query sees the key
        const float* bias = z.bias ? z.bias + of_key : nullptr;
        float* dbias = z.dbias ? z.dbias + of_key : nullptr;
        __m512i counter = _mm512_add_epi32(_mm512_mullo_epi32(_mm512_add_epi32(lane, _mm512_set1_epi32(from)), _mm512_set1_epi32(S)), key);
        for (int t = from; t < to; t += 16) {
          const int at = s * Tp + t;
          __mmask16 m = _mm512_cmple_epi32_mask(_mm512_loadu_si512(lo + t), key) & _mm512_cmpgt_epi32_mask(_mm512_loadu_si512(hi + t), key);
          __m512 score = _mm512_fmsub_ps(_mm512_loadu_ps(s_t + at), _mm512_set1_ps(c), _mm512_loadu_ps(log_sum + t));
          if (bias) score = _mm512_fmadd_ps(_mm512_maskz_loadu_ps(m, bias + t), _mm512_set1_ps(kLog2e), score);
          __m512 p = _mm512_maskz_mov_ps(m, exp2_ps(score));
          __m512 dp = _mm512_loadu_ps(dp_t + at), used = p;
          if (z.threshold) {
            __mmask16 keep = kept(counter, seed, z.threshold);
            counter = _mm512_add_epi32(counter, _mm512_set1_epi32(16 * S));
            used = _mm512_maskz_mul_ps(keep, p, _mm512_set1_ps(inv_keep));
            dp = _mm512_maskz_mul_ps(keep, dp, _mm512_set1_ps(inv_keep));
          }
          __m512 ds = _mm512_mul_ps(p, _mm512_sub_ps(dp, _mm512_loadu_ps(delta + t)));
          if (dbias) _mm512_mask_storeu_ps(dbias + t, m, _mm512_add_ps(ds, _mm512_maskz_loadu_ps(m, dbias + t)));
          ds = _mm512_mul_ps(ds, _mm512_set1_ps(z.scale));
          _mm256_storeu_si256((__m256i*)(p_t + at), to_bf16(used));
          _mm256_storeu_si256((__m256i*)(ds_t + at), to_bf16(ds));
        }
      }
      for (int s = 0; s < kKeys; s += 32)
        for (int p = 0; p < P; p += 32) {
          const int64_t at = int64_t(s0 + s) * P + p;
          product(dv_sum + at, P, true, p_t + s * Tp + from, Tp, do_pairs + from * P + p * 32, 32 * P, kTile, to - from);
          product(dk_sum + at, P, true, ds_t + s * Tp + from, Tp, q_pairs + from * P + p * 32, 32 * P, kTile, to - from);
        }
      for (int t = from; t < to; t += 32) {
        bf16* pairs = ds_pairs;
        pair_rows(pairs, ds_t + t, kKeys, 32, Tp);
        for (int p = 0; p < P; p += 32)
          product(dq_t + p * Tp + t, Tp, true, k_t + p * Sp + s0, Sp, pairs, 2 * kTile, kTile, kKeys);
      }
    }
    for (int t = 0; t < T; t++)
      for (int p = 0; p < K; p++) {
        float x = dq_t[p * Tp + t];
        uint32_t bits;
        memcpy(&bits, &x, 4);
        dq[y0 + int64_t(t) * H * K + p] = bf16((bits + 0x7fff + ((bits >> 16) & 1)) >> 16);
      }
  }
  for (int s = 0; s < S; s++) {
    const int64_t at = ((int64_t(b) * S + s) * G + g) * K;
    for (int p = 0; p < K; p += 16) {
      store(dk + at, p, K, _mm512_loadu_ps(dk_sum + s * P + p));
      store(dv + at, p, K, _mm512_loadu_ps(dv_sum + s * P + p));
    }
  }
}

}  // namespace

// ---- interface -------------------------------------------------------------------------------

extern "C" {

// 1 when this processor and kernel can run it.
int ownlm_attention_available() { return __builtin_cpu_supports("avx512bf16") && products_allowed(); }

// out (B, T, heads, K) and lse (B, heads, T): log2 of the sum of exp over the keys of each query.
void ownlm_attention_forward(const Problem* problem, const bf16* q, const bf16* k, const bf16* v, bf16* out, float* lse) {
  const Sizes n(*problem, 32);
  const size_t queries = size_t(n.Tp) * n.P, keys = size_t(n.Sp) * n.P;
  const size_t bytes = queries * 2 + keys * 6 + kQueries * (size_t(n.Sp) * 6 + n.P * 4) + 1024;
  for_each_group(*problem, bytes, [&](int b, int g) { forward_group(*problem, n, b, g, q, k, v, out, lse); });
}

// dq (B, T, heads, K), dk and dv (B, S, kv_heads, K), from the gradient of `out`.
void ownlm_attention_backward(const Problem* problem, const bf16* q, const bf16* k, const bf16* v, const bf16* out, const float* lse, const bf16* dout, bf16* dq, bf16* dk, bf16* dv) {
  const Sizes n(*problem, kKeys);
  const size_t queries = size_t(n.Tp) * n.P, keys = size_t(n.Sp) * n.P, scores = size_t(kKeys) * n.Tp;
  const size_t bytes = queries * 14 + keys * 14 + scores * 14 + size_t(n.Tp) * 16 + 4096;
  for_each_group(*problem, bytes, [&](int b, int g) { backward_group(*problem, n, b, g, q, k, v, out, lse, dout, dq, dk, dv); });
}
}
