// Attention over keys and values that lie in blocks of a cache, in bf16.
//
// A block holds, for each layer and key/value head, panels of 16 tokens. Keys: the lines of a panel are
// pairs of dimensions, a pair for each token, as weights of 16 outputs lie. Values: for every 16
// dimensions eight lines of pairs of tokens. Both are so read by the same dot products as weights.
// Queries that read the same keys are taken up to eight at a time.

#pragma once

#include "decode_rows.h"

// What one layer's attention needs besides queries; `turned` pairs of each head rotate by cos, sin.
struct Heads {
  Norm q, k;
  const float *cos, *sin;
  int64_t turned, window;
  float scale, softcap;
};

struct Cache {
  char* data;
  int64_t size, block_bytes;       // tokens and bytes of a block
  int64_t kv_heads, width, layer;  // width of a head, padded to 16
  int64_t panels() const { return round_up(size, kLanes) / kLanes; }
  int64_t panel_bytes() const { return width * 32; }
  int64_t head_bytes() const { return panels() * 2 * panel_bytes(); }
};

inline int64_t width_of(int64_t head_dim) { return round_up(head_dim, kLanes); }

// The blocks of one sequence and what they hold for one layer and head.
struct Past {
  const Cache& cache;
  const int32_t* blocks;
  int64_t head;

  char* panel(int64_t block, int64_t number) const {
    char* at = cache.data + blocks[block] * cache.block_bytes;
    return at + (cache.layer * cache.kv_heads + head) * cache.head_bytes() + number * 2 * cache.panel_bytes();
  }

  void store(int64_t position, const float* k, const float* v) const {
    const int64_t place = position % cache.size, lane = place % kLanes;
    char* keys = panel(position / cache.size, place / kLanes);
    bf16* values = reinterpret_cast<bf16*>(keys + cache.panel_bytes());
    for (int64_t i = 0; i < cache.width; i += 2) {
      const uint32_t two = pair(k[i], k[i + 1]);
      memcpy(keys + (i / 2 * kLanes + lane) * 4, &two, 4);
    }
    for (int64_t i = 0; i < cache.width; i++) values[i / kLanes * 256 + lane / 2 * 32 + i % kLanes * 2 + lane % 2] = to_bf16(v[i]);
  }
};

// A head of a query or key: normalised and turned, padded with zeros to `width`.
inline void shape_head(const Heads& heads, const Norm& norm, const float* x, int64_t dim, int64_t width, int64_t position, float* out) {
  if (norm.present) normalise(norm, x, out, dim);
  else memcpy(out, x, dim * sizeof(float));
  memset(out + dim, 0, (width - dim) * sizeof(float));
  const int64_t half = heads.turned;
  const float *cos = heads.cos + position * half, *sin = heads.sin + position * half;
  for (int64_t i = 0; i < half; i++) {
    const float a = out[i], b = out[i + half];
    out[i] = a * cos[i] - b * sin[i];
    out[i + half] = b * cos[i] + a * sin[i];
  }
}

