/* Weights in blocks of 32, byte for byte as ggml writes them: into blocks and back. A level brings the conversions of
 * half-precision numbers. */

static inline float float_of_half(const uint8_t *p);
static inline void half_of_float(uint8_t *p, float x);

/* The bits of the largest magnitude of a block: magnitudes are ordered as their bits are. */
static inline uint32_t largest_bits(const float *x) {
    uint32_t bits[JK_BLOCK], most = 0;
    memcpy(bits, x, sizeof bits);
    for (int i = 0; i < JK_BLOCK; i++) {
        uint32_t magnitude = bits[i] & 0x7fffffffu;
        most = magnitude > most ? magnitude : most;
    }
    return most;
}

#define INFINITE_BITS 0x7f800000u /* and all above are NaN */

static inline float float_of_bits(uint32_t bits) {
    float found;
    memcpy(&found, &bits, sizeof found);
    return found;
}

static int32_t quantize_q8_0(const float *x, uint8_t *blocks, int64_t count) {
    for (int64_t block = 0; block < count; block++, x += JK_BLOCK, blocks += JK_Q8_0_BYTES) {
        uint32_t most = largest_bits(x);
        if (most >= INFINITE_BITS) return JK_NOT_FINITE;
        float scale = float_of_bits(most) / 127.0f, inverse = scale > 0 ? 1.0f / scale : 0.0f;
        if (inverse > FLT_MAX) inverse = 0; /* so small that the stored scale is 0, too */
        half_of_float(blocks, scale);
        int8_t quants[JK_BLOCK]; /* of its own, so that the compiler sees that it is not x */
        for (int i = 0; i < JK_BLOCK; i++) {
            float scaled = x[i] * inverse; /* halves are rounded away from zero */
            int32_t whole = (int32_t)scaled;
            float rest = scaled - (float)whole;
            quants[i] = (int8_t)(whole + (rest >= 0.5f) - (rest <= -0.5f));
        }
        memcpy(blocks + 2, quants, sizeof quants);
    }
    return JK_OK;
}

/* The first of the numbers whose magnitude has these bits. */
static inline float first_of_magnitude(const float *x, uint32_t magnitude) {
    uint32_t bits = 0;
    for (int i = 0; i < JK_BLOCK; i++) {
        memcpy(&bits, x + i, sizeof bits);
        if ((bits & 0x7fffffffu) == magnitude) break;
    }
    return float_of_bits(bits);
}

static int32_t quantize_q4_0(const float *x, uint8_t *blocks, int64_t count) {
    for (int64_t block = 0; block < count; block++, x += JK_BLOCK, blocks += JK_Q4_0_BYTES) {
        uint32_t most = largest_bits(x);
        if (most >= INFINITE_BITS) return JK_NOT_FINITE;
        float scale = first_of_magnitude(x, most) / -8.0f, inverse = scale != 0 ? 1.0f / scale : 0.0f;
        if (inverse > FLT_MAX || inverse < -FLT_MAX) inverse = 0;
        half_of_float(blocks, scale);
        uint8_t quants[JK_BLOCK];
        for (int i = 0; i < JK_BLOCK; i++) { /* two roundings: the build keeps the compiler from fusing them */
            int32_t quant = (int32_t)(x[i] * inverse + 8.5f);
            quants[i] = (uint8_t)(quant > 15 ? 15 : quant);
        }
        for (int i = 0; i < JK_BLOCK / 2; i++) blocks[2 + i] = (uint8_t)(quants[i] | quants[JK_BLOCK / 2 + i] << 4);
    }
    return JK_OK;
}

static int32_t dequantize_q8_0(const uint8_t *blocks, float *out, int64_t count) {
    for (int64_t block = 0; block < count; block++, out += JK_BLOCK, blocks += JK_Q8_0_BYTES) {
        float scale = float_of_half(blocks);
        for (int i = 0; i < JK_BLOCK; i++) out[i] = scale * (float)(int8_t)blocks[2 + i];
    }
    return JK_OK;
}

static int32_t dequantize_q4_0(const uint8_t *blocks, float *out, int64_t count) {
    for (int64_t block = 0; block < count; block++, out += JK_BLOCK, blocks += JK_Q4_0_BYTES) {
        float scale = float_of_half(blocks);
        for (int i = 0; i < JK_BLOCK / 2; i++) {
            out[i] = scale * (float)((blocks[2 + i] & 15) - 8);
            out[JK_BLOCK / 2 + i] = scale * (float)((blocks[2 + i] >> 4) - 8);
        }
    }
    return JK_OK;
}
