/* Vectors of one float: the words that the shared bodies are written in, for a compiler that knows no vectors. */
#include <stdint.h>
#include <string.h>

#define V_WIDTH 1
typedef float v_float;

static inline v_float v_load(const float *p) { return *p; }
static inline void v_store(float *p, v_float x) { *p = x; }
static inline v_float v_set(float x) { return x; }
static inline v_float v_add(v_float x, v_float y) { return x + y; }
static inline v_float v_sub(v_float x, v_float y) { return x - y; }
static inline v_float v_mul(v_float x, v_float y) { return x * y; }
static inline v_float v_div(v_float x, v_float y) { return x / y; }
static inline v_float v_fma(v_float x, v_float y, v_float z) { return x * y + z; } /* fmaf is a slow call here */
/* The second one where either is NaN, so the limit of a clamp stands first. */
static inline v_float v_max(v_float x, v_float y) { return x > y ? x : y; }
static inline v_float v_min(v_float x, v_float y) { return x < y ? x : y; }
static inline float v_sum(v_float x) { return x; }
static inline float v_highest(v_float x) { return x; }
/* 2^n for n in [-126, 127], from n + 1.5 * 2^23. */
static inline v_float v_exp2_of_shifted(v_float shifted) {
    uint32_t bits;
    memcpy(&bits, &shifted, sizeof bits);
    bits = (bits << 23) + 0x3f800000u;
    memcpy(&shifted, &bits, sizeof bits);
    return shifted;
}
/* `value`, or 0 where x < limit. */
static inline v_float v_zero_below(v_float value, v_float x, v_float limit) { return x < limit ? 0.0f : value; }
static inline v_float v_abs(v_float x) { return x < 0 ? -x : x; }
