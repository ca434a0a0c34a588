/* Text as it arrives, to ids of hashed features: words, pairs of words, and character 3- to 5-grams of words.
 *
 * Whatever way a text is cut into chunks, even inside a character, the ids are the same and in the same order: an
 * unfinished character and an unfinished word wait in the state. kernels/features.py defines all this a second time.
 */
#include "kernels.h"

#include <string.h>

#define LONGEST 64 /* characters of a word; a longer one counts as several */
#define REPLACEMENT 0xfffdu
#define WORD 1u
#define PAIR 2u /* 3, 4 and 5 stand for n-grams of that length */

typedef struct {
    uint32_t word[LONGEST];
    uint32_t length;
    uint32_t previous, has_previous; /* the hash of the word before */
    uint32_t partial, missing, least; /* a character: its bits so far, bytes to come, the least that so many may mean */
} text_state;

typedef struct {
    text_state text;
    uint64_t buckets;
    int64_t *ids, count;
} writer;

static inline uint32_t add_to_hash(uint32_t hash, uint32_t value) { return (hash ^ value) * 16777619u; } /* FNV-1a */
#define EMPTY_HASH 2166136261u

static inline void write_id(writer *to, uint32_t hash, uint32_t kind) {
    hash ^= kind * 0x9e3779b1u;
    hash ^= hash >> 16; /* MurmurHash3's finaliser: all bits count */
    hash *= 0x85ebca6bu;
    hash ^= hash >> 13;
    hash *= 0xc2b2ae35u;
    hash ^= hash >> 16;
    to->ids[to->count++] = (int64_t)(hash * to->buckets >> 32);
}

static inline int within(uint32_t character, uint32_t first, uint32_t last) {
    return character - first <= last - first;
}

static inline int is_separator(uint32_t c) {
    if (c < 0x80) return !(within(c, '0', '9') || within(c | 32u, 'a', 'z') || c == '_');
    if (c < 0xc0) return !(c == 0xaa || c == 0xb5 || c == 0xba);
    return c == 0xd7 || c == 0xf7 || within(c, 0x2000, 0x2bff) || within(c, 0x3000, 0x303f) ||
           within(c, 0xfe10, 0xfe6f) || within(c, 0xff00, 0xff0f) || within(c, 0xff1a, 0xff20) ||
           within(c, 0xff3b, 0xff40) || within(c, 0xff5b, 0xff65) || c == REPLACEMENT || within(c, 0x1f000, 0x1faff);
}

/* Characters of scripts without spaces, each of which is a word: kana and Han. */
static inline int stands_alone(uint32_t c) {
    return within(c, 0x3040, 0x30ff) || within(c, 0x3400, 0x9fff) || within(c, 0xf900, 0xfaff) ||
           within(c, 0x20000, 0x3ffff);
}

/* Lower case, where it is a fixed distance away: ASCII, Latin-1, Latin Extended-A, Greek, Cyrillic. */
static inline uint32_t folded(uint32_t c) {
    if (c < 0x80) return within(c, 'A', 'Z') ? c + 32 : c;
    if (within(c, 0xc0, 0xde) || within(c, 0x391, 0x3a9) || within(c, 0x410, 0x42f)) return c + 32;
    if (within(c, 0x400, 0x40f)) return c + 80;
    if (within(c, 0x100, 0x137) || within(c, 0x14a, 0x177)) return c | 1u;
    if (within(c, 0x139, 0x148) || within(c, 0x179, 0x17e)) return c + (c & 1u);
    return c;
}

/* The n-grams of the word between '<' and '>': all that begin at a place share the beginning of their hash. */
static void write_ngrams(writer *to) {
    uint32_t padded[LONGEST + 2], length = to->text.length + 2;
    padded[0] = '<';
    memcpy(padded + 1, to->text.word, to->text.length * sizeof *padded);
    padded[length - 1] = '>';
    for (uint32_t begin = 0; begin + 3 <= length; begin++) {
        uint32_t hash = add_to_hash(add_to_hash(EMPTY_HASH, padded[begin]), padded[begin + 1]);
        for (uint32_t n = 3; n <= 5 && begin + n <= length; n++) {
            hash = add_to_hash(hash, padded[begin + n - 1]);
            write_id(to, hash, n);
        }
    }
}

static void end_word(writer *to, int with_ngrams) {
    text_state *text = &to->text;
    if (text->length == 0) return;
    uint32_t hash = EMPTY_HASH;
    for (uint32_t i = 0; i < text->length; i++) hash = add_to_hash(hash, text->word[i]);
    write_id(to, hash, WORD);
    if (text->has_previous) write_id(to, add_to_hash(add_to_hash(EMPTY_HASH, text->previous), hash), PAIR);
    if (with_ngrams) write_ngrams(to);
    text->previous = hash;
    text->has_previous = 1;
    text->length = 0;
}

static inline void take(writer *to, uint32_t character) {
    text_state *text = &to->text;
    if (is_separator(character)) {
        end_word(to, 1);
    } else if (stands_alone(character)) {
        end_word(to, 1);
        text->word[text->length++] = character;
        end_word(to, 0);
    } else {
        text->word[text->length++] = folded(character);
        if (text->length == LONGEST) end_word(to, 1);
    }
}

/* The first byte of a character. */
static inline void begin_character(writer *to, uint8_t byte) {
    text_state *text = &to->text;
    if (byte < 0x80) {
        take(to, byte);
    } else if (within(byte, 0xc2, 0xdf)) {
        text->partial = byte & 31u, text->missing = 1, text->least = 0x80;
    } else if (within(byte, 0xe0, 0xef)) {
        text->partial = byte & 15u, text->missing = 2, text->least = 0x800;
    } else if (within(byte, 0xf0, 0xf4)) {
        text->partial = byte & 7u, text->missing = 3, text->least = 0x10000;
    } else {
        take(to, REPLACEMENT);
    }
}

static inline void take_byte(writer *to, uint8_t byte) {
    text_state *text = &to->text;
    if (text->missing == 0) {
        begin_character(to, byte);
    } else if ((byte & 0xc0) != 0x80) { /* cut short */
        text->missing = 0;
        take(to, REPLACEMENT);
        begin_character(to, byte);
    } else {
        text->partial = text->partial << 6 | (byte & 63u);
        if (--text->missing) return;
        uint32_t found = text->partial;
        int valid = found >= text->least && found <= 0x10ffff && !within(found, 0xd800, 0xdfff);
        take(to, valid ? found : REPLACEMENT);
    }
}

/* Up to 3 (n + LONGEST) + 8 ids are written. With `last` the text ends and the state is as new afterwards. */
static int32_t text_features(uint8_t *state, const uint8_t *chunk, int64_t n, int32_t last, int64_t buckets,
                             int64_t *ids, int64_t *found) {
    writer to = {.buckets = (uint64_t)buckets, .ids = ids, .count = 0};
    memcpy(&to.text, state, sizeof to.text);
    for (int64_t i = 0; i < n; i++) take_byte(&to, chunk[i]);
    if (last) {
        if (to.text.missing) take(&to, REPLACEMENT);
        end_word(&to, 1);
        memset(&to.text, 0, sizeof to.text);
    }
    memcpy(state, &to.text, sizeof to.text);
    *found = to.count;
    return JK_OK;
}

void jk_install_features(jk_table *table) { table->text_features = text_features; }
