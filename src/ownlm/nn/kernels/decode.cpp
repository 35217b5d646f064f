// One step of a decoder: some tokens of some sequences through all layers to logits, in one parallel
// region. Weights in bf16, 8 or 4 bits; keys and values in blocks of a cache. inference/native_runner.py
// calls it, and is tested against the PyTorch modules that it stands in for.
//
//   decode_lanes.h      sixteen numbers at once; dot products for AVX-512, AVX2 and plain C++
//   decode_team.h       threads of a step
//   decode_rows.h       norms, activations, rounding of rows
//   decode_few.h        a weight times few rows
//   decode_tiles.h      a weight times many rows, with AMX
//   decode_attention.h  attention over the cache

#include "decode_attention.h"
#include "decode_few.h"
#include "decode_rows.h"
#include "decode_team.h"
#include "decode_tiles.h"

#include <omp.h>

// Norms before and after the attention and the feed-forward part, of which a family has some.
struct Layer {
  Norm attn_in, attn_out, ffn_in, ffn_out;
  Heads heads;
  Weight qkv, o, up, down;
};

// `post`: norms stand after the sum; `whole`: queries and keys are normalised over all heads. With
// `gated` the panels of `up` are gate and up in turn.
struct Model {
  int64_t layers, dim, heads, kv_heads, head_dim, hidden, vocab;
  int32_t act, gated, parallel, post, whole;
  float embed_scale, head_scale, softcap;
  const void* tokens;  // (vocab, dim), bf16 when `tokens_bf16`, else fp32
  const float* places; // (positions, dim) or null
  int32_t tokens_bf16;
  const Layer* layer;
  Norm last;
  Weight head;
};

// `rows` tokens, sequence by sequence: ids (or, without them, `given` rows of the stream), positions,
// and the sequence of each; a sequence's blocks begin at blocks[table[s]]. Logits of the rows `wanted`.
struct Step {
  int64_t rows, wanted_rows, longest, threads;
  const int32_t *ids, *positions, *sequence, *blocks, *table, *wanted;
  const float* given;
  float* logits;
  char* cache;
  int64_t block_size, block_bytes;
  int32_t few;  // up to so many rows, vectors take a product
};

namespace {

// Memory of a step. Rows of the stream and of products have room for whole panels.
struct Shared {
  float *x, *y, *read_out;
  uint32_t* queries;
  Rows rows, inner, more;
  int64_t x_step, y_step, read_step, query_step;
};

struct Private {  // of a thread
  float *row, *scores, *sums, *head;
  int64_t* begins;
  Rows alone;
  tiles::Desk desk;
};

// Numbers in which the scores of a query fit: whole panels of all blocks that hold the longest past.
int64_t room_of(const Step& step) {
  return (step.longest / step.block_size + 2) * round_up(step.block_size, kLanes);
}

int64_t deepest(const Model& z) { return std::max({z.dim, z.hidden, z.heads * z.head_dim}); }

Rows take_rows(Arena& arena, int64_t rows, int64_t inputs) {
  Rows r;
  r.step = step_of(inputs), r.groups = groups_of(inputs);
  rows = round_up(rows, 32);
  r.halves = arena.take<bf16>(rows * r.step);
  r.bytes = arena.take<int8_t>(rows * r.step);
  r.scales = arena.take<float>(rows * r.groups);
  r.sums = arena.take<int32_t>(rows * r.groups);
  return r;
}

Shared take_shared(Arena& arena, const Model& z, int64_t rows) {
  Shared s;
  const int64_t qkv = (z.heads + 2 * z.kv_heads) * z.head_dim, up = round_up(z.hidden, kLanes) * (z.gated ? 2 : 1);
  s.x_step = round_up(z.dim, kLanes), s.y_step = round_up(std::max({qkv, up, z.dim}), kLanes);
  s.read_step = round_up(z.heads * z.head_dim, kLanes), s.query_step = z.heads * width_of(z.head_dim) / 2;
  s.x = arena.take<float>(rows * s.x_step);
  s.y = arena.take<float>(rows * s.y_step);
  s.read_out = arena.take<float>(rows * s.read_step);
  s.queries = arena.take<uint32_t>(rows * s.query_step);
  s.rows = take_rows(arena, rows, std::max(z.dim, z.heads * z.head_dim));
  s.inner = take_rows(arena, rows, z.hidden);
  s.more = take_rows(arena, z.parallel ? rows : 1, z.dim);
  return s;
}

Private take_private(Arena& arena, const Model& z, int64_t room) {
  Private p;
  p.row = arena.take<float>(round_up(deepest(z), kLine));
  p.scores = arena.take<float>(attention::kMost * room);
  p.begins = arena.take<int64_t>(room / kLanes);
  p.sums = arena.take<float>(attention::kMost * width_of(z.head_dim));
  p.head = arena.take<float>(3 * width_of(z.head_dim) + 2 * (z.heads + z.kv_heads) * z.head_dim);
  p.alone = take_rows(arena, 1, deepest(z));
  p.desk.whole = arena.take<int32_t>(tiles::kTogether * tiles::kBlock);
  p.desk.sums = arena.take<float>(tiles::kBlock);
  p.desk.panels = arena.take<uint8_t>(tiles::desk_panels(deepest(z)));
  return p;
}

class Member {  // one thread of a step
 public:
  Member(const Model& z, const Step& step, Team& team, const Shared& s, const Private& p) : z(z), step(step), team(team), s(s), p(p) {}

