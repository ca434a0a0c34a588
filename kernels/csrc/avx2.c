/* x86-64 with AVX2, FMA and F16C. */
#include "kernels.h"
#include "lanes_avx2.h"
#include "vectors.h"
#include "heap.h"

#define HAS_OWN_GATHER
static int32_t gather_i8(const int8_t *table, const int64_t *ids, int32_t *out, int64_t rows, int64_t width,
                         int64_t count);

#include "attention.h"
#include "blocks.h"
#include "blocks_dot.h"
#include "lookups.h"
#include "matmul.h"
#include "rows.h"
#define HAS_OWN_TOPK_I8
#define FETCH_AHEAD 4096
#include "similarity_i8.h"
#define I8_GROUP 4
#define I8_PACKED int16_t
#include "matmul_i8.h"

static inline float float_of_half(const uint8_t *p) {
    uint16_t half;
    memcpy(&half, p, sizeof half);
    return _cvtsh_ss(half);
}

static inline void half_of_float(uint8_t *p, float x) {
    uint16_t half = _cvtss_sh(x, _MM_FROUND_TO_NEAREST_INT);
    memcpy(p, &half, sizeof half);
}

static inline int32_t sum_i32(__m256i x) {
    __m128i sum = _mm_add_epi32(_mm256_castsi256_si128(x), _mm256_extracti128_si256(x, 1));
    sum = _mm_add_epi32(sum, _mm_shuffle_epi32(sum, 0x4e));
    return _mm_cvtsi128_si32(_mm_add_epi32(sum, _mm_shuffle_epi32(sum, 0xb1)));
}

/* 16 int8 as int16, in which no product of two and no sum of two products overflows. */
static inline __m256i widened(const int8_t *p) { return _mm256_cvtepi8_epi16(_mm_loadu_si128((const __m128i *)p)); }
static inline __m256i add_products(__m256i sum, __m256i a, __m256i b) {
    return _mm256_add_epi32(sum, _mm256_madd_epi16(a, b));
}

static inline int32_t dot_i8(const int8_t *a, const int8_t *b, int64_t n) {
    __m256i s0 = _mm256_setzero_si256(), s1 = s0;
    int64_t i = 0;
    for (; i + 32 <= n; i += 32) {
        s0 = add_products(s0, widened(a + i), widened(b + i));
        s1 = add_products(s1, widened(a + i + 16), widened(b + i + 16));
    }
    int32_t sum = sum_i32(_mm256_add_epi32(s0, s1));
    for (; i < n; i++) sum += a[i] * b[i];
    return sum;
}

static inline int32_t dot_norm_i8(const int8_t *a, const int8_t *b, int64_t n, int32_t *norm) {
    __m256i sum = _mm256_setzero_si256(), square = sum;
    int64_t i = 0;
    for (; i + 16 <= n; i += 16) {
        __m256i wide = widened(b + i);
        sum = add_products(sum, widened(a + i), wide);
        square = add_products(square, wide, wide);
    }
    int32_t dot = sum_i32(sum), own = sum_i32(square);
    for (; i < n; i++) dot += a[i] * b[i], own += b[i] * b[i];
    *norm = own;
    return dot;
}

#define WIDE_QUERY 8192 /* numbers of a query that is widened once and not with every row */

static inline int32_t dot_wide(const void *query, const int8_t *row, int64_t d) {
    const int16_t *a = query;
    __m256i s0 = _mm256_setzero_si256(), s1 = s0;
    int64_t i = 0;
    for (; i + 32 <= d; i += 32) {
        s0 = add_products(s0, _mm256_loadu_si256((const __m256i *)(a + i)), widened(row + i));
        s1 = add_products(s1, _mm256_loadu_si256((const __m256i *)(a + i + 16)), widened(row + i + 16));
    }
    int32_t sum = sum_i32(_mm256_add_epi32(s0, s1));
    for (; i < d; i++) sum += a[i] * row[i];
    return sum;
}

