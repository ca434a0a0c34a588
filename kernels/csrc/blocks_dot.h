/* Rows of quantised weights times a vector of q8_0 blocks. A level brings the product of one row. */

static inline float row_q8_0(const uint8_t *blocks, const uint8_t *x, int64_t count);
static inline float row_q4_0(const uint8_t *blocks, const uint8_t *x, int64_t count);

static int32_t matvec_q8_0(const uint8_t *blocks, const uint8_t *x, float *out, int64_t rows, int64_t count) {
    for (int64_t row = 0; row < rows; row++, blocks += count * JK_Q8_0_BYTES) out[row] = row_q8_0(blocks, x, count);
    return JK_OK;
}

static int32_t matvec_q4_0(const uint8_t *blocks, const uint8_t *x, float *out, int64_t rows, int64_t count) {
    for (int64_t row = 0; row < rows; row++, blocks += count * JK_Q4_0_BYTES) out[row] = row_q4_0(blocks, x, count);
    return JK_OK;
}
