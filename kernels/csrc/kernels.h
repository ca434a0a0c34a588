/* What the library offers: one table of functions, filled once for a level, and the plain C names that read it.
 *
 * Buffers belong to the caller, are C-contiguous and need no alignment. Nothing is allocated and no thread started.
 * Where `out` may be the input, the function says so. Sizes are int64_t; the caller has checked that they fit.
 */
#ifndef JARVIS_KERNELS_H
#define JARVIS_KERNELS_H

#include <stddef.h>
#include <stdint.h>

#define JK_OK 0
#define JK_BAD_INDEX 1  /* an id is negative or beyond the table; nothing was written */
#define JK_NOT_FINITE 2 /* a number is NaN or infinite, or no number is finite; what was written means nothing */

#define JK_Q8_0_BYTES 34 /* fp16 scale, 32 int8 */
#define JK_Q4_0_BYTES 18 /* fp16 scale, 32 nibbles: weight i is the low one of byte i, weight 16 + i the high one */
#define JK_BLOCK 32

enum jk_level { JK_SCALAR, JK_AVX2, JK_VNNI, JK_NEON, JK_DOTPROD, JK_I8MM, JK_LEVELS };

/* X(name, parameters, arguments): every function that a level may have. They return JK_OK or what went wrong. */
#define JK_FUNCTIONS(X)                                                                                               \
    X(matmul_f32, (const float *a, const float *b, float *c, int64_t m, int64_t n, int64_t k), (a, b, c, m, n, k))    \
    X(matmul_i8, (const int8_t *a, const int8_t *b, int32_t *c, int64_t m, int64_t n, int64_t k), (a, b, c, m, n, k)) \
    X(rmsnorm, (const float *x, const float *weight, float *residual, float *out, int64_t rows, int64_t d, float eps), \
      (x, weight, residual, out, rows, d, eps))                                                                       \
    X(softmax, (const float *x, float *out, int64_t rows, int64_t n), (x, out, rows, n))                              \
    X(swiglu, (const float *gate, const float *up, float *out, int64_t n), (gate, up, out, n))                        \
    X(gelu, (const float *x, float *out, int64_t n), (x, out, n))                                                     \
    X(rope, (const float *x, const float *cosines, const float *sines, float *out, int64_t positions, int64_t heads,  \
             int64_t d, int32_t interleaved),                                                                         \
      (x, cosines, sines, out, positions, heads, d, interleaved))                                                     \
    X(attention, (const float *q, const float *k, const float *v, float *out, int64_t heads, int64_t kv_heads,        \
                  int64_t n, int64_t m, int64_t d, int32_t causal, float scale),                                      \
      (q, k, v, out, heads, kv_heads, n, m, d, causal, scale))                                                        \
    X(quantize_q8_0, (const float *x, uint8_t *blocks, int64_t count), (x, blocks, count))                            \
    X(quantize_q4_0, (const float *x, uint8_t *blocks, int64_t count), (x, blocks, count))                            \
    X(dequantize_q8_0, (const uint8_t *blocks, float *out, int64_t count), (blocks, out, count))                      \
    X(dequantize_q4_0, (const uint8_t *blocks, float *out, int64_t count), (blocks, out, count))                      \
    X(matvec_q8_0, (const uint8_t *blocks, const uint8_t *x, float *out, int64_t rows, int64_t count),                \
      (blocks, x, out, rows, count))                                                                                  \
    X(matvec_q4_0, (const uint8_t *blocks, const uint8_t *x, float *out, int64_t rows, int64_t count),                \
      (blocks, x, out, rows, count))                                                                                  \
    X(topk_i8, (const int8_t *rows, const int8_t *query, const float *norms, int64_t n, int64_t d, int64_t k,         \
                int64_t *indices, float *scores),                                                                     \
      (rows, query, norms, n, d, k, indices, scores))                                                                 \
    X(topk_f32, (const float *rows, const float *query, const float *norms, int64_t n, int64_t d, int64_t k,          \
                 int64_t *indices, float *scores),                                                                    \
      (rows, query, norms, n, d, k, indices, scores))                                                                 \
    X(gather_i8, (const int8_t *table, const int64_t *ids, int32_t *out, int64_t rows, int64_t width, int64_t count), \
      (table, ids, out, rows, width, count))                                                                          \
    X(gather_i8_i32, (const int8_t *table, const int64_t *ids, const int32_t *weights, int32_t *out, int64_t rows,    \
                      int64_t width, int64_t count),                                                                  \
      (table, ids, weights, out, rows, width, count))                                                                 \
    X(gather_i8_f32, (const int8_t *table, const int64_t *ids, const float *weights, float *out, int64_t rows,        \
                      int64_t width, int64_t count),                                                                  \
      (table, ids, weights, out, rows, width, count))                                                                 \
    X(gather_f32, (const float *table, const int64_t *ids, const float *weights, float *out, int64_t rows,            \
                   int64_t width, int64_t count),                                                                     \
      (table, ids, weights, out, rows, width, count))                                                                 \
    X(token_mask, (const float *logits, const uint32_t *mask, float *out, int64_t n), (logits, mask, out, n))         \
    X(logsumexp_topk, (const float *logits, int64_t n, int64_t k, double *lse, int64_t *indices, float *logprobs),    \
      (logits, n, k, lse, indices, logprobs))                                                                         \
    X(text_features, (uint8_t *state, const uint8_t *text, int64_t n, int32_t last, int64_t buckets, int64_t *ids,    \
                      int64_t *found),                                                                                \
      (state, text, n, last, buckets, ids, found))

typedef struct {
#define JK_MEMBER(name, parameters, arguments) int32_t(*name) parameters;
    JK_FUNCTIONS(JK_MEMBER)
#undef JK_MEMBER
} jk_table;

/* Each level puts what it has into the table, over what lower levels have. */
void jk_install_scalar(jk_table *table);
void jk_install_features(jk_table *table);
void jk_install_avx2(jk_table *table);
void jk_install_vnni(jk_table *table);
void jk_install_neon(jk_table *table);
void jk_install_dotprod(jk_table *table);
void jk_install_i8mm(jk_table *table);

#endif
