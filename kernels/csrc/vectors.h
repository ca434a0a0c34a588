/* What the bodies share: incomplete vectors, sums, and the exponential. Include a lanes_*.h before. */
#include <float.h>
#include <math.h>
#include <string.h>

/* The first n < V_WIDTH numbers of p, and `fill` in the rest. */
static inline v_float v_load_part(const float *p, int64_t n, float fill) {
    float buffer[V_WIDTH];
    v_store(buffer, v_set(fill));
    for (int64_t i = 0; i < n; i++) buffer[i] = p[i];
    return v_load(buffer);
}

static inline void v_store_part(float *p, v_float x, int64_t n) {
    float buffer[V_WIDTH];
    v_store(buffer, x);
    for (int64_t i = 0; i < n; i++) p[i] = buffer[i];
}

/* out[i] = expression of x for n numbers of `in`, the incomplete vector at the end included. */
#define V_MAP(n, in, out, expression)                                                                                 \
    do {                                                                                                              \
        const float *in_ = (in);                                                                                      \
        float *out_ = (out);                                                                                          \
        int64_t i_ = 0, n_ = (n);                                                                                     \
        for (; i_ + V_WIDTH <= n_; i_ += V_WIDTH) {                                                                   \
            v_float x = v_load(in_ + i_);                                                                             \
            v_store(out_ + i_, (expression));                                                                         \
        }                                                                                                             \
        if (i_ < n_) {                                                                                                \
            v_float x = v_load_part(in_ + i_, n_ - i_, 0.0f);                                                         \
            v_store_part(out_ + i_, (expression), n_ - i_);                                                           \
        }                                                                                                             \
    } while (0)

/* As V_MAP, with y from a second input. */
#define V_MAP2(n, in, second, out, expression)                                                                        \
    do {                                                                                                              \
        const float *in_ = (in), *second_ = (second);                                                                 \
        float *out_ = (out);                                                                                          \
        int64_t i_ = 0, n_ = (n);                                                                                     \
        for (; i_ + V_WIDTH <= n_; i_ += V_WIDTH) {                                                                   \
            v_float x = v_load(in_ + i_), y = v_load(second_ + i_);                                                   \
            v_store(out_ + i_, (expression));                                                                         \
        }                                                                                                             \
        if (i_ < n_) {                                                                                                \
            v_float x = v_load_part(in_ + i_, n_ - i_, 0.0f), y = v_load_part(second_ + i_, n_ - i_, 0.0f);           \
            v_store_part(out_ + i_, (expression), n_ - i_);                                                           \
        }                                                                                                             \
    } while (0)

/* The sum of products, in four chains so that additions need not wait for each other. */
static inline float dot_f32(const float *a, const float *b, int64_t n) {
    v_float s0 = v_set(0), s1 = v_set(0), s2 = v_set(0), s3 = v_set(0);
    int64_t i = 0;
    for (; i + 4 * V_WIDTH <= n; i += 4 * V_WIDTH) {
        s0 = v_fma(v_load(a + i), v_load(b + i), s0);
        s1 = v_fma(v_load(a + i + V_WIDTH), v_load(b + i + V_WIDTH), s1);
        s2 = v_fma(v_load(a + i + 2 * V_WIDTH), v_load(b + i + 2 * V_WIDTH), s2);
        s3 = v_fma(v_load(a + i + 3 * V_WIDTH), v_load(b + i + 3 * V_WIDTH), s3);
    }
    for (; i + V_WIDTH <= n; i += V_WIDTH) s0 = v_fma(v_load(a + i), v_load(b + i), s0);
    if (i < n) s1 = v_fma(v_load_part(a + i, n - i, 0), v_load_part(b + i, n - i, 0), s1);
    return v_sum(v_add(v_add(s0, s1), v_add(s2, s3)));
}

