/* Functions over rows of floats: softmax, RMSNorm, SwiGLU, GELU, RoPE. Include vectors.h before. */

static int32_t softmax(const float *x, float *out, int64_t rows, int64_t n) {
    for (int64_t row = 0; row < rows; row++, x += n, out += n) {
        v_float scale = v_set((float)(1.0 / sum_of_exp(x, out, n, highest_f32(x, n))));
        V_MAP(n, out, out, v_mul(x, scale));
    }
    return JK_OK;
}

static int32_t rmsnorm(const float *x, const float *weight, float *residual, float *out, int64_t rows, int64_t d,
                       float eps) {
    for (int64_t row = 0; row < rows; row++, x += d, out += d) {
        const float *in = x;
        if (residual) {
            V_MAP2(d, x, residual, residual, v_add(x, y));
            in = residual;
            residual += d;
        }
        v_float scale = v_set(1.0f / sqrtf(dot_f32(in, in, d) / (float)d + eps));
        if (weight)
            V_MAP2(d, in, weight, out, v_mul(v_mul(x, scale), y));
        else
            V_MAP(d, in, out, v_mul(x, scale));
    }
    return JK_OK;
}

static int32_t swiglu(const float *gate, const float *up, float *out, int64_t n) {
    V_MAP2(n, gate, up, out, v_mul(v_mul(x, v_sigmoid(x)), y));
    return JK_OK;
}

/* 0.5 x (1 + tanh(u)) is x sigmoid(2 u), which cannot overflow; u = sqrt(2 / pi) (x + 0.044715 x^3). */
static int32_t gelu(const float *input, float *out, int64_t n) {
    const v_float linear = v_set(1.59576912f), cubic = v_set(0.0713548163f);
    V_MAP(n, input, out, v_mul(x, v_sigmoid(v_mul(x, v_fma(cubic, v_mul(x, x), linear)))));
    return JK_OK;
}

/* One head whose pairs stand side by side. `out` may be x: a pair is read before it is written. */
static inline void rotate_interleaved(const float *x, const float *cosines, const float *sines, float *out, int64_t d) {
    for (int64_t i = 0; i < d / 2; i++) {
        float even = x[2 * i], odd = x[2 * i + 1];
        out[2 * i] = even * cosines[i] - odd * sines[i];
        out[2 * i + 1] = even * sines[i] + odd * cosines[i];
    }
}

/* One head whose pairs are a half apart. */
static inline void rotate_halves(const float *x, const float *cosines, const float *sines, float *out, int64_t d) {
    int64_t half = d / 2, i = 0;
    for (; i + V_WIDTH <= half; i += V_WIDTH) {
        v_float low = v_load(x + i), high = v_load(x + half + i), c = v_load(cosines + i), s = v_load(sines + i);
        v_store(out + i, v_sub(v_mul(low, c), v_mul(high, s)));
        v_store(out + half + i, v_fma(low, s, v_mul(high, c)));
    }
    for (; i < half; i++) {
        float low = x[i], high = x[half + i];
        out[i] = low * cosines[i] - high * sines[i];
        out[half + i] = low * sines[i] + high * cosines[i];
    }
}

static int32_t rope(const float *x, const float *cosines, const float *sines, float *out, int64_t positions,
                    int64_t heads, int64_t d, int32_t interleaved) {
    for (int64_t position = 0; position < positions; position++, cosines += d / 2, sines += d / 2)
        for (int64_t head = 0; head < heads; head++, x += d, out += d) {
            if (interleaved)
                rotate_interleaved(x, cosines, sines, out, d);
            else
                rotate_halves(x, cosines, sines, out, d);
        }
    return JK_OK;
}