  void run() {
    embed();
    team.wait();
    for (int64_t l = 0; l < z.layers; l++) block(z.layer[l], l);
    head();
  }

 private:
  const Model& z;
  const Step& step;
  Team& team;
  const Shared& s;
  const Private& p;

  void embed() {
    team.share(step.rows, 1, [&](int64_t from, int64_t to) {
      for (int64_t m = from; m < to; m++) embed_row(m, s.x + m * s.x_step);
    });
  }

  void embed_row(int64_t m, float* x) {
    if (step.given) {
      memcpy(x, step.given + m * z.dim, z.dim * sizeof(float));
      return;
    }
    const int64_t at = step.ids[m] * z.dim;
    const float *place = z.places ? z.places + step.positions[m] * z.dim : nullptr, *wide = static_cast<const float*>(z.tokens);
    const bf16* narrow = static_cast<const bf16*>(z.tokens);
    for (int64_t i = 0; i < z.dim; i++) {
      const float token = z.tokens_bf16 ? to_float(narrow[at + i]) : wide[at + i];
      x[i] = token * z.embed_scale + (place ? place[i] : 0.f);
    }
  }

  void block(const Layer& layer, int64_t number) {
    const Rows a = prepare(layer.attn_in, layer.qkv);
    const Rows f = z.parallel ? prepare(layer.ffn_in, layer.up, true) : a;
    product(layer.qkv, a, {s.y, s.y_step, false});
    read_past(layer.heads, number);
    branch(layer.o, rounded(layer.o), layer.attn_out);
    const Rows b = z.parallel ? f : prepare(layer.ffn_in, layer.up);
    branch(layer.down, hidden(layer.up, b, layer.down), layer.ffn_out);
  }

  void head() {
    const Rows& rows = s.rows;
    team.share(step.wanted_rows, 1, [&](int64_t from, int64_t to) {
      for (int64_t i = from; i < to; i++) {
        const float* x = normed(z.last, s.x + step.wanted[i] * s.x_step);
        for (int64_t d = 0; d < z.dim; d++) p.row[d] = x[d] * z.head_scale;
        round_whole(rows, i, z.head, p.row);
      }
    });
    team.wait();
    product(z.head, rows, {step.logits, z.vocab, false}, step.wanted_rows);
    if (z.softcap > 0)
      team.share(step.wanted_rows, 1, [&](int64_t from, int64_t to) { cap(step.logits + from * z.vocab, (to - from) * z.vocab, z.softcap); });
  }

