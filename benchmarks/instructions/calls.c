/* Calls one kernel so many times: calls LEVEL CASE TIMES. Without arguments it lists the cases: name, units, unit.
 *
 * The instructions of one call are those of a run with two calls less those of a run with one. */
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define JK_DECLARE(name, parameters, arguments) int32_t jk_##name parameters;
#include "kernels.h"
JK_FUNCTIONS(JK_DECLARE)
int32_t jk_select(uint32_t level, uint8_t *levels);

static float floats[1 << 18], more[1 << 16], results[1 << 16];
static int8_t bytes[1 << 18];
static uint8_t blocks[1 << 14], vector[1 << 14], state[512], text[4096];
static int64_t ids[1 << 14], found;
static int32_t sums[1 << 14];
static uint32_t mask[1 << 10];
static double lse;

/* X(name, units of one call, unit, call) */
#define CASES(X)                                                                                                      \
    X(similarity_topk_int8_known_norms, 32 * 4096, "element", jk_topk_i8(bytes, bytes, more, 32, 4096, 4, ids, results))          \
    X(similarity_topk_int8, 32 * 4096, "element", jk_topk_i8(bytes, bytes, NULL, 32, 4096, 4, ids, results))    \
    X(similarity_topk_float32, 32 * 4096, "element", jk_topk_f32(floats, floats, more, 32, 4096, 4, ids, results))    \
    X(gather_accumulate_int8, 64 * 384, "element", jk_gather_i8(bytes, ids, sums, 64, 384, 64))                       \
    X(gather_accumulate_int8_narrow, 64 * 16, "element", jk_gather_i8(bytes, ids, sums, 64, 16, 64))                  \
    X(dot_q4_0_q8_0, 4096, "weight", jk_matvec_q4_0(blocks, vector, results, 1, 128))                                 \
    X(dot_q8_0, 4096, "weight", jk_matvec_q8_0(vector, vector, results, 1, 128))                                      \
    X(softmax, 4096, "element", jk_softmax(floats, results, 1, 4096))                                                 \
    X(matmul_tile, 256, "k", jk_matmul_f32(floats, more, results, 8, 8, 256))                                         \
    X(matmul, 64 * 64 * 64, "product", jk_matmul_f32(floats, more, results, 64, 64, 64))                              \
    X(matmul_int8, 64 * 64 * 64, "product", jk_matmul_i8(bytes, bytes, sums, 64, 64, 64))                             \
    X(rmsnorm, 4096, "element", jk_rmsnorm(floats, more, NULL, results, 1, 4096, 1e-6f))                              \
    X(swiglu, 4096, "element", jk_swiglu(floats, more, results, 4096))                                                \
    X(gelu, 4096, "element", jk_gelu(floats, results, 4096))                                                          \
    X(rope_halves, 4096, "element", jk_rope(floats, more, more, results, 1, 32, 128, 0))                              \
    X(rope_interleaved, 4096, "element", jk_rope(floats, more, more, results, 1, 32, 128, 1))                         \
    X(flash_attention, 512 * 64, "element", jk_attention(more, floats, floats, results, 1, 1, 1, 512, 64, 1, 0.125f)) \
    X(quantize_q8_0, 4096, "weight", jk_quantize_q8_0(floats, blocks + 4096, 128))                                    \
    X(quantize_q4_0, 4096, "weight", jk_quantize_q4_0(floats, blocks + 4096, 128))                                    \
    X(dequantize_q8_0, 4096, "weight", jk_dequantize_q8_0(vector, results, 128))                                      \
    X(dequantize_q4_0, 4096, "weight", jk_dequantize_q4_0(blocks, results, 128))                                      \
    X(apply_token_mask, 32768, "logit", jk_token_mask(floats, mask, results, 32768))                                  \
    X(logsumexp_topk, 32768, "logit", jk_logsumexp_topk(floats, 32768, 20, &lse, ids, results))                       \
    X(text_features, 1024, "byte", jk_text_features(state, text, 1024, 0, 1 << 18, ids, &found))

static void fill(void) {
    uint32_t noise = 1;
    for (int i = 0; i < 1 << 18; i++) {
        noise = noise * 1664525u + 1013904223u;
        bytes[i] = (int8_t)(noise >> 24);
        floats[i] = (float)(int8_t)(noise >> 16) / 32.0f;
        if (i < 1 << 16) more[i] = (float)(noise >> 24) / 256.0f + 1.0f;
        if (i < 1 << 10) mask[i] = noise;
        if (i < 1 << 14) ids[i] = i % 64;
        if (i < 4096) text[i] = (uint8_t)(i % 6 == 5 ? ' ' : 'a' + (noise >> 27) % 26);
    }
    jk_quantize_q4_0(floats, blocks, 128);
    jk_quantize_q8_0(floats, vector, 128);
}

int main(int argc, char **argv) {
    uint8_t levels[64];
    if (argc != 4) {
#define LIST(name, units, unit, call) printf("%s %d %s\n", #name, units, unit);
        CASES(LIST)
        return 0;
    }
    if (jk_select((uint32_t)atoi(argv[1]), levels)) return 1;
    fill();
#define CALL(name, units, unit, call)                                                                                 \
    if (strcmp(argv[2], #name) == 0)                                                                                  \
        for (int times = atoi(argv[3]); times > 0; times--) call;
    CASES(CALL)
    return 0;
}
