// Sixteen numbers side by side: the outputs of one panel of a weight, or the tokens of one panel of
// keys. Arithmetic is the compiler's own for vectors, on any processor; what it cannot know are the
// dot products of short rows, which stand here for AVX-512, AVX2 and plain C++ (also with OWNLM_PLAIN).

#pragma once

#include <algorithm>
#include <cstdint>
#include <cstring>

#if defined(__AVX2__) && !defined(OWNLM_PLAIN)
#include <immintrin.h>
#endif

#if defined(__AMX_INT8__) && defined(__AMX_BF16__) && defined(__AVX512BF16__) && !defined(OWNLM_PLAIN)
#define OWNLM_TILES
#endif

typedef uint16_t bf16;
typedef float Floats __attribute__((vector_size(64)));
typedef int32_t Ints __attribute__((vector_size(64)));
typedef uint32_t Words __attribute__((vector_size(64)));
typedef uint16_t Halves __attribute__((vector_size(32)));
typedef uint8_t Bytes __attribute__((vector_size(64)));

constexpr int kLanes = 16;
constexpr int kLine = 64;  // bytes of a line: for each lane four int8, two bf16, or eight numbers of 4 bits

inline int64_t round_up(int64_t n, int64_t unit) { return (n + unit - 1) / unit * unit; }

template <class T>
inline T read(const void* at) {
  T value;
  memcpy(&value, at, sizeof(T));
  return value;
}

inline void write(float* at, Floats x, int64_t count = kLanes) {
  if (count >= kLanes) return void(memcpy(at, &x, sizeof(x)));
  const Floats some = x;  // of its own, so that x can stay in a register
  memcpy(at, &some, count * sizeof(float));
}

inline Floats all(float x) { return x - Floats{}; }
inline Floats to_float(Ints x) { return __builtin_convertvector(x, Floats); }
inline Floats widened(const bf16* at) { return (Floats)(__builtin_convertvector(read<Halves>(at), Words) << 16); }

// bf16 in the low half of each word: the nearest, ties to even.
inline Words to_bf16(Floats x) {
  const Words bits = (Words)x;
  return (bits + 0x7fff + (bits >> 16 & 1)) >> 16;
}

inline float to_float(bf16 x) {
  const uint32_t bits = uint32_t(x) << 16;
  return read<float>(&bits);
}

inline bf16 to_bf16(float x) {
  const uint32_t bits = read<uint32_t>(&x);
  return (bits + 0x7fff + (bits >> 16 & 1)) >> 16;
}

inline uint32_t pair(float low, float high) { return uint32_t(to_bf16(high)) << 16 | to_bf16(low); }

// ---- dot products of short rows --------------------------------------------------------------

// dot4: sums[n] += the four bytes of lane n times the four signed bytes of x. `signed_bytes` are
// weights of 8 bits, to which kOffset may have been added; nibbles are 0 to 15.
// dot2: sums[n] += the two bf16 of lane n times the two of x.

inline Words low_nibbles(Words line) { return line & 0x0f0f0f0f; }
inline Words high_nibbles(Words line) { return line >> 4 & 0x0f0f0f0f; }

#if defined(__AVX512VNNI__) && !defined(OWNLM_PLAIN)

constexpr int kOffset = 128;  // the instruction wants bytes without sign
inline Words signed_bytes(const uint8_t* line) { return read<Words>(line) ^ 0x80808080; }
inline Ints dot4(Ints sums, Words bytes, int32_t x) {
  return (Ints)_mm512_dpbusd_epi32((__m512i)sums, (__m512i)bytes, _mm512_set1_epi32(x));
}
inline Ints dot4_nibbles(Ints sums, Words bytes, int32_t x) { return dot4(sums, bytes, x); }

#elif defined(__AVX2__) && !defined(OWNLM_PLAIN)

constexpr int kOffset = 0;
inline Words signed_bytes(const uint8_t* line) { return read<Words>(line); }

struct Two {
  __m256i half[2];
};

// Sums of products of bytes without sign and signed ones; two of them must fit 16 bits.
inline Ints add_products(Ints sums, Two without_sign, Two with_sign) {
  Two s = read<Two>(&sums);
  for (int i = 0; i < 2; i++) {
    const __m256i pairs = _mm256_maddubs_epi16(without_sign.half[i], with_sign.half[i]);
    s.half[i] = _mm256_add_epi32(s.half[i], _mm256_madd_epi16(pairs, _mm256_set1_epi16(1)));
  }
  return read<Ints>(&s);
}
inline Ints dot4(Ints sums, Words bytes, int32_t x) {
  const __m256i v = _mm256_set1_epi32(x), size = _mm256_abs_epi8(v);
  const Two w = read<Two>(&bytes);
  return add_products(sums, {size, size}, {_mm256_sign_epi8(w.half[0], v), _mm256_sign_epi8(w.half[1], v)});
}
inline Ints dot4_nibbles(Ints sums, Words bytes, int32_t x) {
  const __m256i v = _mm256_set1_epi32(x);
  return add_products(sums, read<Two>(&bytes), {v, v});
}

#else

constexpr int kOffset = 0;
inline Words signed_bytes(const uint8_t* line) { return read<Words>(line); }
inline Ints dot4(Ints sums, Words bytes, int32_t x) {
  for (int i = 0; i < 32; i += 8) sums += ((Ints)(bytes << (24 - i)) >> 24) * (int32_t(uint32_t(x) << (24 - i)) >> 24);
  return sums;
}
inline Ints dot4_nibbles(Ints sums, Words bytes, int32_t x) { return dot4(sums, bytes, x); }

#endif

#if defined(__AVX512BF16__) && !defined(OWNLM_PLAIN)
inline Floats dot2(Floats sums, Words line, uint32_t x) {
  return (Floats)_mm512_dpbf16_ps((__m512)sums, (__m512bh)(__m512i)line, (__m512bh)_mm512_set1_epi32(x));
}
#else
inline Floats dot2(Floats sums, Words line, uint32_t x) {
  const uint32_t low = x << 16, high = x & 0xffff0000u;
  sums += (Floats)(line << 16) * read<float>(&low);
  return sums + (Floats)(line & 0xffff0000u) * read<float>(&high);
}
#endif