  // ---- rows --------------------------------------------------------------------------------------

  bool by_tiles(int64_t rows) const { return rows > step.few && tiles::allowed(); }

  const float* normed(const Norm& norm, const float* x) {
    if (!norm.present) return x;
    normalise(norm, x, p.row, z.dim);
    return p.row;
  }

  void round_whole(const Rows& rows, int64_t m, const Weight& w, const float* x) {
    const int64_t groups = round_up(round_up(w.inputs, kLine), group_of(w.kind)) / group_of(w.kind);
    if (w.kind == kBf16) round_row(rows.halves + m * rows.step, x, w.inputs);
    else round_groups(rows, m, w.kind, x, w.inputs, 0, groups);
  }

  // The stream, normalised, as it multiplies w. A single row each thread prepares by itself.
  Rows prepare(const Norm& norm, const Weight& w, bool more = false) {
    if (step.rows == 1 && !more) {
      round_whole(p.alone, 0, w, normed(norm, s.x));
      return p.alone;
    }
    const Rows& rows = more ? s.more : s.rows;
    team.share(step.rows, 1, [&](int64_t from, int64_t to) {
      for (int64_t m = from; m < to; m++) round_whole(rows, m, w, normed(norm, s.x + m * s.x_step));
    });
    team.wait();
    return rows;
  }

  // What attention read, as it multiplies w.
  Rows rounded(const Weight& w) {
    if (step.rows == 1) {
      round_whole(p.alone, 0, w, s.read_out);
      return p.alone;
    }
    team.share(step.rows, 1, [&](int64_t from, int64_t to) {
      for (int64_t m = from; m < to; m++) round_whole(s.rows, m, w, s.read_out + m * s.read_step);
    });
    team.wait();
    return s.rows;
  }

  // Inner activations of the feed-forward part, as they multiply `down`: who has made 64 of them for all
  // rows also activates and rounds them.
  Rows hidden(const Weight& up, const Rows& a, const Weight& down) {
    const int64_t each = kGroup8 / kLanes * (z.gated ? 2 : 1), count = panels_of(up);
    team.share(round_up(count, each) / each, 1, [&](int64_t from, int64_t to) {
      for (int64_t part = from; part < to; part++) {
        panels(up, part * each, std::min(count, (part + 1) * each), a, {s.y, s.y_step, false}, step.rows);
        for (int64_t m = 0; m < step.rows; m++) activate_part(down, m, part * kGroup8);
      }
    });
    team.wait();
    return s.inner;
  }

  void activate_part(const Weight& w, int64_t m, int64_t from) {
    const Act act = static_cast<Act>(z.act);
    const float* y = s.y + m * s.y_step;
    const int64_t count = std::min(kGroup8, w.inputs - from), size = group_of(w.kind);
    for (int64_t i = 0; i < count; i += kLanes) {
      const float* at = y + (from + i) * (z.gated ? 2 : 1);
      const Floats inner = activated(act, read<Floats>(at));
      write(p.row + from + i, z.gated ? inner * read<Floats>(at + kLanes) : inner);
    }
    if (w.kind == kBf16) round_row(s.inner.halves + m * s.inner.step + from, p.row + from, count);
    else round_groups(s.inner, m, w.kind, p.row, w.inputs, from / size, round_up(from + round_up(count, kLine), size) / size);
  }

  // ---- products ----------------------------------------------------------------------------------

  void product(const Weight& w, const Rows& a, const Output& out) { product(w, a, out, step.rows); }

  void product(const Weight& w, const Rows& a, const Output& out, int64_t rows) {
    team.share(panels_of(w), by_tiles(rows) ? 2 : 1, [&](int64_t from, int64_t to) { panels(w, from, to, a, out, rows); });
    team.wait();
  }