namespace attention {

constexpr int kMost = 8;  // queries at once

// Queries of one sequence and key/value head: pairs of bf16, and the last position that each sees.
struct Queries {
  const uint32_t* pairs[kMost];
  float* out[kMost];
  int64_t last[kMost], first[kMost];
};

// One panel of scores of each query; `scores` of a query are `room` apart.
template <int R>
void score_panel(const Queries& q, const Heads& heads, const char* keys, int64_t width, float* scores, int64_t room) {
  Floats even[R] = {}, odd[R] = {};
  for (int64_t i = 0; i < width / 2; i += 2) {
    const Words one = read<Words>(keys + i * kLine), two = read<Words>(keys + (i + 1) * kLine);
    for (int r = 0; r < R; r++) even[r] = dot2(even[r], one, q.pairs[r][i]), odd[r] = dot2(odd[r], two, q.pairs[r][i + 1]);
  }
  for (int r = 0; r < R; r++) {
    Floats s = (even[r] + odd[r]) * heads.scale;
    if (heads.softcap > 0) s = heads.softcap * tanh(s * (1.f / heads.softcap));
    write(scores + r * room, s);
  }
}

// Scores to weights, in place, as bf16 pairs; what a query does not see weighs nothing. Returns the
// sum of the weights.
inline float weigh(float* scores, int64_t panels, const int64_t* begins, int64_t size, int64_t first, int64_t last) {
  const Floats none = all(-1e30f);
  const Ints lanes = {0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15};
  Floats most = none;
  for (int64_t p = 0; p < panels; p++) {
    const int64_t in_block = std::min<int64_t>(kLanes, size - begins[p] % size);
    const int32_t from = std::max<int64_t>(0, first - begins[p]), to = std::min(in_block, last + 1 - begins[p]);
    Floats s = read<Floats>(scores + p * kLanes);
    s = (lanes >= from) & (lanes < to) ? s : none;
    write(scores + p * kLanes, s);
    most = s > most ? s : most;
  }
  float top = most[0];
  for (int n = 1; n < kLanes; n++) top = std::max(top, most[n]);
  Floats total{};
  for (int64_t p = 0; p < panels; p++) {
    const Floats s = read<Floats>(scores + p * kLanes);
    const Words rounded = s > -1e29f ? to_bf16(exp(s - top)) : Words{};
    total += (Floats)(rounded << 16);
    const Halves halves = __builtin_convertvector(rounded, Halves);
    memcpy(reinterpret_cast<bf16*>(scores) + p * kLanes, &halves, sizeof(halves));
  }
  float sum = 0;
  for (int n = 0; n < kLanes; n++) sum += total[n];
  return sum;
}

template <int R>
void add_values(const float* weights, int64_t room, const char* values, int64_t panel, int64_t width, float* sums) {
  for (int64_t d = 0; d < width; d += kLanes, values += 8 * kLine) {
    Floats sum[R];
    for (int r = 0; r < R; r++) sum[r] = read<Floats>(sums + r * width + d);
    for (int j = 0; j < 8; j++) {
      const Words line = read<Words>(values + j * kLine);
      for (int r = 0; r < R; r++) sum[r] = dot2(sum[r], line, read<uint32_t>(reinterpret_cast<const uint32_t*>(weights + r * room) + panel * 8 + j));
    }
    for (int r = 0; r < R; r++) write(sums + r * width + d, sum[r]);
  }
}

// Which panels some query sees: where each begins. The last of a block may hold less than 16 tokens.
inline int64_t seen_panels(const Cache& cache, int64_t first, int64_t last, int64_t* begins) {
  int64_t count = 0;
  for (int64_t b = first / cache.size; b <= last / cache.size; b++)
    for (int64_t n = 0; n < cache.panels(); n++) {
      const int64_t begin = b * cache.size + n * kLanes;
      if (begin <= last && std::min(begin + kLanes, (b + 1) * cache.size) > first) begins[count++] = begin;
    }
  return count;
}

// What R queries read: softmax(q k^T scale) v, `dim` numbers each. `scores` has room for R rows of all
// positions; `begins` for all panels; `sums` for R heads.
template <int R>
void attend(const Queries& q, const Heads& heads, const Past& past, int64_t dim, float* scores, int64_t room, int64_t* begins, float* sums) {
  const Cache& c = past.cache;
  int64_t first = q.first[0], last = q.last[0];
  for (int r = 1; r < R; r++) first = std::min(first, q.first[r]), last = std::max(last, q.last[r]);
  const int64_t panels = seen_panels(c, first, last, begins);
  const auto keys = [&](int64_t p) { return past.panel(begins[p] / c.size, begins[p] % c.size / kLanes); };
  for (int64_t p = 0; p < panels; p++) score_panel<R>(q, heads, keys(p), c.width, scores + p * kLanes, room);
  float total[R];
  for (int r = 0; r < R; r++) total[r] = weigh(scores + r * room, panels, begins, c.size, q.first[r], q.last[r]);
  memset(sums, 0, R * c.width * sizeof(float));
  for (int64_t p = 0; p < panels; p++) add_values<R>(scores, room, keys(p) + c.panel_bytes(), p, c.width, sums);
  for (int r = 0; r < R; r++)
    for (int64_t i = 0; i < dim; i++) q.out[r][i] = sums[r * c.width + i] * (1.f / total[r]);
}

}  // namespace attention
