// A weight times many rows, by the tiles of processors with AMX: 32 rows times 32 outputs at once.
//
// A tile holds 16 rows of 64 bytes. A product C (16 x 16) += A (16 rows) B wants in each row of B what
// a line of a panel holds (decode_few.h): the panels are read as they lie. In 8 bits the sums of each
// group of inputs are exact, and are added up in the same order as for few rows: both agree to the
// last bit. 4 bits are first turned into bf16.

#pragma once

#include "decode_few.h"

#if defined(__AMX_INT8__) && defined(__AMX_BF16__) && defined(__AVX512BF16__) && !defined(OWNLM_PLAIN)
#define OWNLM_TILES
#include <immintrin.h>
#include <sys/syscall.h>
#include <unistd.h>
#endif

namespace tiles {

// What one thread works in: sums of 32 rows x 32 outputs, and two panels in bf16.
struct Desk {
  int32_t* whole;
  float* sums;
  bf16* panels;
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

inline void begin() {
  Config config;
  for (int t = 0; t < 8; t++) config.bytes[t] = 64, config.rows[t] = 16;
  asm volatile("" ::: "memory");  // gcc 12 may otherwise load the configuration before it is written
  _tile_loadconfig(&config);
}

inline void end() { _tile_release(); }

// c = a b for `steps` lines of depth 64 bytes: a is 32 rows (16 unless `tall`) `a_step` bytes apart, b
// and b2 are two panels.
template <bool kWhole, bool kTall>
inline void product(void* c, const void* a, int64_t a_step, const uint8_t* b, const uint8_t* b2, int64_t steps) {
  const char *upper = static_cast<const char*>(a), *lower = upper + 16 * a_step;
  asm volatile("" ::: "memory");  // the tile intrinsics of gcc 12 do not say that they read memory
  _tile_zero(0); _tile_zero(1); _tile_zero(2); _tile_zero(3);
  for (int64_t k = 0; k < steps; k++, upper += 64, lower += 64, b += 1024, b2 += 1024) {
    _tile_loadd(6, b, 64); _tile_loadd(4, upper, a_step); _tile_loadd(7, b2, 64);
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

template <bool kTall>
void int8_block(const Rows& a, int64_t m, int64_t rows, const uint8_t* b, const uint8_t* b2, int64_t deep, const Desk& desk) {
  memset(desk.sums, 0, 32 * 32 * sizeof(float));
  for (int64_t k = 0, g = 0; k < deep; k += kGroup8, g++) {
    const int64_t steps = std::min(kGroup8, deep - k) / 64;
    product<true, kTall>(desk.whole, a.bytes + m * a.step + k, a.step, b + k * 16, b2 + k * 16, steps);
    for (int64_t r = 0; r < rows; r++) {
      const float scale = a.scales[(m + r) * a.groups + g];
      for (int h = 0; h < 32; h += kLanes) {
        float* sum = desk.sums + r * 32 + h;
        write(sum, to_float(read<Ints>(desk.whole + r * 32 + h)) * scale + read<Floats>(sum));
      }
    }
  }
}

// 32 rows (or less) times panels p and p + 1, the second of which may not exist.
inline void block(const Weight& w, int64_t p, const uint8_t* b, const uint8_t* b2, const Rows& a, int64_t m, int64_t rows, const Output& out, const Desk& desk) {
  const int64_t deep = round_up(w.inputs, kLine);
  const bf16* halves = a.halves + m * a.step;
  if (w.kind == kInt8) (rows > 16 ? int8_block<true> : int8_block<false>)(a, m, rows, b, b2, deep, desk);
  else if (rows > 16) product<false, true>(desk.sums, halves, a.step * 2, b, b2, deep / 32);
  else product<false, false>(desk.sums, halves, a.step * 2, b, b2, deep / 32);
  for (int64_t r = 0; r < rows; r++) {
    deliver(w, out, m + r, p, read<Floats>(desk.sums + r * 32));
    if (b2 != b) deliver(w, out, m + r, p + 1, read<Floats>(desk.sums + r * 32 + kLanes));
  }
}

// A panel of 4 bits in bf16, as lines of two inputs.
inline void widen_int4(const uint8_t* line, int64_t deep, bf16* out) {
  for (int64_t k = 0; k < deep; k += 64, line += 9 * kLine, out += 64 * kLanes) {
    const Words scales = read<Words>(line + 8 * kLine);
    const Floats scale[2] = {(Floats)(scales << 16), (Floats)(scales & 0xffff0000u)};
    for (int j = 0; j < 8; j++) {
      const Words both = read<Words>(line + j * kLine);
      for (int h = 0; h < 2; h++)
        for (int i = 0; i < 2; i++) {
          const Words bytes = both >> (4 * h + 16 * i);
          const Words low = to_bf16((to_float((Ints)(bytes & 15)) - 8.f) * scale[h]);
          const Words high = to_bf16((to_float((Ints)(bytes >> 8 & 15)) - 8.f) * scale[h]);
          const Words line_of_two = low | high << 16;
          memcpy(out + (16 * h + 2 * j + i) * 32, &line_of_two, kLine);
        }
    }
  }
}

// Panels from `from` to `to` times all `rows` rows.
inline void panels(const Weight& w, int64_t from, int64_t to, const Rows& a, int64_t rows, const Output& out, const Desk& desk) {
  const int64_t deep = round_up(w.inputs, kLine), bytes = panel_bytes(w);
  for (int64_t p = from; p < to; p += 2) {
    const uint8_t *b = w.data + p * bytes, *b2 = p + 1 < to ? b + bytes : b;
    if (w.kind == kInt4) {
      bf16* wide = desk.panels;
      widen_int4(b, deep, wide);
      if (b2 != b) widen_int4(b2, deep, wide + kLanes * deep);
      b2 = reinterpret_cast<uint8_t*>(b2 != b ? wide + kLanes * deep : wide);
      b = reinterpret_cast<uint8_t*>(wide);
    }
    for (int64_t m = 0; m < rows; m += 32) block(w, p, b, b2, a, m, std::min<int64_t>(32, rows - m), out, desk);
  }
}

#else

inline bool allowed() { return false; }
inline void begin() {}
inline void end() {}
inline void panels(const Weight&, int64_t, int64_t, const Rows&, int64_t, const Output&, const Desk&) {}

#endif

}  // namespace tiles
