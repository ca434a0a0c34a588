/* Vectors of four floats in Advanced SIMD: the words that the shared bodies are written in. */
#include <arm_neon.h>

#define V_WIDTH 4
typedef float32x4_t v_float;

static inline v_float v_load(const float *p) { return vld1q_f32(p); }
static inline void v_store(float *p, v_float x) { vst1q_f32(p, x); }
static inline v_float v_set(float x) { return vdupq_n_f32(x); }
static inline v_float v_add(v_float x, v_float y) { return vaddq_f32(x, y); }
static inline v_float v_sub(v_float x, v_float y) { return vsubq_f32(x, y); }
static inline v_float v_mul(v_float x, v_float y) { return vmulq_f32(x, y); }
static inline v_float v_div(v_float x, v_float y) { return vdivq_f32(x, y); }
static inline v_float v_fma(v_float x, v_float y, v_float z) { return vfmaq_f32(z, x, y); }
static inline v_float v_max(v_float x, v_float y) { return vmaxq_f32(x, y); } /* NaN where either is */
static inline v_float v_min(v_float x, v_float y) { return vminq_f32(x, y); }
static inline float v_sum(v_float x) { return vaddvq_f32(x); }
static inline float v_highest(v_float x) { return vmaxvq_f32(x); }
/* 2^n for n in [-126, 127], from n + 1.5 * 2^23. */
static inline v_float v_exp2_of_shifted(v_float shifted) {
    int32x4_t bits = vshlq_n_s32(vreinterpretq_s32_f32(shifted), 23);
    return vreinterpretq_f32_s32(vaddq_s32(bits, vdupq_n_s32(0x3f800000)));
}
/* `value`, or 0 where x < limit. */
static inline v_float v_zero_below(v_float value, v_float x, v_float limit) {
    return vreinterpretq_f32_u32(vbicq_u32(vreinterpretq_u32_f32(value), vcltq_f32(x, limit)));
}
static inline v_float v_abs(v_float x) { return vabsq_f32(x); }