  void panels(const Weight& w, int64_t from, int64_t to, const Rows& a, const Output& out, int64_t rows) {
    if (by_tiles(rows)) tiles::panels(w, from, to, a, rows, out, p.desk);
    else
      for (int64_t n = from; n < to; n++) few::rows_of_panel(w, n, a, 0, rows, out);
  }

  // A branch's last product and its way into the stream.
  void branch(const Weight& w, const Rows& a, const Norm& norm) {
    if (!norm.present) {
      product(w, a, {s.x, s.x_step, true});
      return;
    }
    product(w, a, {s.y, s.y_step, false});
    team.share(step.rows, 1, [&](int64_t from, int64_t to) {
      for (int64_t m = from; m < to; m++) join(s.x + m * s.x_step, s.y + m * s.y_step, norm);
    });
    team.wait();
  }

  void join(float* x, const float* y, const Norm& norm) {
    if (z.post) {
      for (int64_t i = 0; i < z.dim; i++) x[i] += y[i];
      memcpy(x, normed(norm, x), z.dim * sizeof(float));
      return;
    }
    y = normed(norm, y);
    for (int64_t i = 0; i < z.dim; i++) x[i] += y[i];
  }

  // ---- attention ---------------------------------------------------------------------------------

  Past past(int64_t m, int64_t head, const Cache& cache) const { return {cache, step.blocks + step.table[step.sequence[m]], head}; }

  void read_past(const Heads& heads, int64_t layer) {
    const Cache cache{step.cache, step.block_size, step.block_bytes, z.kv_heads, width_of(z.head_dim), layer};
    const int64_t group = z.heads / z.kv_heads, units = step.rows * z.kv_heads;
    const bool single = step.rows == 1 || step.sequence[step.rows - 1] == step.rows - 1;  // a row a sequence
    team.share(units, 1, [&](int64_t from, int64_t to) {
      for (int64_t u = from; u < to; u++) {
        place(heads, cache, u / z.kv_heads, u % z.kv_heads);
        if (single) read_unit(heads, cache, u % z.kv_heads, u / z.kv_heads * group, group);
      }
    });
    team.wait();
    if (!single) read_many(heads, cache);
  }

  // Pairs of row and query head are shared out in eights, head by head, so that keys are read from near.
  void read_many(const Heads& heads, const Cache& cache) {
    const int64_t group = z.heads / z.kv_heads, pairs = step.rows * group, eights = round_up(pairs, 8) / 8;
    team.share(eights * z.kv_heads, 1, [&](int64_t from, int64_t to) {
      for (int64_t u = from; u < to; u++) {
        const int64_t first = u % eights * 8;
        read_unit(heads, cache, u / eights, first, std::min<int64_t>(8, pairs - first));
      }
    });
    team.wait();
  }

  // Norm, rotation and storage of one row's key and value, and of the queries that read them.
  void place(const Heads& heads, const Cache& cache, int64_t m, int64_t g) {
    const int64_t dim = z.head_dim, width = cache.width, group = z.heads / z.kv_heads, position = step.positions[m];
    const float *q = s.y + m * s.y_step, *k = q + z.heads * dim, *v = k + (z.kv_heads + g) * dim;
    float *shaped = p.head, *value = p.head + width;
    Norm q_norm = heads.q, k_norm = heads.k;
    if (z.whole) {
      float *all_q = p.head + 3 * width, *all_k = all_q + z.heads * dim;
      normalise(heads.q, q, all_q, z.heads * dim), normalise(heads.k, k, all_k, z.kv_heads * dim);
      q = all_q, k = all_k, q_norm.present = k_norm.present = 0;
    }
    shape_head(heads, k_norm, k + g * dim, dim, width, position, shaped);
    memcpy(value, v, dim * sizeof(float));
    memset(value + dim, 0, (width - dim) * sizeof(float));
    past(m, g, cache).store(position, shaped, value);
    for (int64_t h = g * group; h < (g + 1) * group; h++) {
      shape_head(heads, q_norm, q + h * dim, dim, width, position, shaped);
      uint32_t* pairs = s.queries + m * s.query_step + h * width / 2;
      for (int64_t i = 0; i < width / 2; i++) pairs[i] = pair(shaped[2 * i], shaped[2 * i + 1]);
    }
  }

