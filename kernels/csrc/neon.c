/* aarch64 as every processor has it: Advanced SIMD without extensions. */
#include "kernels.h"
#include "lanes_neon.h"
#include "vectors.h"
#include "heap.h"

#define HAS_OWN_GATHER
static int32_t gather_i8(const int8_t *table, const int64_t *ids, int32_t *out, int64_t rows, int64_t width,
                         int64_t count);

#include "attention.h"
#include "blocks.h"
#include "blocks_dot.h"
#include "lookups.h"
#include "neon_dots.h"
#include "rows.h"
#include "similarity_i8.h"
#define I8_GROUP 4
#include "matmul_i8.h"

static inline void half_of_float(uint8_t *p, float x) {
    __fp16 half = (__fp16)x;
    memcpy(p, &half, sizeof half);
}

/* Products of int8 fit int16, but the sum of two may not: pairs are added into int32. */
static inline int32x4_t add_products(int32x4_t sums, int8x16_t a, int8x16_t b) {
    sums = vpadalq_s16(sums, vmull_s8(vget_low_s8(a), vget_low_s8(b)));
    return vpadalq_s16(sums, vmull_high_s8(a, b));
}

#if defined(__GNUC__) && !defined(__clang__)
/* GCC's first scheduling pass moves loads of a tile so far up that it runs out of registers and copies them about. */
#pragma GCC push_options
#pragma GCC optimize("no-schedule-insns")
#endif
#include "matmul.h"

/* Sixteen sums, a row of the panel and eight rows of a in registers; four steps of k with one load of each row of a. */
static inline void tile_f32(const float *const rows[TILE], const float *panel, float *c, int64_t ldc, int64_t k,
                            int fresh) {
    float32x4_t left[TILE], right[TILE], a[TILE];
    for (int r = 0; r < TILE; r++) {
        left[r] = fresh ? vdupq_n_f32(0) : vld1q_f32(c + r * ldc);
        right[r] = fresh ? vdupq_n_f32(0) : vld1q_f32(c + r * ldc + 4);
    }
    int64_t at = 0;
#define STEP(lane)                                                                                                    \
    do {                                                                                                              \
        float32x4_t first = vld1q_f32(panel + (lane)*TILE), second = vld1q_f32(panel + (lane)*TILE + 4);              \
        _Pragma("GCC unroll 8") for (int r = 0; r < TILE; r++) {                                                      \
            left[r] = vfmaq_laneq_f32(left[r], first, a[r], lane);                                                    \
            right[r] = vfmaq_laneq_f32(right[r], second, a[r], lane);                                                 \
        }                                                                                                             \
    } while (0)
    for (int64_t fours = k / 4; fours > 0; fours--, at += 4, panel += 4 * TILE) {
        _Pragma("GCC unroll 8") for (int r = 0; r < TILE; r++) a[r] = vld1q_f32(rows[r] + at);
        STEP(0);
        STEP(1);
        STEP(2);
        STEP(3);
    }
    for (; at < k; at++, panel += TILE) {
        for (int r = 0; r < TILE; r++) a[r] = vdupq_n_f32(rows[r][at]);
        STEP(0);
    }
#undef STEP
    for (int r = 0; r < TILE; r++) {
        vst1q_f32(c + r * ldc, left[r]);
        vst1q_f32(c + r * ldc + 4, right[r]);
    }
}
#if defined(__GNUC__) && !defined(__clang__)
#pragma GCC pop_options
#endif

/* Eight bytes of the panel are two columns. */
static inline void tile_i8(const int8_t *rows, const int8_t *panel, int32_t *sums, int64_t count) {
    for (int r = 0; r < I8_ROWS; r++) {
        const int8_t *row = rows + r * count, *columns = panel;
        int32x4_t s0 = vdupq_n_s32(0), s1 = s0, s2 = s0, s3 = s0;
        for (int64_t p = 0; p < count; p += I8_GROUP, columns += I8_GROUP * I8_COLUMNS) {
            int32_t four;
            memcpy(&four, row + p, sizeof four);
            int8x8_t by = vreinterpret_s8_s32(vdup_n_s32(four));
            s0 = vpadalq_s16(s0, vmull_s8(vld1_s8(columns), by));
            s1 = vpadalq_s16(s1, vmull_s8(vld1_s8(columns + 8), by));
            s2 = vpadalq_s16(s2, vmull_s8(vld1_s8(columns + 16), by));
            s3 = vpadalq_s16(s3, vmull_s8(vld1_s8(columns + 24), by));
        }
        vst1q_s32(sums + r * I8_COLUMNS, vpaddq_s32(s0, s1));
        vst1q_s32(sums + r * I8_COLUMNS + 4, vpaddq_s32(s2, s3));
    }
}

#define GATHER 128     /* columns whose sums stay in registers */
#define UNTIL_WIDE 256 /* rows whose sum an int16 can hold */

static inline void add_wide(int32_t *out, int16x8_t sums) {
    vst1q_s32(out, vaddw_s16(vld1q_s32(out), vget_low_s16(sums)));
    vst1q_s32(out + 4, vaddw_high_s16(vld1q_s32(out + 4), sums));
}

static inline void gather_columns(const int8_t *table, const int64_t *ids, int32_t *out, int64_t width, int64_t count,
                                  const int vectors) {
    int16x8_t low[GATHER / 16], high[GATHER / 16];
    for (int v = 0; v < vectors; v++) low[v] = high[v] = vdupq_n_s16(0);
    for (int64_t i = 0; i < count; i++) {
        const int8_t *row = table + ids[i] * width;
        _Pragma("GCC unroll 8") for (int v = 0; v < vectors; v++) {
            int8x16_t bytes = vld1q_s8(row + 16 * v);
            low[v] = vaddw_s8(low[v], vget_low_s8(bytes));
            high[v] = vaddw_high_s8(high[v], bytes);
        }
    }
    for (int v = 0; v < vectors; v++) {
        add_wide(out + 16 * v, low[v]);
        add_wide(out + 16 * v + 8, high[v]);
    }
}

static int32_t gather_i8(const int8_t *table, const int64_t *ids, int32_t *out, int64_t rows, int64_t width,
                         int64_t count) {
    if (!ids_are_within(ids, count, rows)) return JK_BAD_INDEX;
    memset(out, 0, (size_t)width * sizeof *out);
    for (int64_t begin = 0; begin < count; begin += UNTIL_WIDE) {
        int64_t some = count - begin < UNTIL_WIDE ? count - begin : UNTIL_WIDE, j = 0;
        for (; j + GATHER <= width; j += GATHER)
            gather_columns(table + j, ids + begin, out + j, width, some, GATHER / 16);
        for (; j + 16 <= width; j += 16) gather_columns(table + j, ids + begin, out + j, width, some, 1);
        for (int64_t i = begin; i < begin + some; i++)
            for (int64_t s = j; s < width; s++) out[s] += table[ids[i] * width + s];
    }
    return JK_OK;
}

#include "install.h"
void jk_install_neon(jk_table *table) { install_all(table); }