static inline int32_t dot_norm_wide(const void *query, const int8_t *row, int64_t d, int32_t *norm) {
    const int16_t *a = query;
    __m256i s0 = _mm256_setzero_si256(), s1 = s0, q0 = s0, q1 = s0;
    int64_t i = 0;
    for (; i + 32 <= d; i += 32) {
        __m256i first = widened(row + i), second = widened(row + i + 16);
        s0 = add_products(s0, _mm256_loadu_si256((const __m256i *)(a + i)), first);
        s1 = add_products(s1, _mm256_loadu_si256((const __m256i *)(a + i + 16)), second);
        q0 = add_products(q0, first, first);
        q1 = add_products(q1, second, second);
    }
    int32_t dot = sum_i32(_mm256_add_epi32(s0, s1)), own = sum_i32(_mm256_add_epi32(q0, q1));
    for (; i < d; i++) dot += a[i] * row[i], own += row[i] * row[i];
    *norm = own;
    return dot;
}

static int32_t topk_i8(const int8_t *rows, const int8_t *query, const float *norms, int64_t n, int64_t d, int64_t k,
                       int64_t *indices, float *scores) {
    int32_t square = dot_i8(query, query, d);
    int16_t wide[WIDE_QUERY];
    if (d > WIDE_QUERY) {
        best_rows(dot_given, dot_norm_given, query, square, rows, norms, n, d, k, indices, scores);
        return JK_OK;
    }
    for (int64_t i = 0; i < d; i++) wide[i] = query[i];
    best_rows(dot_wide, dot_norm_wide, wide, square, rows, norms, n, d, k, indices, scores);
    return JK_OK;
}

static inline float row_q8_0(const uint8_t *blocks, const uint8_t *x, int64_t count) {
    __m256 sum = _mm256_setzero_ps();
    for (; count > 0; count--, blocks += JK_Q8_0_BYTES, x += JK_Q8_0_BYTES) {
        const int8_t *a = (const int8_t *)blocks + 2, *b = (const int8_t *)x + 2;
        __m256i dot = add_products(_mm256_madd_epi16(widened(a), widened(b)), widened(a + 16), widened(b + 16));
        sum = _mm256_fmadd_ps(_mm256_cvtepi32_ps(dot), v_set(float_of_half(blocks) * float_of_half(x)), sum);
    }
    return v_sum(sum);
}

/* Nibbles are unsigned, so bytes can be multiplied as they are; eight times the sum of x is taken off. */
static inline float row_q4_0(const uint8_t *blocks, const uint8_t *x, int64_t count) {
    const __m256i ones = _mm256_set1_epi16(1), eights = _mm256_set1_epi8(8);
    const __m128i low = _mm_set1_epi8(15);
    __m256 sum = _mm256_setzero_ps();
    for (; count > 0; count--, blocks += JK_Q4_0_BYTES, x += JK_Q8_0_BYTES) {
        __m128i packed = _mm_loadu_si128((const __m128i *)(blocks + 2));
        __m256i quants = _mm256_set_m128i(_mm_and_si128(_mm_srli_epi16(packed, 4), low), _mm_and_si128(packed, low));
        __m256i by = _mm256_loadu_si256((const __m256i *)(x + 2));
        __m256i pairs = _mm256_sub_epi16(_mm256_maddubs_epi16(quants, by), _mm256_maddubs_epi16(eights, by));
        __m256 scale = v_set(float_of_half(blocks) * float_of_half(x));
        sum = _mm256_fmadd_ps(_mm256_cvtepi32_ps(_mm256_madd_epi16(pairs, ones)), scale, sum);
    }
    return v_sum(sum);
}

static inline void tile_f32(const float *const rows[TILE], const float *panel, float *c, int64_t ldc, int64_t k,
                            int fresh) {
    __m256 sums[TILE];
    for (int r = 0; r < TILE; r++) sums[r] = fresh ? _mm256_setzero_ps() : _mm256_loadu_ps(c + r * ldc);
    for (int64_t p = 0; p < k; p++) {
        __m256 columns = _mm256_loadu_ps(panel + p * TILE);
#pragma GCC unroll 8
        for (int r = 0; r < TILE; r++) sums[r] = _mm256_fmadd_ps(_mm256_broadcast_ss(rows[r] + p), columns, sums[r]);
    }
    for (int r = 0; r < TILE; r++) _mm256_storeu_ps(c + r * ldc, sums[r]);
}

