/* Armv8.6 with int8 matrix multiplication: what multiplies int8 matrices. */
#include "kernels.h"

#include <arm_neon.h>
#include <string.h>

#define I8_GROUP 8
#include "matmul_i8.h"

/* Sixteen bytes of the panel are two columns; with two rows one instruction makes a square of four sums. */
static inline void tile_i8(const int8_t *rows, const int8_t *panel, int32_t *sums, int64_t count) {
    int32x4_t squares[I8_ROWS / 2][I8_COLUMNS / 2];
    for (int r = 0; r < I8_ROWS / 2; r++)
        for (int s = 0; s < I8_COLUMNS / 2; s++) squares[r][s] = vdupq_n_s32(0);
    for (int64_t p = 0; p < count; p += I8_GROUP, panel += I8_GROUP * I8_COLUMNS) {
        _Pragma("GCC unroll 2") for (int r = 0; r < I8_ROWS / 2; r++) {
            const int8_t *two = rows + 2 * r * count + p;
            int8x16_t by = vcombine_s8(vld1_s8(two), vld1_s8(two + count));
            _Pragma("GCC unroll 4") for (int s = 0; s < I8_COLUMNS / 2; s++)
                squares[r][s] = vmmlaq_s32(squares[r][s], by, vld1q_s8(panel + 16 * s));
        }
    }
    for (int r = 0; r < I8_ROWS / 2; r++)
        for (int s = 0; s < I8_COLUMNS / 2; s++) {
            vst1_s32(sums + 2 * r * I8_COLUMNS + 2 * s, vget_low_s32(squares[r][s]));
            vst1_s32(sums + (2 * r + 1) * I8_COLUMNS + 2 * s, vget_high_s32(squares[r][s]));
        }
}

void jk_install_i8mm(jk_table *table) { table->matmul_i8 = matmul_i8; }
