/* Attention with an online softmax: keys come in stretches, and what earlier ones added is scaled when a higher score
 * appears. No row of scores is ever whole, so any length works without memory of its own. Include vectors.h before. */

#define KEYS 64 /* scores that are held at once */

/* out += sum of weight[j] * v[j], four rows of v in a pass over out. */
static inline void add_weighted(float *out, const float *weights, const float *v, int64_t count, int64_t d) {
    int64_t j = 0;
    for (; j + 4 <= count; j += 4, v += 4 * d) {
        v_float w0 = v_set(weights[j]), w1 = v_set(weights[j + 1]), w2 = v_set(weights[j + 2]),
                w3 = v_set(weights[j + 3]);
        int64_t i = 0;
        for (; i + V_WIDTH <= d; i += V_WIDTH) {
            v_float sum = v_fma(w0, v_load(v + i), v_load(out + i));
            sum = v_fma(w1, v_load(v + d + i), sum);
            sum = v_fma(w2, v_load(v + 2 * d + i), sum);
            v_store(out + i, v_fma(w3, v_load(v + 3 * d + i), sum));
        }
        for (; i < d; i++)
            out[i] += weights[j] * v[i] + weights[j + 1] * v[d + i] + weights[j + 2] * v[2 * d + i] +
                      weights[j + 3] * v[3 * d + i];
    }
    for (; j < count; j++, v += d) {
        v_float w = v_set(weights[j]);
        V_MAP2(d, v, out, out, v_fma(w, x, y));
    }
}

/* One query over the first `seen` > 0 keys. */
static inline void attend(const float *q, const float *k, const float *v, float *out, int64_t seen, int64_t d,
                          float scale) {
    float scores[KEYS], highest = -INFINITY;
    double total = 0;
    memset(out, 0, (size_t)d * sizeof *out);
    for (int64_t begin = 0; begin < seen; begin += KEYS) {
        int64_t count = seen - begin < KEYS ? seen - begin : KEYS;
        for (int64_t j = 0; j < count; j++) scores[j] = scale * dot_f32(q, k + (begin + j) * d, d);
        float most = highest_f32(scores, count);
        if (!(most <= highest)) { /* also where it is NaN, which then reaches the result */
            if (begin > 0) {
                float shrink = expf(highest - most);
                v_float by = v_set(shrink);
                total *= shrink;
                V_MAP(d, out, out, v_mul(x, by));
            }
            highest = most;
        }
        total += sum_of_exp(scores, scores, count, highest);
        add_weighted(out, scores, v + begin * d, count, d);
    }
    v_float by = v_set((float)(1.0 / total));
    V_MAP(d, out, out, v_mul(x, by));
}

static int32_t attention(const float *q, const float *k, const float *v, float *out, int64_t heads, int64_t kv_heads,
                         int64_t n, int64_t m, int64_t d, int32_t causal, float scale) {
    for (int64_t head = 0; head < heads; head++) {
        int64_t shared = head / (heads / kv_heads) * m * d;
        for (int64_t i = 0; i < n; i++, q += d, out += d)
            attend(q, k + shared, v + shared, out, causal ? m - n + i + 1 : m, d, scale);
    }
    return JK_OK;
}
