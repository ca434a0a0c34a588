/* x86-64 with AVX-512 and its dot products (VNNI): what multiplies int8 vectors.
 *
 * The instruction multiplies unsigned bytes by signed ones and adds four products to an int32, without saturation. So
 * one side is lifted by 128, which is a flip of its top bit, and 128 times the sum of the other side is taken off again.
 * Sums wrap around on the way and are exact in the end.
 */
#include "kernels.h"

#include <immintrin.h>
#include <string.h>

#include "heap.h"

#define FETCH_AHEAD 4096
#include "similarity_i8.h"
#define I8_GROUP 4
#include "matmul_i8.h"

/* The bytes from p on, zeros from n on. */
static inline __m512i bytes(const int8_t *p, int64_t n) {
    if (n >= 64) return _mm512_loadu_si512(p);
    return _mm512_maskz_loadu_epi8(((__mmask64)1 << n) - 1, p);
}

static inline __m512i lifted(__m512i x) { return _mm512_xor_si512(x, _mm512_set1_epi8(-128)); }

/* The sums of two vectors' numbers. */
static inline void sums_of(__m512i a, __m512i b, int32_t *of_a, int32_t *of_b) {
    __m256i low = _mm256_add_epi32(_mm512_castsi512_si256(a), _mm512_extracti64x4_epi64(a, 1));
    __m256i high = _mm256_add_epi32(_mm512_castsi512_si256(b), _mm512_extracti64x4_epi64(b, 1));
    __m256i pairs = _mm256_hadd_epi32(low, high);
    __m128i sums = _mm_add_epi32(_mm256_castsi256_si128(pairs), _mm256_extracti128_si256(pairs, 1));
    sums = _mm_hadd_epi32(sums, sums);
    *of_a = _mm_cvtsi128_si32(sums);
    *of_b = _mm_extract_epi32(sums, 1);
}

static inline int32_t dot_norm_i8(const int8_t *a, const int8_t *b, int64_t n, int32_t *norm) {
    const __m512i top = _mm512_set1_epi8(-128); /* 128 as an unsigned byte */
    __m512i product = _mm512_setzero_si512(), square = product, excess = product;
    for (int64_t i = 0; i < n; i += 64) {
        __m512i row = bytes(b + i, n - i);
        product = _mm512_dpbusd_epi32(product, lifted(bytes(a + i, n - i)), row);
        square = _mm512_dpbusd_epi32(square, lifted(row), row);
        excess = _mm512_dpbusd_epi32(excess, top, row);
    }
    int32_t dot;
    sums_of(_mm512_sub_epi32(product, excess), _mm512_sub_epi32(square, excess), &dot, norm);
    return dot;
}

static inline int32_t dot_i8(const int8_t *a, const int8_t *b, int64_t n) {
    const __m512i top = _mm512_set1_epi8(-128);
    __m512i product = _mm512_setzero_si512(), excess = product;
    for (int64_t i = 0; i < n; i += 64) {
        __m512i row = bytes(b + i, n - i);
        product = _mm512_dpbusd_epi32(product, lifted(bytes(a + i, n - i)), row);
        excess = _mm512_dpbusd_epi32(excess, top, row);
    }
    return _mm512_reduce_add_epi32(_mm512_sub_epi32(product, excess));
}

/* 32 bytes of the panel are four rows of eight columns. */
static inline void tile_i8(const int8_t *rows, const int8_t *panel, int32_t *sums, int64_t count) {
    const __m256i top = _mm256_set1_epi8(-128);
    __m256i products[I8_ROWS], excess = _mm256_setzero_si256();
    for (int r = 0; r < I8_ROWS; r++) products[r] = excess;
    for (int64_t p = 0; p < count; p += I8_GROUP, panel += I8_GROUP * I8_COLUMNS) {
        __m256i columns = _mm256_loadu_si256((const __m256i *)panel);
        excess = _mm256_dpbusd_epi32(excess, top, columns);
        _Pragma("GCC unroll 4") for (int r = 0; r < I8_ROWS; r++) {
            int32_t four;
            memcpy(&four, rows + r * count + p, sizeof four);
            __m256i by = _mm256_xor_si256(_mm256_set1_epi32(four), top);
            products[r] = _mm256_dpbusd_epi32(products[r], by, columns);
        }
    }
    for (int r = 0; r < I8_ROWS; r++)
        _mm256_storeu_si256((__m256i *)(sums + r * I8_COLUMNS), _mm256_sub_epi32(products[r], excess));
}

void jk_install_vnni(jk_table *table) {
    table->matmul_i8 = matmul_i8;
    table->topk_i8 = topk_i8;
}
