/* The product of int8 matrices, exact in int32. A level brings I8_GROUP, how many neighbours in k one instruction sums,
 * and `tile_i8`: sums[4][8] += rows[4][count] times panel [count / I8_GROUP][8][I8_GROUP]. Numbers that are copied
 * anyway may be widened on the way: I8_PACKED is their type in rows and panel. */

#ifndef I8_PACKED
#define I8_PACKED int8_t
#endif

#define I8_ROWS 4
#define I8_COLUMNS 8
#define I8_PANEL 512

static inline void tile_i8(const I8_PACKED *rows, const I8_PACKED *panel, int32_t *sums, int64_t count);

/* The panel of columns j.. of b, zeros beyond column n and beyond `count` rows. */
static inline void panel_i8(const int8_t *b, I8_PACKED *panel, int64_t n, int64_t j, int64_t count) {
    int64_t width = n - j < I8_COLUMNS ? n - j : I8_COLUMNS;
    memset(panel, 0, I8_PANEL * I8_COLUMNS * sizeof *panel);
    for (int64_t p = 0; p < count; p++) {
        I8_PACKED *to = panel + p / I8_GROUP * (I8_GROUP * I8_COLUMNS) + p % I8_GROUP;
        for (int64_t s = 0; s < width; s++) to[s * I8_GROUP] = b[p * n + j + s];
    }
}

static int32_t matmul_i8(const int8_t *a, const int8_t *b, int32_t *c, int64_t m, int64_t n, int64_t k) {
    I8_PACKED panel[I8_PANEL * I8_COLUMNS], rows[I8_PANEL * I8_ROWS];
    memset(c, 0, (size_t)(m * n) * sizeof *c);
    for (int64_t p = 0; p < k; p += I8_PANEL) {
        int64_t count = k - p < I8_PANEL ? k - p : I8_PANEL;
        int64_t padded = (count + I8_GROUP - 1) / I8_GROUP * I8_GROUP;
        for (int64_t j = 0; j < n; j += I8_COLUMNS) {
            int64_t width = n - j < I8_COLUMNS ? n - j : I8_COLUMNS;
            panel_i8(b + p * n, panel, n, j, count);
            for (int64_t i = 0; i < m; i += I8_ROWS) {
                int64_t height = m - i < I8_ROWS ? m - i : I8_ROWS;
                int32_t sums[I8_ROWS * I8_COLUMNS] = {0};
                memset(rows, 0, sizeof rows);
                for (int64_t r = 0; r < height; r++) {
                    const int8_t *row = a + (i + r) * k + p;
                    for (int64_t s = 0; s < count; s++) rows[r * padded + s] = row[s];
                }
                tile_i8(rows, panel, sums, padded);
                for (int64_t r = 0; r < height; r++)
                    for (int64_t s = 0; s < width; s++) c[(i + r) * n + j + s] += sums[r * I8_COLUMNS + s];
            }
        }
    }
    return JK_OK;
}