static inline void tile_i8(const int16_t *rows, const int16_t *panel, int32_t *sums, int64_t count) {
    __m256i low[I8_ROWS], high[I8_ROWS]; /* columns 0-3 and 4-7, two sums of pairs for each */
    for (int r = 0; r < I8_ROWS; r++) low[r] = high[r] = _mm256_setzero_si256();
    for (int64_t p = 0; p < count; p += I8_GROUP, panel += I8_GROUP * I8_COLUMNS) {
        __m256i first = _mm256_loadu_si256((const __m256i *)panel);
        __m256i second = _mm256_loadu_si256((const __m256i *)(panel + 16));
#pragma GCC unroll 4
        for (int r = 0; r < I8_ROWS; r++) {
            int64_t four;
            memcpy(&four, rows + r * count + p, sizeof four);
            __m256i by = _mm256_set1_epi64x(four);
            low[r] = add_products(low[r], first, by);
            high[r] = add_products(high[r], second, by);
        }
    }
    for (int r = 0; r < I8_ROWS; r++) {
        __m256i paired = _mm256_permute4x64_epi64(_mm256_hadd_epi32(low[r], high[r]), 0xd8);
        _mm256_storeu_si256((__m256i *)(sums + r * I8_COLUMNS), paired);
    }
}

#define GATHER 64     /* columns whose sums stay in registers */
#define UNTIL_WIDE 256 /* rows whose sum an int16 can hold */

static inline void add_wide(int32_t *out, __m256i sums) {
    __m256i low = _mm256_cvtepi16_epi32(_mm256_castsi256_si128(sums));
    __m256i high = _mm256_cvtepi16_epi32(_mm256_extracti128_si256(sums, 1));
    __m256i *to = (__m256i *)out;
    _mm256_storeu_si256(to, _mm256_add_epi32(_mm256_loadu_si256(to), low));
    _mm256_storeu_si256(to + 1, _mm256_add_epi32(_mm256_loadu_si256(to + 1), high));
}

static inline void gather_64(const int8_t *table, const int64_t *ids, int32_t *out, int64_t width, int64_t count) {
    __m256i s0 = _mm256_setzero_si256(), s1 = s0, s2 = s0, s3 = s0;
    for (int64_t i = 0; i < count; i++) {
        const int8_t *row = table + ids[i] * width;
        s0 = _mm256_add_epi16(s0, widened(row));
        s1 = _mm256_add_epi16(s1, widened(row + 16));
        s2 = _mm256_add_epi16(s2, widened(row + 32));
        s3 = _mm256_add_epi16(s3, widened(row + 48));
    }
    add_wide(out, s0), add_wide(out + 16, s1), add_wide(out + 32, s2), add_wide(out + 48, s3);
}

static inline void gather_16(const int8_t *table, const int64_t *ids, int32_t *out, int64_t width, int64_t count) {
    __m256i sum = _mm256_setzero_si256();
    for (int64_t i = 0; i < count; i++) sum = _mm256_add_epi16(sum, widened(table + ids[i] * width));
    add_wide(out, sum);
}

static int32_t gather_i8(const int8_t *table, const int64_t *ids, int32_t *out, int64_t rows, int64_t width,
                         int64_t count) {
    if (!ids_are_within(ids, count, rows)) return JK_BAD_INDEX;
    memset(out, 0, (size_t)width * sizeof *out);
    for (int64_t begin = 0; begin < count; begin += UNTIL_WIDE) {
        int64_t some = count - begin < UNTIL_WIDE ? count - begin : UNTIL_WIDE, j = 0;
        for (; j + GATHER <= width; j += GATHER) gather_64(table + j, ids + begin, out + j, width, some);
        for (; j + 16 <= width; j += 16) gather_16(table + j, ids + begin, out + j, width, some);
        for (int64_t i = begin; i < begin + some; i++)
            for (int64_t s = j; s < width; s++) out[s] += table[ids[i] * width + s];
    }
    return JK_OK;
}

#include "install.h"
void jk_install_avx2(jk_table *table) { install_all(table); }
