/* The int8 rows that are most like a query. Include heap.h before; a level brings `dot_i8` and `dot_norm_i8`. */

static inline int32_t dot_i8(const int8_t *a, const int8_t *b, int64_t n);
/* a . b, and b . b in *norm */
static inline int32_t dot_norm_i8(const int8_t *a, const int8_t *b, int64_t n, int32_t *norm);

/* k <= n. `norms` are the rows' lengths, or NULL: they are computed on the way. */
static int32_t topk_i8(const int8_t *rows, const int8_t *query, const float *norms, int64_t n, int64_t d, int64_t k,
                       int64_t *indices, float *scores) {
    int32_t own = dot_i8(query, query, d), square;
    float inverse = own > 0 ? (float)(1.0 / sqrt((double)own)) : 0.0f;
    int64_t held = 0;
    for (int64_t row = 0; row < n; row++, rows += d) {
        float score;
        if (norms) {
            score = cosine((float)dot_i8(query, rows, d), norms[row], inverse);
        } else {
            float dot = (float)dot_norm_i8(query, rows, d, &square);
            score = cosine(dot, sqrtf((float)square), inverse);
        }
        held = heap_offer(scores, indices, held, k, score, row);
    }
    heap_sort(scores, indices, k);
    return JK_OK;
}
