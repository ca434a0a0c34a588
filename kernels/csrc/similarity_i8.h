/* The int8 rows that are most like a query. Include heap.h before; a level brings `dot_i8` and `dot_norm_i8`, and may
 * have others for queries that it has made ready. */

static inline int32_t dot_i8(const int8_t *a, const int8_t *b, int64_t n);
/* a . b, and b . b in *norm */
static inline int32_t dot_norm_i8(const int8_t *a, const int8_t *b, int64_t n, int32_t *norm);

typedef int32_t (*dot_of)(const void *query, const int8_t *row, int64_t d);
typedef int32_t (*dot_norm_of)(const void *query, const int8_t *row, int64_t d, int32_t *norm);

/* The same of a query as it was given. */
static inline int32_t dot_given(const void *query, const int8_t *row, int64_t d) { return dot_i8(query, row, d); }
static inline int32_t dot_norm_given(const void *query, const int8_t *row, int64_t d, int32_t *norm) {
    return dot_norm_i8(query, row, d, norm);
}

/* Whether product / sqrt(square) is below `bound`, told without the root and the division, which would take as long as
 * all of a row's products. Where rounding could decide, the answer is no. One branch for all of it: the sign of a
 * product is as good as random, and to guess it wrong takes as long, too. */
static inline int is_surely_below(float product, float square, float bound) {
    return (bound > 0) & ((product <= 0) | (product * product < bound * bound * square * 0.99999f));
}

/* k <= n. `norms` are the rows' lengths, or NULL: they are computed on the way. `square` is that of the query's length.
 * Always inlined, so that the functions it is given are not called but inlined, too. */
static inline __attribute__((always_inline)) void best_rows(dot_of dot, dot_norm_of dot_norm, const void *query,
                                                            int32_t square, const int8_t *rows, const float *norms,
                                                            int64_t n, int64_t d, int64_t k, int64_t *indices,
                                                            float *scores) {
    float inverse = square > 0 ? (float)(1.0 / sqrt((double)square)) : 0.0f;
    int64_t held = 0;
    for (int64_t row = 0; row < n; row++, rows += d) {
        int32_t own;
        float product, score;
#ifdef FETCH_AHEAD /* bytes */
        for (int64_t at = 0; at < d; at += 64) __builtin_prefetch(rows + FETCH_AHEAD + at);
#endif
        if (norms) {
            score = cosine((float)dot(query, rows, d), norms[row], inverse);
        } else {
            product = (float)dot_norm(query, rows, d, &own);
            if (held == k && is_surely_below(product * inverse, (float)own, scores[0])) continue;
            score = cosine(product, sqrtf((float)own), inverse);
        }
        held = heap_offer(scores, indices, held, k, score, row);
    }
    heap_sort(scores, indices, k);
}

#ifndef HAS_OWN_TOPK_I8
static int32_t topk_i8(const int8_t *rows, const int8_t *query, const float *norms, int64_t n, int64_t d, int64_t k,
                       int64_t *indices, float *scores) {
    best_rows(dot_given, dot_norm_given, query, dot_i8(query, query, d), rows, norms, n, d, k, indices, scores);
    return JK_OK;
}
#endif
