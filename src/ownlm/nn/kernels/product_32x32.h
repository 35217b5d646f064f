// The product of training's kernels: 32 rows times 32 columns of bf16, summed in fp32. By the tiles of
// processors with AMX, else by the dot products of AVX-512.
//
// B comes in tiles of 16 rows of 64 bytes, where the pair of rows 2r, 2r+1 of a 32 x 16 block is
// interleaved in tile row r ("paired").

#pragma once

#include <immintrin.h>
#ifdef __AMX_BF16__
#include <sys/syscall.h>
#include <unistd.h>
#endif

#include <cstdint>

typedef uint16_t bf16;

namespace {

constexpr int kTile = 512;  // bf16 numbers in a tile

// Steps are counted in numbers; `deeper` leads to the next 32 of the depth.
struct Rows {  // of A: 32, `row` from one to the next
  const bf16* x;
  int64_t row, deeper;
};
struct Columns {  // of B: the tile of the first 16, `half` from it to that of the others
  const bf16* x;
  int64_t half, deeper;
};

#ifdef __AMX_BF16__

// Whether the kernel lets this process use the tiles.
bool products_allowed() {
  return syscall(SYS_arch_prctl, 0x1023 /* ARCH_REQ_XCOMP_PERM */, 18 /* tile data */) == 0;
}

struct alignas(64) TileConfig {
  uint8_t palette = 1, start_row = 0, reserved[14] = {};
  uint16_t bytes[16] = {};
  uint8_t rows[16] = {};
};

// Before and after a thread's products.
void begin_products() {
  TileConfig config;
  for (int t = 0; t < 8; t++) config.bytes[t] = 64, config.rows[t] = 16;
  asm volatile("" ::: "memory");  // gcc 12 may otherwise load the configuration before it is written
  _tile_loadconfig(&config);
}

void end_products() { _tile_release(); }

// C (32 x 32, rows of c_row numbers) = or += A B, `blocks` times 32 deep.
void product_32x32(float* c, int64_t c_row, bool add, Rows a, Columns b, int blocks) {
  float* low = c + 16 * c_row;
  asm volatile("" ::: "memory");  // the tile intrinsics of gcc 12 do not say that they read memory
  if (add) {
    _tile_loadd(0, c, c_row * 4); _tile_loadd(1, c + 16, c_row * 4);
    _tile_loadd(2, low, c_row * 4); _tile_loadd(3, low + 16, c_row * 4);
  } else {
    _tile_zero(0); _tile_zero(1); _tile_zero(2); _tile_zero(3);
  }
  for (int k = 0; k < blocks; k++, a.x += a.deeper, b.x += b.deeper) {
    _tile_loadd(6, b.x, 64); _tile_loadd(4, a.x, a.row * 2);
    _tile_loadd(5, a.x + 16 * a.row, a.row * 2); _tile_loadd(7, b.x + b.half, 64);
    _tile_dpbf16ps(0, 4, 6); _tile_dpbf16ps(2, 5, 6);
    _tile_dpbf16ps(1, 4, 7); _tile_dpbf16ps(3, 5, 7);
  }
  _tile_stored(0, c, c_row * 4); _tile_stored(1, c + 16, c_row * 4);
  _tile_stored(2, low, c_row * 4); _tile_stored(3, low + 16, c_row * 4);
  asm volatile("" ::: "memory");
}

#else

bool products_allowed() { return true; }
void begin_products() {}
void end_products() {}

constexpr int kSummed = 8;  // rows whose sums stay in registers

void product_of_rows(float* c, int64_t c_row, bool add, Rows a, Columns b, int blocks) {
  __m512 left[kSummed], right[kSummed];
  for (int i = 0; i < kSummed; i++) {
    left[i] = add ? _mm512_loadu_ps(c + i * c_row) : _mm512_setzero_ps();
    right[i] = add ? _mm512_loadu_ps(c + i * c_row + 16) : _mm512_setzero_ps();
  }
  for (int k = 0; k < blocks; k++, a.x += a.deeper, b.x += b.deeper)
    for (int pair = 0; pair < 16; pair++) {
      const __m512bh b_left = (__m512bh)_mm512_loadu_si512(b.x + pair * 32);
      const __m512bh b_right = (__m512bh)_mm512_loadu_si512(b.x + b.half + pair * 32);
      for (int i = 0; i < kSummed; i++) {
        int32_t two;
        __builtin_memcpy(&two, a.x + i * a.row + pair * 2, 4);
        const __m512bh a_two = (__m512bh)_mm512_set1_epi32(two);
        left[i] = _mm512_dpbf16_ps(left[i], a_two, b_left);
        right[i] = _mm512_dpbf16_ps(right[i], a_two, b_right);
      }
    }
  for (int i = 0; i < kSummed; i++) {
    _mm512_storeu_ps(c + i * c_row, left[i]);
    _mm512_storeu_ps(c + i * c_row + 16, right[i]);
  }
}

void product_32x32(float* c, int64_t c_row, bool add, Rows a, Columns b, int blocks) {
  for (int i = 0; i < 32; i += kSummed, a.x += kSummed * a.row, c += kSummed * c_row)
    product_of_rows(c, c_row, add, a, b, blocks);
}

#endif

}  // namespace
