/* Products of int8 vectors, in terms of `add_products`: what NEON and its dot-product extension do differently. Also
 * half-precision numbers, which every aarch64 processor converts. Include kernels.h and arm_neon.h before. */

/* The four sums, and with each of them four of the sixteen products. */
static inline int32x4_t add_products(int32x4_t sums, int8x16_t a, int8x16_t b);

static inline float float_of_half(const uint8_t *p) {
    __fp16 half;
    memcpy(&half, p, sizeof half);
    return half;
}

static inline int32_t dot_i8(const int8_t *a, const int8_t *b, int64_t n) {
    int32x4_t s0 = vdupq_n_s32(0), s1 = s0, s2 = s0, s3 = s0;
    int64_t i = 0;
    for (; i + 64 <= n; i += 64) {
        s0 = add_products(s0, vld1q_s8(a + i), vld1q_s8(b + i));
        s1 = add_products(s1, vld1q_s8(a + i + 16), vld1q_s8(b + i + 16));
        s2 = add_products(s2, vld1q_s8(a + i + 32), vld1q_s8(b + i + 32));
        s3 = add_products(s3, vld1q_s8(a + i + 48), vld1q_s8(b + i + 48));
    }
    for (; i + 16 <= n; i += 16) s0 = add_products(s0, vld1q_s8(a + i), vld1q_s8(b + i));
    int32_t sum = vaddvq_s32(vaddq_s32(vaddq_s32(s0, s1), vaddq_s32(s2, s3)));
    for (; i < n; i++) sum += a[i] * b[i];
    return sum;
}

static inline int32_t dot_norm_i8(const int8_t *a, const int8_t *b, int64_t n, int32_t *norm) {
    int32x4_t s0 = vdupq_n_s32(0), s1 = s0, q0 = s0, q1 = s0;
    int64_t i = 0;
    for (; i + 32 <= n; i += 32) {
        int8x16_t first = vld1q_s8(b + i), second = vld1q_s8(b + i + 16);
        s0 = add_products(s0, vld1q_s8(a + i), first);
        s1 = add_products(s1, vld1q_s8(a + i + 16), second);
        q0 = add_products(q0, first, first);
        q1 = add_products(q1, second, second);
    }
    int32_t dot = vaddvq_s32(vaddq_s32(s0, s1)), own = vaddvq_s32(vaddq_s32(q0, q1));
    for (; i < n; i++) dot += a[i] * b[i], own += b[i] * b[i];
    *norm = own;
    return dot;
}

static inline float scale_of(const uint8_t *block, const uint8_t *x) { return float_of_half(block) * float_of_half(x); }

static inline float32x4_t add_q8_0(float32x4_t sum, const uint8_t *block, const uint8_t *x) {
    const int8_t *a = (const int8_t *)block + 2, *b = (const int8_t *)x + 2;
    int32x4_t dot = add_products(vdupq_n_s32(0), vld1q_s8(a), vld1q_s8(b));
    dot = add_products(dot, vld1q_s8(a + 16), vld1q_s8(b + 16));
    return vfmaq_n_f32(sum, vcvtq_f32_s32(dot), scale_of(block, x));
}

/* Sixteen times the product. Flipping the highest bit of a nibble takes 8 off it, as two's complement has it; in the
 * upper half of a byte that is an int8, sixteen times as large. */
static inline float32x4_t add_q4_0(float32x4_t sum, const uint8_t *block, const uint8_t *x) {
    uint8x16_t packed = veorq_u8(vld1q_u8(block + 2), vdupq_n_u8(0x88));
    int8x16_t low = vreinterpretq_s8_u8(vshlq_n_u8(packed, 4));
    int8x16_t high = vreinterpretq_s8_u8(vandq_u8(packed, vdupq_n_u8(0xf0)));
    const int8_t *by = (const int8_t *)x + 2;
    int32x4_t dot = add_products(vdupq_n_s32(0), low, vld1q_s8(by));
    dot = add_products(dot, high, vld1q_s8(by + 16));
    return vfmaq_n_f32(sum, vcvtq_f32_s32(dot), scale_of(block, x));
}

/* Two blocks at a time, with a sum for each. */
static inline float row_q8_0(const uint8_t *blocks, const uint8_t *x, int64_t count) {
    float32x4_t even = vdupq_n_f32(0), odd = even;
    for (int64_t pairs = count / 2; pairs > 0; pairs--, blocks += 2 * JK_Q8_0_BYTES, x += 2 * JK_Q8_0_BYTES) {
        even = add_q8_0(even, blocks, x);
        odd = add_q8_0(odd, blocks + JK_Q8_0_BYTES, x + JK_Q8_0_BYTES);
    }
    if (count % 2) even = add_q8_0(even, blocks, x);
    return vaddvq_f32(vaddq_f32(even, odd));
}

static inline float row_q4_0(const uint8_t *blocks, const uint8_t *x, int64_t count) {
    float32x4_t even = vdupq_n_f32(0), odd = even;
    for (int64_t pairs = count / 2; pairs > 0; pairs--, blocks += 2 * JK_Q4_0_BYTES, x += 2 * JK_Q8_0_BYTES) {
        even = add_q4_0(even, blocks, x);
        odd = add_q4_0(odd, blocks + JK_Q4_0_BYTES, x + JK_Q8_0_BYTES);
    }
    if (count % 2) even = add_q4_0(even, blocks, x);
    return vaddvq_f32(vaddq_f32(even, odd)) / 16;
}
