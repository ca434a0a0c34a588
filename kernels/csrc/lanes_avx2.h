/* Vectors of eight floats in AVX2 and FMA: the words that the shared bodies are written in. */
#include <immintrin.h>

#define V_WIDTH 8
typedef __m256 v_float;

static inline v_float v_load(const float *p) { return _mm256_loadu_ps(p); }
static inline void v_store(float *p, v_float x) { _mm256_storeu_ps(p, x); }
static inline v_float v_set(float x) { return _mm256_set1_ps(x); }
static inline v_float v_add(v_float x, v_float y) { return _mm256_add_ps(x, y); }
static inline v_float v_sub(v_float x, v_float y) { return _mm256_sub_ps(x, y); }
static inline v_float v_mul(v_float x, v_float y) { return _mm256_mul_ps(x, y); }
static inline v_float v_div(v_float x, v_float y) { return _mm256_div_ps(x, y); }
static inline v_float v_fma(v_float x, v_float y, v_float z) { return _mm256_fmadd_ps(x, y, z); }
/* The second one where either is NaN, so the limit of a clamp stands first. */
static inline v_float v_max(v_float x, v_float y) { return _mm256_max_ps(x, y); }
static inline v_float v_min(v_float x, v_float y) { return _mm256_min_ps(x, y); }
static inline float v_sum(v_float x) {
    __m128 sum = _mm_add_ps(_mm256_castps256_ps128(x), _mm256_extractf128_ps(x, 1));
    sum = _mm_add_ps(sum, _mm_movehl_ps(sum, sum));
    return _mm_cvtss_f32(_mm_add_ss(sum, _mm_movehdup_ps(sum)));
}
static inline float v_highest(v_float x) {
    __m128 most = _mm_max_ps(_mm256_castps256_ps128(x), _mm256_extractf128_ps(x, 1));
    most = _mm_max_ps(most, _mm_movehl_ps(most, most));
    return _mm_cvtss_f32(_mm_max_ss(most, _mm_movehdup_ps(most)));
}
/* 2^n for n in [-126, 127], from n + 1.5 * 2^23. */
static inline v_float v_exp2_of_shifted(v_float shifted) {
    __m256i bits = _mm256_slli_epi32(_mm256_castps_si256(shifted), 23);
    return _mm256_castsi256_ps(_mm256_add_epi32(bits, _mm256_set1_epi32(0x3f800000)));
}
/* `value`, or 0 where x < limit. */
static inline v_float v_zero_below(v_float value, v_float x, v_float limit) {
    return _mm256_andnot_ps(_mm256_cmp_ps(x, limit, _CMP_LT_OQ), value);
}
static inline v_float v_abs(v_float x) { return _mm256_andnot_ps(_mm256_set1_ps(-0.0f), x); }
