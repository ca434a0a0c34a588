/* Tables, vectors to be compared, and rows of logits. Include vectors.h and heap.h before. A level that has a gather of
 * its own for int8 defines HAS_OWN_GATHER. */

/* k <= n. `norms` are the rows' lengths, or NULL: they are computed on the way. */
static int32_t topk_f32(const float *rows, const float *query, const float *norms, int64_t n, int64_t d, int64_t k,
                        int64_t *indices, float *scores) {
    float own = sqrtf(dot_f32(query, query, d)), inverse = own > 0 ? 1.0f / own : own;
    int64_t held = 0;
    for (int64_t row = 0; row < n; row++, rows += d) {
        float norm = norms ? norms[row] : sqrtf(dot_f32(rows, rows, d));
        held = heap_offer(scores, indices, held, k, cosine(dot_f32(query, rows, d), norm, inverse), row);
    }
    heap_sort(scores, indices, k);
    return JK_OK;
}

static inline int ids_are_within(const int64_t *ids, int64_t count, int64_t rows) {
    uint64_t highest = 0; /* as unsigned numbers, negative ones are the highest */
    for (int64_t i = 0; i < count; i++) highest = (uint64_t)ids[i] > highest ? (uint64_t)ids[i] : highest;
    return count == 0 || highest < (uint64_t)rows;
}

#ifndef HAS_OWN_GATHER
static int32_t gather_i8(const int8_t *table, const int64_t *ids, int32_t *out, int64_t rows, int64_t width,
                         int64_t count) {
    if (!ids_are_within(ids, count, rows)) return JK_BAD_INDEX;
    memset(out, 0, (size_t)width * sizeof *out);
    for (int64_t i = 0; i < count; i++) {
        const int8_t *row = table + ids[i] * width;
        for (int64_t j = 0; j < width; j++) out[j] += row[j];
    }
    return JK_OK;
}
#endif

static int32_t gather_i8_i32(const int8_t *table, const int64_t *ids, const int32_t *weights, int32_t *out,
                             int64_t rows, int64_t width, int64_t count) {
    if (!ids_are_within(ids, count, rows)) return JK_BAD_INDEX;
    memset(out, 0, (size_t)width * sizeof *out);
    for (int64_t i = 0; i < count; i++) {
        const int8_t *row = table + ids[i] * width;
        for (int64_t j = 0; j < width; j++) out[j] += weights[i] * row[j];
    }
    return JK_OK;
}

static int32_t gather_i8_f32(const int8_t *table, const int64_t *ids, const float *weights, float *out, int64_t rows,
                             int64_t width, int64_t count) {
    if (!ids_are_within(ids, count, rows)) return JK_BAD_INDEX;
    memset(out, 0, (size_t)width * sizeof *out);
    for (int64_t i = 0; i < count; i++) {
        const int8_t *row = table + ids[i] * width;
        for (int64_t j = 0; j < width; j++) out[j] += weights[i] * (float)row[j];
    }
    return JK_OK;
}

static int32_t gather_f32(const float *table, const int64_t *ids, const float *weights, float *out, int64_t rows,
                          int64_t width, int64_t count) {
    if (!ids_are_within(ids, count, rows)) return JK_BAD_INDEX;
    memset(out, 0, (size_t)width * sizeof *out);
    for (int64_t i = 0; i < count; i++) {
        const float *row = table + ids[i] * width;
        v_float weight = v_set(weights ? weights[i] : 1.0f);
        V_MAP2(width, row, out, out, v_fma(weight, x, y));
    }
    return JK_OK;
}

/* `out` may be the logits. */
static int32_t token_mask(const float *logits, const uint32_t *mask, float *out, int64_t n) {
    for (int64_t word = 0; word < n / 32; word++)
        for (int64_t bit = 0; bit < 32; bit++) {
            int64_t i = 32 * word + bit;
            out[i] = mask[word] >> bit & 1u ? logits[i] : -INFINITY;
        }
    for (int64_t i = n / 32 * 32; i < n; i++) out[i] = mask[i / 32] >> i % 32 & 1u ? logits[i] : -INFINITY;
    return JK_OK;
}

#define STRETCH 256 /* logits that are passed over together where none can be among the best */

/* The k <= n highest logits; the log-probabilities stand where the logits were found. One pass over memory looks for
 * them and for the maximum, a second one sums. */
static int32_t logsumexp_topk(const float *logits, int64_t n, int64_t k, double *lse, int64_t *indices,
                              float *logprobs) {
    float highest = -INFINITY;
    int64_t held = 0;
    for (int64_t begin = 0; begin < n; begin += STRETCH) {
        int64_t end = n - begin < STRETCH ? n : begin + STRETCH;
        float most = highest_f32(logits + begin, end - begin);
        highest = most > highest ? most : highest;
        if (held == k && !(most > logprobs[0])) continue;
        for (int64_t i = begin; i < end; i++) held = heap_offer(logprobs, indices, held, k, logits[i], i);
    }
    *lse = (double)highest + log(sum_of_exp(logits, NULL, n, highest));
    if (!isfinite(*lse)) return JK_NOT_FINITE; /* NaN or an infinite highest one: the caller cleans the row */
    heap_sort(logprobs, indices, k);
    for (int64_t i = 0; i < k; i++) logprobs[i] = (float)(logprobs[i] - *lse);
    return JK_OK;
}
