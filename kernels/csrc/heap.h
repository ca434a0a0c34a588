/* The k best of many, kept as a heap in the caller's arrays with the worst on top. Of equal scores the lower index is
 * better; no score may be NaN. */
#include <math.h>
#include <stdint.h>

static inline int is_worse(float score, int64_t index, float other, int64_t other_index) {
    return score < other || (score == other && index > other_index);
}

static inline void heap_sift(float *scores, int64_t *indices, int64_t at, int64_t size) {
    float score = scores[at];
    int64_t index = indices[at];
    for (;;) {
        int64_t child = 2 * at + 1;
        if (child >= size) break;
        if (child + 1 < size && is_worse(scores[child + 1], indices[child + 1], scores[child], indices[child])) child++;
        if (!is_worse(scores[child], indices[child], score, index)) break;
        scores[at] = scores[child];
        indices[at] = indices[child];
        at = child;
    }
    scores[at] = score;
    indices[at] = index;
}

/* Take a candidate whose index is above all before it; `held` of k places are taken. Returns how many are then. */
static inline int64_t heap_offer(float *scores, int64_t *indices, int64_t held, int64_t k, float score, int64_t index) {
    if (held < k) {
        scores[held] = score;
        indices[held] = index;
        if (++held == k)
            for (int64_t at = k / 2 - 1; at >= 0; at--) heap_sift(scores, indices, at, k);
    } else if (score > scores[0]) {
        scores[0] = score;
        indices[0] = index;
        heap_sift(scores, indices, 0, k);
    }
    return held;
}

/* From a heap of k to falling order. */
static inline void heap_sort(float *scores, int64_t *indices, int64_t k) {
    for (int64_t size = k - 1; size > 0; size--) {
        float score = scores[size];
        int64_t index = indices[size];
        scores[size] = scores[0];
        indices[size] = indices[0];
        scores[0] = score;
        indices[0] = index;
        heap_sift(scores, indices, 0, size);
    }
}

/* The cosine from its parts; 0 where a vector is zero, and -inf (never among the best) where it is not a number. */
static inline float cosine(float dot, float norm, float inverse) {
    float product = dot * inverse;
    float found = norm > 0 ? product / norm : (norm == 0 ? 0.0f : norm);
    return found == found ? found : -INFINITY;
}