/* The highest of n > 0 numbers; of NaN only that the result is then NaN or any of the numbers. */
static inline float highest_f32(const float *x, int64_t n) {
    v_float m0 = v_set(-INFINITY), m1 = m0, m2 = m0, m3 = m0;
    int64_t i = 0;
    for (; i + 4 * V_WIDTH <= n; i += 4 * V_WIDTH) {
        m0 = v_max(v_load(x + i), m0);
        m1 = v_max(v_load(x + i + V_WIDTH), m1);
        m2 = v_max(v_load(x + i + 2 * V_WIDTH), m2);
        m3 = v_max(v_load(x + i + 3 * V_WIDTH), m3);
    }
    for (; i + V_WIDTH <= n; i += V_WIDTH) m0 = v_max(v_load(x + i), m0);
    if (i < n) m1 = v_max(v_load_part(x + i, n - i, -INFINITY), m1);
    return v_highest(v_max(v_max(m0, m1), v_max(m2, m3)));
}

#define EXP_LEAST -87.33654f /* its exponential is the least normal number; below, the result is 0 */
#define EXP_MOST 88.0f
#define SHIFT 12582912.0f /* 1.5 * 2^23: adding it rounds to an integer, which then stands in the low bits */

/* The exponential of x <= EXP_MOST; NaN of NaN. x = n ln 2 + r with |r| <= ln 2 / 2, and a polynomial of r whose
 * coefficients are those of Cephes's expf: the error is below 2e-7 of the result. ln 2 is subtracted in two parts. */
static inline v_float v_exp(v_float x) {
    v_float limit = v_set(EXP_LEAST), clamped = v_max(limit, x);
    v_float shifted = v_fma(clamped, v_set(1.44269504f), v_set(SHIFT));
    v_float n = v_sub(shifted, v_set(SHIFT));
    v_float r = v_fma(n, v_set(-0.693359375f), clamped);
    r = v_fma(n, v_set(2.12194440e-4f), r);
    v_float p = v_fma(v_set(1.9875691500e-4f), r, v_set(1.3981999507e-3f));
    p = v_fma(p, r, v_set(8.3334519073e-3f));
    p = v_fma(p, r, v_set(4.1665795894e-2f));
    p = v_fma(p, r, v_set(1.6666665459e-1f));
    p = v_fma(p, r, v_set(5.0000001201e-1f));
    p = v_add(v_fma(p, v_mul(r, r), r), v_set(1.0f));
    return v_zero_below(v_mul(p, v_exp2_of_shifted(shifted)), x, limit);
}

/* 1 / (1 + exp(-x)) */
static inline v_float v_sigmoid(v_float x) {
    v_float grown = v_exp(v_min(v_set(EXP_MOST), v_sub(v_set(0), x)));
    return v_div(v_set(1), v_add(v_set(1), grown));
}

#define EXP_STRETCH 2048 /* numbers whose float sums go into one double, so that long rows lose nothing */

/* The sum of exp(x[i] - shift); the terms go to `out` unless it is NULL. `out` may be x. */
static inline double sum_of_exp(const float *x, float *out, int64_t n, float shift) {
    double total = 0;
    for (int64_t begin = 0; begin < n; begin += EXP_STRETCH) {
        int64_t end = n - begin < EXP_STRETCH ? n : begin + EXP_STRETCH, i = begin;
        v_float s0 = v_set(0), s1 = v_set(0), by = v_set(shift);
        for (; i + 2 * V_WIDTH <= end; i += 2 * V_WIDTH) {
            v_float e0 = v_exp(v_sub(v_load(x + i), by)), e1 = v_exp(v_sub(v_load(x + i + V_WIDTH), by));
            s0 = v_add(s0, e0);
            s1 = v_add(s1, e1);
            if (out) v_store(out + i, e0), v_store(out + i + V_WIDTH, e1);
        }
        for (; i < end; i += V_WIDTH) {
            int64_t left = end - i < V_WIDTH ? end - i : V_WIDTH;
            v_float e = v_exp(v_sub(v_load_part(x + i, left, -INFINITY), by));
            s0 = v_add(s0, e);
            if (out) v_store_part(out + i, e, left);
        }
        total += (double)v_sum(v_add(s0, s1));
    }
    return total;
}
