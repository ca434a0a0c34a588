/* The level that every processor has: plain C, for whatever the compiler's baseline is. */
#include "kernels.h"
#include "lanes_scalar.h"
#include "vectors.h"
#include "heap.h"

#include "attention.h"
#include "blocks.h"
#include "blocks_dot.h"
#include "lookups.h"
#include "matmul.h"
#include "rows.h"
#include "similarity_i8.h"
#define I8_GROUP 1
#include "matmul_i8.h"

static inline float float_of_half(const uint8_t *p) {
    uint32_t half = (uint32_t)(p[0] | p[1] << 8), sign = (half & 0x8000u) << 16, rest = half & 0x7fffu, bits;
    float found;
    if (rest >= 0x7c00u) {
        bits = sign | 0x7f800000u | (rest & 0x3ffu) << 13;
    } else if (rest >= 0x400u) {
        bits = sign | ((rest << 13) + (112u << 23));
    } else { /* a multiple of 2^-24 */
        found = (float)rest * 5.9604644775390625e-8f;
        return sign ? -found : found;
    }
    memcpy(&found, &bits, sizeof found);
    return found;
}

/* To the nearest, halves to even; beyond 65519 it is infinity. */
static inline void half_of_float(uint8_t *p, float x) {
    uint32_t bits, half;
    memcpy(&bits, &x, sizeof bits);
    uint32_t sign = bits >> 16 & 0x8000u, rest = bits & 0x7fffffffu;
    if (rest >= 0x47800000u) { /* 2^16 and above, infinity, NaN */
        half = 0x7c00u | (rest > 0x7f800000u ? 0x200u : 0);
    } else if (rest < 0x38800000u) { /* below the normal ones: adding 0.5 leaves multiples of 2^-24 in the low bits */
        float magnitude;
        memcpy(&magnitude, &rest, sizeof magnitude);
        magnitude += 0.5f;
        memcpy(&half, &magnitude, sizeof half);
        half -= 0x3f000000u;
    } else {
        uint32_t odd = rest >> 13 & 1u;
        half = (rest - (112u << 23) + 0xfffu + odd) >> 13;
    }
    half |= sign;
    p[0] = (uint8_t)half;
    p[1] = (uint8_t)(half >> 8);
}

static inline int32_t dot_i8(const int8_t *a, const int8_t *b, int64_t n) {
    int32_t sum = 0;
    for (int64_t i = 0; i < n; i++) sum += a[i] * b[i];
    return sum;
}

static inline int32_t dot_norm_i8(const int8_t *a, const int8_t *b, int64_t n, int32_t *norm) {
    *norm = dot_i8(b, b, n);
    return dot_i8(a, b, n);
}

static inline float row_q8_0(const uint8_t *blocks, const uint8_t *x, int64_t count) {
    float sum = 0;
    for (; count > 0; count--, blocks += JK_Q8_0_BYTES, x += JK_Q8_0_BYTES) {
        int32_t dot = dot_i8((const int8_t *)blocks + 2, (const int8_t *)x + 2, JK_BLOCK);
        sum += (float)dot * (float_of_half(blocks) * float_of_half(x));
    }
    return sum;
}

static inline float row_q4_0(const uint8_t *blocks, const uint8_t *x, int64_t count) {
    float sum = 0;
    for (; count > 0; count--, blocks += JK_Q4_0_BYTES, x += JK_Q8_0_BYTES) {
        int32_t dot = 0;
        for (int i = 0; i < JK_BLOCK / 2; i++)
            dot += ((blocks[2 + i] & 15) - 8) * (int8_t)x[2 + i] + ((blocks[2 + i] >> 4) - 8) * (int8_t)x[18 + i];
        sum += (float)dot * (float_of_half(blocks) * float_of_half(x));
    }
    return sum;
}

static inline void tile_f32(const float *const rows[TILE], const float *panel, float *c, int64_t ldc, int64_t k,
                            int fresh) {
    for (int r = 0; r < TILE; r++) {
        float sums[TILE] = {0};
        for (int64_t p = 0; p < k; p++)
            for (int s = 0; s < TILE; s++) sums[s] += rows[r][p] * panel[p * TILE + s];
        for (int s = 0; s < TILE; s++) c[r * ldc + s] = fresh ? sums[s] : c[r * ldc + s] + sums[s];
    }
}

static inline void tile_i8(const int8_t *rows, const int8_t *panel, int32_t *sums, int64_t count) {
    for (int r = 0; r < I8_ROWS; r++)
        for (int64_t p = 0; p < count; p++)
            for (int s = 0; s < I8_COLUMNS; s++)
                sums[r * I8_COLUMNS + s] += rows[r * count + p] * panel[p * I8_COLUMNS + s];
}

#include "install.h"
void jk_install_scalar(jk_table *table) { install_all(table); }
