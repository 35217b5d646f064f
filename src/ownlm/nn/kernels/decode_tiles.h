// A weight times many rows, by the tiles of processors with AMX: 32 rows times 32 outputs at once.
//
// A tile holds 16 rows of 64 bytes. A product C (16 x 16) += A (16 rows) B wants in each row of B what
// a line of a panel holds (decode_few.h): the panels are read as they lie, those of 4 bits after they
// were widened to 8. In 8 and 4 bits the sums of each group of inputs are exact, and are added up in
// the same order as for few rows; few rows in bf16 are added up as tiles do it: all agree to the last
// bit.

#pragma once

#include "decode_few.h"

#ifdef OWNLM_TILES
#include <sys/syscall.h>
#include <unistd.h>
#endif

namespace tiles {

constexpr int64_t kBlock = 32 * 32;  // rows x outputs
constexpr int kTogether = 4;         // groups whose sums lie in the nearest cache before they are added up

// What one thread works in: sums of groups of a block, those of the whole depth, and two panels that were
// widened.
struct Desk {
  int32_t* whole;
  float* sums;
  uint8_t* panels;
};

inline int64_t desk_panels(int64_t inputs) { return 2 * kLanes * round_up(inputs, kLine); }

#ifdef OWNLM_TILES

inline bool allowed() {  // asks the kernel for the tiles' registers
  static const bool yes = syscall(SYS_arch_prctl, 0x1023 /* ARCH_REQ_XCOMP_PERM */, 18 /* tile data */) == 0;
  return yes;
}

struct alignas(64) Config {
  uint8_t palette = 1, start_row = 0, reserved[14] = {};
  uint16_t bytes[16] = {};
  uint8_t rows[16] = {};
};

// Tiles for products with weights of a kind: all 16 rows of 64 bytes, but a group of 4 bits is only 32
// inputs deep.
inline void begin(Kind kind) {
  Config config;
  for (int t = 0; t < 8; t++) config.bytes[t] = 64, config.rows[t] = 16;
  if (kind == kInt4) config.bytes[4] = config.bytes[5] = 32, config.rows[6] = config.rows[7] = 8;
  asm volatile("" ::: "memory");  // gcc 12 may otherwise load the configuration before it is written
  _tile_loadconfig(&config);
}

inline void end() { _tile_release(); }

// Two panels of a weight as tiles read them, `bytes` each; `fresh` when they are yet to come from memory.
struct Pair {
  const uint8_t *one, *two;
  int64_t bytes;
  bool fresh;