  // Queries `first` on of head g, counted over rows and the head's group; eight at most of one sequence
  // are taken together.
  void read_unit(const Heads& heads, const Cache& cache, int64_t g, int64_t first, int64_t count) {
    const int64_t group = z.heads / z.kv_heads;
    for (const int64_t end = first + count; first < end;) {
      const int64_t row = first / group, sequence = step.sequence[row];
      attention::Queries q;
      int taken = 0;
      for (; taken < attention::kMost && first < end && step.sequence[first / group] == sequence; taken++, first++)
        point(q, taken, heads, first / group, g * group + first % group);
      attend(taken, q, heads, past(row, g, cache));
    }
  }

  void point(attention::Queries& q, int r, const Heads& heads, int64_t m, int64_t h) {
    q.pairs[r] = s.queries + m * s.query_step + h * width_of(z.head_dim) / 2;
    q.out[r] = s.read_out + m * s.read_step + h * z.head_dim;
    q.last[r] = step.positions[m];
    q.first[r] = heads.window ? std::max<int64_t>(0, q.last[r] - heads.window + 1) : 0;
  }

  void attend(int count, attention::Queries& q, const Heads& heads, const Past& past) {
    const auto run = [&](auto attend) { attend(q, heads, past, z.head_dim, p.scores, room_of(step), p.begins, p.sums); };
    switch (count) {
      case 1: return run(attention::attend<1>);
      case 2: return run(attention::attend<2>);
      case 3: return run(attention::attend<3>);
      case 4: return run(attention::attend<4>);
      case 5: return run(attention::attend<5>);
      case 6: return run(attention::attend<6>);
      case 7: return run(attention::attend<7>);
      default: return run(attention::attend<8>);
    }
  }
};

thread_local Arena arena;

}  // namespace

extern "C" {

// Bytes of a block of `size` tokens of the cache.
int64_t ownlm_decode_block_bytes(const Model* model, int64_t size) {
  const Cache cache{nullptr, size, 0, model->kv_heads, width_of(model->head_dim), 0};
  return model->layers * model->kv_heads * cache.head_bytes();
}

// 1 when tiles take products of many rows.
int ownlm_decode_tiles() { return tiles::allowed(); }

void ownlm_decode_step(const Model* model, const Step* step) {
  const int threads = step->threads;
  Arena dry;
  take_shared(dry, *model, step->rows);
  for (int t = 0; t < threads; t++) take_private(dry, *model, room_of(*step));
  arena.reserve(dry.used());
  const Shared shared = take_shared(arena, *model, step->rows);
  Private own[threads];
  for (Private& p : own) p = take_private(arena, *model, room_of(*step));
  tiles::allowed();
  Team* team = nullptr;
#pragma omp parallel num_threads(threads)
  {
#pragma omp single
    team = new Team(omp_get_num_threads());
    if (step->rows > step->few) tiles::begin(model->head.kind);
    Member(*model, *step, *team, shared, own[omp_get_thread_num()]).run();
    if (step->rows > step->few) tiles::end();
  }
  delete team;
}

// Reads `bytes` once, all threads together, in the parts and with the look-ahead of a product: how
// fast weights can be read at all. Returns something of what was read.
int64_t ownlm_decode_stream(const uint8_t* data, int64_t bytes, int64_t threads) {
  Words sums{};
  Team team(threads);
#pragma omp parallel num_threads(threads)
  {
    Words own{};
    team.share(bytes / 4096, 4, [&](int64_t from, int64_t to) {
      for (const uint8_t *line = data + from * 4096, *end = data + to * 4096; line < end; line += kLine) {
        few::fetch(line);
        own += read<Words>(line);
      }
    });
#pragma omp critical
    sums += own;
  }
  return sums[0];
}
}
