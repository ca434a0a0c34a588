/* Matrix products in tiles that stay in registers: 8 x 8 floats; 4 x 8 sums of int8 products.
 *
 * A level brings `tile_f32`, and `tile_i8` with I8_GROUP, the length of the stretches of k that its instructions sum.
 * Panels of b are copied to the stack where its rows are not 8 wide, filled with zeros, so no tile has a tail. */

#define TILE 8
#define PANEL 512 /* rows of b in a panel */

/* c[8][8] (rows ldc apart) = or += the product of 8 rows of a and a panel [k][8]. */
static inline void tile_f32(const float *const rows[TILE], const float *panel, float *c, int64_t ldc, int64_t k,
                            int fresh);

/* The panel [count][8] of columns j.. of b, zeros beyond column n. */
static inline const float *panel_f32(const float *b, float *panel, int64_t n, int64_t j, int64_t count) {
    if (n == TILE) return b;
    int64_t width = n - j < TILE ? n - j : TILE;
    for (int64_t p = 0; p < count; p++, b += n) {
        if (width == TILE) {
            memcpy(panel + p * TILE, b + j, TILE * sizeof *b);
        } else {
            for (int64_t i = 0; i < TILE; i++) panel[p * TILE + i] = i < width ? b[j + i] : 0.0f;
        }
    }
    return panel;
}

/* The part of c that a tile at (i, j) covers += or = what the tile computes. */
static inline void one_tile_f32(const float *a, const float *panel, float *c, const int64_t sizes[3], int64_t i,
                                int64_t j, int64_t count, int fresh) {
    int64_t m = sizes[0], n = sizes[1], k = sizes[2];
    const float *rows[TILE];
    /* Beyond the last row the last one is read again, and what comes of it is not kept. */
    for (int64_t r = 0; r < TILE; r++) rows[r] = a + (i + r < m ? i + r : m - 1) * k;
    if (i + TILE <= m && j + TILE <= n) {
        tile_f32(rows, panel, c + i * n + j, n, count, fresh);
        return;
    }
    float tile[TILE * TILE];
    int64_t height = m - i < TILE ? m - i : TILE, width = n - j < TILE ? n - j : TILE;
    tile_f32(rows, panel, tile, TILE, count, 1);
    for (int64_t r = 0; r < height; r++)
        for (int64_t s = 0; s < width; s++) {
            float *to = c + (i + r) * n + j + s;
            *to = (fresh ? 0.0f : *to) + tile[r * TILE + s];
        }
}

static int32_t matmul_f32(const float *a, const float *b, float *c, int64_t m, int64_t n, int64_t k) {
    float buffer[PANEL * TILE];
    const int64_t sizes[3] = {m, n, k};
    for (int64_t p = 0; p < k; p += PANEL) {
        int64_t count = k - p < PANEL ? k - p : PANEL;
        for (int64_t j = 0; j < n; j += TILE) {
            const float *panel = panel_f32(b + p * n, buffer, n, j, count);
            for (int64_t i = 0; i < m; i += TILE) one_tile_f32(a + p, panel, c, sizes, i, j, count, p == 0);
        }
    }
    return JK_OK;
}