  // Asks for what is read four steps later: of these panels, or of the two behind them.
  void fetch(int64_t at) const {
    constexpr int64_t kSteps = 4 * 1024;
    const int64_t then = at + kSteps < bytes ? at + kSteps : at + kSteps + bytes;
    for (int64_t line = then; line < then + 1024; line += kLine) __builtin_prefetch(one + line), __builtin_prefetch(two + line);
  }
};

// c = a b for lines `from` on of depth 64 bytes (`steps` tiles): a is 32 rows (16 unless `tall`) `a_step`
// bytes apart.
template <bool kWhole, bool kTall>
inline void product(void* c, const void* a, int64_t a_step, const Pair& b, int64_t from, int64_t steps) {
  const char *upper = static_cast<const char*>(a), *lower = upper + 16 * a_step;
  asm volatile("" ::: "memory");  // the tile intrinsics of gcc 12 do not say that they read memory
  _tile_zero(0); _tile_zero(1); _tile_zero(2); _tile_zero(3);
  for (int64_t k = 0; k < steps; k++, upper += 64, lower += 64, from += 1024) {
    if (b.fresh) b.fetch(from);
    _tile_loadd(6, b.one + from, 64); _tile_loadd(4, upper, a_step); _tile_loadd(7, b.two + from, 64);
    if (kTall) { _tile_loadd(5, lower, a_step); }
    if (kWhole) { _tile_dpbssd(0, 4, 6); _tile_dpbssd(1, 4, 7); }
    else { _tile_dpbf16ps(0, 4, 6); _tile_dpbf16ps(1, 4, 7); }
    if (kTall && kWhole) { _tile_dpbssd(2, 5, 6); _tile_dpbssd(3, 5, 7); }
    if (kTall && !kWhole) { _tile_dpbf16ps(2, 5, 6); _tile_dpbf16ps(3, 5, 7); }
  }
  char* at = static_cast<char*>(c);
  _tile_stored(0, at, 128); _tile_stored(1, at + 64, 128);
  if (kTall) { _tile_stored(2, at + 2048, 128); _tile_stored(3, at + 2112, 128); }
  asm volatile("" ::: "memory");
}

// The scales of 16 outputs of a panel of 4 bits, for the 32 inputs from k on.
inline Floats scales_of(const uint8_t* panel, int64_t k) {
  const Words both = read<Words>(panel + (k / 64 * 9 + 8) * kLine);
  return (Floats)(k % 64 ? both & 0xffff0000u : both << 16);
}

// Adds the sums of N groups from g on, inputs from k on, to those of `rows` rows; `stored` are the panels
// of 4 bits that the tiles' were widened from.
template <bool kFour, int N>
inline void add_groups(const Rows& a, int64_t m, int64_t rows, const Pair& stored, int64_t g, const int32_t* whole, float* sums) {
  Floats one[N], two[N];
  if (kFour)
    for (int j = 0; j < N; j++) one[j] = scales_of(stored.one, (g + j) * kGroup4), two[j] = scales_of(stored.two, (g + j) * kGroup4);
  for (int64_t r = 0; r < rows; r++, whole += 32, sums += 32) {
    const float* x = a.scales + (m + r) * a.groups + g;
    Floats left = g ? read<Floats>(sums) : Floats{}, right = g ? read<Floats>(sums + kLanes) : Floats{};
    for (int j = 0; j < N; j++) {
      const int32_t* at = whole + j * kBlock;
      left = to_float(read<Ints>(at)) * (kFour ? one[j] * x[j] : all(x[j])) + left;
      right = to_float(read<Ints>(at + kLanes)) * (kFour ? two[j] * x[j] : all(x[j])) + right;
    }
    write(sums, left), write(sums + kLanes, right);
  }
}

// Groups of whole numbers, some at a time, so that sums are read and written once for all of these.
template <bool kFour, bool kTall>
void whole_block(const Rows& a, int64_t m, int64_t rows, const Pair& b, const Pair& stored, int64_t deep, const Desk& desk) {
  constexpr int64_t kDeep = kFour ? kGroup4 : kGroup8;
  for (int64_t g = 0; g < deep / kDeep; g += kTogether) {
    const int64_t count = std::min<int64_t>(kTogether, deep / kDeep - g);
    for (int64_t j = 0; j < count; j++)
      product<true, kTall>(desk.whole + j * kBlock, a.bytes + m * a.step + (g + j) * kDeep, a.step, b, (g + j) * kDeep * kLanes, 1);
    if (count == kTogether) add_groups<kFour, kTogether>(a, m, rows, stored, g, desk.whole, desk.sums);
    else
      for (int64_t j = 0; j < count; j++) add_groups<kFour, 1>(a, m, rows, stored, g + j, desk.whole + j * kBlock, desk.sums);
  }
}

// A panel of 4 bits as one of 8.
inline void widen(const uint8_t* line, int64_t deep, uint8_t* out) {
  for (int64_t k = 0; k < deep; k += 64, line += 9 * kLine, out += 16 * kLine)
    for (int j = 0; j < 9; j++) {
      few::fetch(line + j * kLine);
      if (j == 8) break;  // scales
      const Words both = read<Words>(line + j * kLine);
      const Bytes low = (Bytes)low_nibbles(both) - 8, high = (Bytes)high_nibbles(both) - 8;
      memcpy(out + j * kLine, &low, kLine), memcpy(out + (8 + j) * kLine, &high, kLine);
    }
}

// 32 rows (or less) times two panels, p and the next, which may not exist.
template <bool kTall>
void block(const Weight& w, int64_t p, bool both, const Pair& b, const Pair& stored, const Rows& a, int64_t m, int64_t rows, const Output& out, const Desk& desk) {
  const int64_t deep = round_up(w.inputs, kLine);
  if (w.kind == kInt8) whole_block<false, kTall>(a, m, rows, b, stored, deep, desk);
  else if (w.kind == kInt4) whole_block<true, kTall>(a, m, rows, b, stored, deep, desk);
  else product<false, kTall>(desk.sums, a.halves + m * a.step, a.step * 2, b, 0, deep / 32);
  for (int64_t r = 0; r < rows; r++) {
    deliver(w, out, m + r, p, read<Floats>(desk.sums + r * 32));
    if (both) deliver(w, out, m + r, p + 1, read<Floats>(desk.sums + r * 32 + kLanes));
  }
}

// Panels from `from` to `to` times all `rows` rows.
inline void panels(const Weight& w, int64_t from, int64_t to, const Rows& a, int64_t rows, const Output& out, const Desk& desk) {
  const int64_t deep = round_up(w.inputs, kLine), bytes = panel_bytes(w);
  for (int64_t p = from; p < to; p += 2) {
    const bool both = p + 1 < to;
    const uint8_t* at = w.data + p * bytes;
    const Pair stored{at, both ? at + bytes : at, bytes, true};
    Pair b = stored;
    if (w.kind == kInt4) {
      b = {desk.panels, both ? desk.panels + kLanes * deep : desk.panels, kLanes * deep, false};
      widen(stored.one, deep, desk.panels);
      if (both) widen(stored.two, deep, desk.panels + kLanes * deep);
    }
    for (int64_t m = 0; m < rows; m += 32, b.fresh = false) {
      const int64_t count = std::min<int64_t>(32, rows - m);
      (count > 16 ? block<true> : block<false>)(w, p, both, b, stored, a, m, count, out, desk);
    }
  }
}

#else

inline bool allowed() { return false; }
inline void begin(Kind) {}
inline void end() {}
inline void panels(const Weight&, int64_t, int64_t, const Rows&, int64_t, const Output&, const Desk&) {}

#endif

}  // namespace tiles
