/* Armv8.2 with the dot-product extension: what multiplies int8 vectors. */
#include "kernels.h"

#include <arm_neon.h>
#include <string.h>

#include "heap.h"

#include "blocks_dot.h"
#include "neon_dots.h"
#include "similarity_i8.h"
#define I8_GROUP 4
#include "matmul_i8.h"

static inline int32x4_t add_products(int32x4_t sums, int8x16_t a, int8x16_t b) { return vdotq_s32(sums, a, b); }

/* Sixteen bytes of the panel are four columns. */
static inline void tile_i8(const int8_t *rows, const int8_t *panel, int32_t *sums, int64_t count) {
    int32x4_t left[I8_ROWS], right[I8_ROWS];
    for (int r = 0; r < I8_ROWS; r++) left[r] = right[r] = vdupq_n_s32(0);
    for (int64_t p = 0; p < count; p += I8_GROUP, panel += I8_GROUP * I8_COLUMNS) {
        int8x16_t first = vld1q_s8(panel), second = vld1q_s8(panel + 16);
        _Pragma("GCC unroll 4") for (int r = 0; r < I8_ROWS; r++) {
            int32_t four;
            memcpy(&four, rows + r * count + p, sizeof four);
            int8x16_t by = vreinterpretq_s8_s32(vdupq_n_s32(four));
            left[r] = vdotq_s32(left[r], first, by);
            right[r] = vdotq_s32(right[r], second, by);
        }
    }
    for (int r = 0; r < I8_ROWS; r++) {
        vst1q_s32(sums + r * I8_COLUMNS, left[r]);
        vst1q_s32(sums + r * I8_COLUMNS + 4, right[r]);
    }
}

void jk_install_dotprod(jk_table *table) {
    table->matmul_i8 = matmul_i8;
    table->matvec_q8_0 = matvec_q8_0;
    table->matvec_q4_0 = matvec_q4_0;
    table->topk_i8 = topk_i8;
}
