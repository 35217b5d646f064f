// A weight times a few rows, by vectors: the weight is read once, at the speed of memory.
//
// A weight (O outputs, I inputs) lies in panels of 16 outputs, each the whole depth, in lines of 64
// bytes: a line holds, for each of the 16 outputs, the weights of the next inputs side by side: two
// in bf16, four in 8 bits. In 4 bits eight lines hold 64 inputs (low halves: the first 32, high
// halves: the others) and a line of two scales in bf16 for each output follows. Inputs are padded
// to 64, outputs to 16, with zeros. native_runner.py packs them.

#pragma once

#include "decode_rows.h"

struct Weight {
  const uint8_t* data;
  const float *scale, *bias;  // of each output; scale in 8 bits only, bias may be null
  int64_t outputs, inputs;
  Kind kind;
};

inline int64_t panels_of(const Weight& w) { return round_up(w.outputs, kLanes) / kLanes; }

inline int64_t panel_bytes(const Weight& w) {
  const int64_t deep = round_up(w.inputs, kLine);
  return w.kind == kBf16 ? deep * 32 : w.kind == kInt8 ? deep * 16 : deep * 9;
}

// Where products go: row m, output n at y + m * step + n; `add` adds to what is there.
struct Output {
  float* y;
  int64_t step;
  bool add;
};

inline void deliver(const Weight& w, const Output& out, int64_t m, int64_t panel, Floats sum) {
  const int64_t n = panel * kLanes;
  float* at = out.y + m * out.step + n;
  if (w.scale) sum = sum * read<Floats>(w.scale + n);
  if (w.bias) sum = sum + read<Floats>(w.bias + n);
  const int64_t count = out.add ? kLanes : w.outputs - n;  // the stream has room for whole panels
  write(at, out.add ? read<Floats>(at) + sum : sum, count);
}

