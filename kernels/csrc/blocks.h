/* Weights in blocks of 32, byte for byte as ggml writes them: into blocks and back. A level brings the conversions of
 * half-precision numbers. */

static inline float float_of_half(const uint8_t *p);
static inline void half_of_float(uint8_t *p, float x);

/* The largest magnitude of a block, its signed value in *signed_value, the first of equals; -1 if one is not finite. */
static inline float largest(const float *x, float *signed_value) {
    uint32_t bits[JK_BLOCK], most = 0;
    memcpy(bits, x, sizeof bits);
    for (int i = 0; i < JK_BLOCK; i++) most = (bits[i] & 0x7fffffffu) > most ? bits[i] & 0x7fffffffu : most;
    *signed_value = 0;
    if (most >= 0x7f800000u) return -1;
    for (int i = JK_BLOCK - 1; i >= 0; i--)
        if ((bits[i] & 0x7fffffffu) == most) *signed_value = x[i];
    return *signed_value < 0 ? -*signed_value : *signed_value;
}

static int32_t quantize_q8_0(const float *x, uint8_t *blocks, int64_t count) {
    for (int64_t block = 0; block < count; block++, x += JK_BLOCK, blocks += JK_Q8_0_BYTES) {
        float signed_value, most = largest(x, &signed_value);
        if (most < 0) return JK_NOT_FINITE;
        float scale = most / 127.0f, inverse = scale > 0 ? 1.0f / scale : 0.0f;
        if (inverse > FLT_MAX) inverse = 0; /* so small that the stored scale is 0, too */
        half_of_float(blocks, scale);
        for (int i = 0; i < JK_BLOCK; i++) { /* halves are rounded away from zero */
            float scaled = x[i] * inverse, magnitude = scaled < 0 ? -scaled : scaled;
            int32_t whole = (int32_t)magnitude;
            whole += magnitude - (float)whole >= 0.5f;
            blocks[2 + i] = (uint8_t)(int8_t)(scaled < 0 ? -whole : whole);
        }
    }
    return JK_OK;
}

static int32_t quantize_q4_0(const float *x, uint8_t *blocks, int64_t count) {
    for (int64_t block = 0; block < count; block++, x += JK_BLOCK, blocks += JK_Q4_0_BYTES) {
        float signed_value, most = largest(x, &signed_value);
        if (most < 0) return JK_NOT_FINITE;
        float scale = signed_value / -8.0f, inverse = scale != 0 ? 1.0f / scale : 0.0f;
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
