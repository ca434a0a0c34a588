/* Matrix products in tiles that stay in registers: 8 x 8 floats; 4 x 8 sums of int8 products.
 *
 * A level brings `tile_f32`, and `tile_i8` with I8_GROUP, the length of the stretches of k that its instructions sum.
 * Panels of b are copied to the stack where its rows are not 8 wide, filled with zeros, so no tile has a tail. */

#define TILE 8
#define PANEL 512 /* rows of b in a panel */

/* c[8][8] (rows ldc apart) = or += the product of 8 rows of a and a panel [k][8]. */
static inline void tile_f32(const float *const rows[TILE], const float *panel, float *c, int64_t ldc, int64_t k,
                            int fresh);

#define NOT_INLINED __attribute__((noinline)) /* what is rare, so that its addresses do not burden the usual case */

/* The panel [count][8] of columns j.. of b, zeros beyond column n. */
static NOT_INLINED void copy_panel_f32(const float *b, float *panel, int64_t n, int64_t j, int64_t count) {
    int64_t width = n - j < TILE ? n - j : TILE;
    for (int64_t p = 0; p < count; p++, b += n)
        if (width == TILE)
            memcpy(panel + p * TILE, b + j, TILE * sizeof *b);
        else
            for (int64_t i = 0; i < TILE; i++) panel[p * TILE + i] = i < width ? b[j + i] : 0.0f;
}

/* A tile of which only the first `height` rows and `width` columns are there. Beyond the last row of a that one is read
 * again, and what comes of it is not kept. */
static NOT_INLINED void edge_tile_f32(const float *a, int64_t lda, const float *panel, float *c, const int64_t size[2],
                                      int64_t ldc, int64_t k, int fresh) {
    float tile[TILE * TILE];
    const float *rows[TILE];
    for (int64_t r = 0; r < TILE; r++) rows[r] = a + (r < size[0] ? r : size[0] - 1) * lda;
    tile_f32(rows, panel, tile, TILE, k, 1);
    for (int64_t r = 0; r < size[0] && r < TILE; r++)
        for (int64_t s = 0; s < size[1] && s < TILE; s++)
            c[r * ldc + s] = (fresh ? 0.0f : c[r * ldc + s]) + tile[r * TILE + s];
}

static inline void full_tile_f32(const float *a, int64_t lda, const float *panel, float *c, int64_t ldc, int64_t k,
                                 int fresh) {
    const float *rows[TILE];
    for (int r = 0; r < TILE; r++) rows[r] = a + r * lda;
    tile_f32(rows, panel, c, ldc, k, fresh);
}

static int32_t matmul_f32(const float *a, const float *b, float *c, int64_t m, int64_t n, int64_t k) {
    float buffer[PANEL * TILE];
    for (int64_t p = 0; p < k; p += PANEL) {
        int64_t count = k - p < PANEL ? k - p : PANEL;
        for (int64_t j = 0; j < n; j += TILE) {
            const float *panel = b + p * n;
            if (n != TILE) {
                copy_panel_f32(b + p * n, buffer, n, j, count);
                panel = buffer;
            }
            for (int64_t i = 0; i < m; i += TILE) {
                const int64_t size[2] = {m - i, n - j};
                if (size[0] >= TILE && size[1] >= TILE)
                    full_tile_f32(a + i * k + p, k, panel, c + i * n + j, n, count, p == 0);
                else
                    edge_tile_f32(a + i * k + p, k, panel, c + i * n + j, size, n, count, p == 0);
            }
        }
    }
    return JK_OK;
}