namespace few {

constexpr int kMost = 8;       // rows at once
constexpr int kAhead = 2048;   // bytes: so far ahead memory is asked for

inline void fetch(const uint8_t* line) { __builtin_prefetch(line + kAhead); }

inline uint32_t word(const void* numbers, int64_t i) { return read<uint32_t>(static_cast<const char*>(numbers) + 4 * i); }

#ifdef OWNLM_TILES

// As tiles add up: of each 32 inputs the even and the odd ones by themselves.
template <int R>
void bf16_panel(const uint8_t* line, const Rows& a, int64_t m, int64_t deep, Floats* sums) {
  for (int r = 0; r < R; r++) sums[r] = Floats{};
  for (int64_t i = 0; i < deep / 2; i += 16) {
    Floats even[R] = {}, odd[R] = {};
    for (int64_t j = i; j < i + 16; j++, line += kLine) {
      fetch(line);
      const Words both = read<Words>(line);
      const Floats low = (Floats)(both << 16), high = (Floats)(both & 0xffff0000u);
      for (int r = 0; r < R; r++) {
        const uint32_t x = word(a.halves + (m + r) * a.step, j), x_low = x << 16, x_high = x & 0xffff0000u;
        even[r] = low * read<float>(&x_low) + even[r];
        odd[r] = high * read<float>(&x_high) + odd[r];
      }
    }
    for (int r = 0; r < R; r++) sums[r] = sums[r] + (even[r] + odd[r]);
  }
}

#else

template <int R>
void bf16_panel(const uint8_t* line, const Rows& a, int64_t m, int64_t deep, Floats* sums) {
  Floats even[R] = {}, odd[R] = {};
  for (int64_t i = 0; i < deep / 2; i += 2, line += 2 * kLine) {
    fetch(line), fetch(line + kLine);
    const Words one = read<Words>(line), two = read<Words>(line + kLine);
    for (int r = 0; r < R; r++) {
      const bf16* x = a.halves + (m + r) * a.step;
      even[r] = dot2(even[r], one, word(x, i));
      odd[r] = dot2(odd[r], two, word(x, i + 1));
    }
  }
  for (int r = 0; r < R; r++) sums[r] = even[r] + odd[r];
}

#endif

template <int R>
void int8_panel(const uint8_t* line, const Rows& a, int64_t m, int64_t deep, Floats* sums) {
  constexpr int kChains = R > 4 ? 1 : R > 1 ? 2 : 4;  // sums that do not wait for each other
  for (int r = 0; r < R; r++) sums[r] = Floats{};
  for (int64_t from = 0, g = 0; from < deep; from += kGroup8, g++) {
    Ints part[R][kChains] = {};
    for (int r = 0; r < R; r++) part[r][0] -= kOffset * a.sums[(m + r) * a.groups + g];
    const int64_t to = std::min(deep, from + kGroup8);
    for (int64_t i = from / 4; i < to / 4; i += kChains)
      for (int c = 0; c < kChains; c++, line += kLine) {
        fetch(line);
        const Words bytes = signed_bytes(line);
        for (int r = 0; r < R; r++) part[r][c] = dot4(part[r][c], bytes, word(a.bytes + (m + r) * a.step, i + c));
      }
    for (int r = 0; r < R; r++) {
      for (int c = 1; c < kChains; c++) part[r][0] += part[r][c];
      sums[r] = to_float(part[r][0]) * a.scales[(m + r) * a.groups + g] + sums[r];
    }
  }
}

template <int R>
void int4_panel(const uint8_t* line, const Rows& a, int64_t m, int64_t deep, Floats* sums) {
  for (int r = 0; r < R; r++) sums[r] = Floats{};
  for (int64_t i = 0, g = 0; i < deep / 4; i += 16, g += 2, line += 9 * kLine) {
    Ints first[R] = {}, second[R] = {};
    for (int r = 0; r < R; r++) {
      const int32_t* total = a.sums + (m + r) * a.groups + g;
      first[r] -= 8 * total[0], second[r] -= 8 * total[1];
    }
    for (int j = 0; j < 8; j++) {
      fetch(line + j * kLine);
      const Words both = read<Words>(line + j * kLine), low = low_nibbles(both), high = high_nibbles(both);
      for (int r = 0; r < R; r++) {
        const int8_t* x = a.bytes + (m + r) * a.step;
        first[r] = dot4_nibbles(first[r], low, word(x, i + j));
        second[r] = dot4_nibbles(second[r], high, word(x, i + 8 + j));
      }
    }
    fetch(line + 8 * kLine);
    const Words scales = read<Words>(line + 8 * kLine);
    const Floats one = (Floats)(scales << 16), two = (Floats)(scales & 0xffff0000u);
    for (int r = 0; r < R; r++) {
      const float* x = a.scales + (m + r) * a.groups + g;
      sums[r] = to_float(first[r]) * (one * x[0]) + sums[r];
      sums[r] = to_float(second[r]) * (two * x[1]) + sums[r];
    }
  }
}

template <int R>
void panel(const Weight& w, int64_t p, const Rows& a, int64_t m, const Output& out) {
  const uint8_t* data = w.data + p * panel_bytes(w);
  const int64_t deep = round_up(w.inputs, kLine);
  Floats sums[R];
  switch (w.kind) {
    case kBf16: bf16_panel<R>(data, a, m, deep, sums); break;
    case kInt8: int8_panel<R>(data, a, m, deep, sums); break;
    case kInt4: int4_panel<R>(data, a, m, deep, sums); break;
  }
  for (int r = 0; r < R; r++) deliver(w, out, m + r, p, sums[r]);
}

// Panel p times `rows` rows from m on; what is left of eights is done in fours, twos and ones.
inline void rows_of_panel(const Weight& w, int64_t p, const Rows& a, int64_t m, int64_t rows, const Output& out) {
  for (const int64_t end = m + rows; m < end;) {
    const int64_t left = end - m;
    if (left >= 8) panel<8>(w, p, a, m, out), m += 8;
    else if (left >= 4) panel<4>(w, p, a, m, out), m += 4;
    else if (left >= 2) panel<2>(w, p, a, m, out), m += 2;
    else panel<1>(w, p, a, m, out), m += 1;
  }
}

}  // namespace few
