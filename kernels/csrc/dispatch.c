/* Which levels this processor has, and the one table of functions that everything is called through.
 *
 * Arm: the system's word counts (AT_HWCAP on Linux, sysctl on macOS), because a processor may have what its kernel does
 * not save. x86: cpuid and the state that the system saves (xgetbv).
 */
#include "kernels.h"

#include <string.h>

#if defined(__aarch64__) && defined(__linux__)
#include <sys/auxv.h>
#elif defined(__aarch64__) && defined(__APPLE__)
#include <sys/sysctl.h>
#elif defined(__x86_64__)
#include <cpuid.h>
#endif

#define EXPORT __attribute__((visibility("default")))
#define BIT(level) (1u << (level))

/* Of Linux's asm/hwcap.h, written out so that old headers do not decide what a build can find. */
#define ARM_ASIMD (1ul << 1)
#define ARM_ASIMDDP (1ul << 20)
#define ARM2_I8MM (1ul << 13)

static jk_table chosen;

/* The levels that two words of hardware capabilities stand for, as a bit per level. Each level needs those below it. */
EXPORT uint32_t jk_levels_of_hwcaps(uint64_t hwcap, uint64_t hwcap2) {
    uint32_t levels = BIT(JK_SCALAR);
    if (!(hwcap & ARM_ASIMD)) return levels;
    levels |= BIT(JK_NEON);
    if (!(hwcap & ARM_ASIMDDP)) return levels;
    levels |= BIT(JK_DOTPROD);
    if (hwcap2 & ARM2_I8MM) levels |= BIT(JK_I8MM);
    return levels;
}

/* The levels of an x86 processor: `leaf1` is ecx of cpuid leaf 1, `leaf7` and `more7` are ebx and ecx of leaf 7, `saved`
 * is the word of xgetbv. */
EXPORT uint32_t jk_levels_of_cpuid(uint32_t leaf1, uint32_t leaf7, uint32_t more7, uint64_t saved) {
    const uint32_t needed = 1u << 12 | 1u << 27 | 1u << 28 | 1u << 29; /* FMA, OSXSAVE, AVX, F16C */
    const uint32_t wide = 1u << 16 | 1u << 30 | 1u << 31;              /* AVX-512 F, BW, VL */
    const uint64_t registers = 6, wide_registers = 0xe6;               /* XMM and YMM; with ZMM and masks */
    uint32_t levels = BIT(JK_SCALAR);
    if ((leaf1 & needed) != needed || !(leaf7 & 1u << 5) || (saved & registers) != registers) return levels;
    levels |= BIT(JK_AVX2);
    if ((leaf7 & wide) == wide && (more7 & 1u << 11) && (saved & wide_registers) == wide_registers)
        levels |= BIT(JK_VNNI);
    return levels;
}

#if defined(__aarch64__) && defined(__APPLE__)
static uint64_t has(const char *name) {
    int value = 0;
    size_t size = sizeof value;
    return sysctlbyname(name, &value, &size, NULL, 0) == 0 && value != 0;
}
#endif

/* The levels that this library has and this processor can run, as a bit per level. */
EXPORT uint32_t jk_levels(void) {
#if defined(__aarch64__) && defined(__linux__)
    return jk_levels_of_hwcaps(getauxval(AT_HWCAP), getauxval(AT_HWCAP2));
#elif defined(__aarch64__) && defined(__APPLE__)
    return jk_levels_of_hwcaps(ARM_ASIMD | (has("hw.optional.arm.FEAT_DotProd") ? ARM_ASIMDDP : 0),
                               has("hw.optional.arm.FEAT_I8MM") ? ARM2_I8MM : 0);
#elif defined(__x86_64__)
    uint32_t eax, ebx, leaf1, edx, leaf7 = 0, more7 = 0, saved = 0;
    if (!__get_cpuid(1, &eax, &ebx, &leaf1, &edx)) return BIT(JK_SCALAR);
    if (!__get_cpuid_count(7, 0, &eax, &leaf7, &more7, &edx)) leaf7 = more7 = 0;
    if (leaf1 & 1u << 27) __asm__ volatile("xgetbv" : "=a"(saved), "=d"(edx) : "c"(0));
    return jk_levels_of_cpuid(leaf1, leaf7, more7, saved);
#else
    return BIT(JK_SCALAR);
#endif
}

static void install(uint32_t level) {
#if defined(__x86_64__)
    if (level == JK_AVX2) jk_install_avx2(&chosen);
    if (level == JK_VNNI) jk_install_vnni(&chosen);
#elif defined(__aarch64__)
    if (level == JK_NEON) jk_install_neon(&chosen);
    if (level == JK_DOTPROD) jk_install_dotprod(&chosen);
    if (level == JK_I8MM) jk_install_i8mm(&chosen);
#endif
    if (level == JK_SCALAR) {
        jk_install_scalar(&chosen);
        jk_install_features(&chosen);
    }
}

/* Fill the table up to `highest`. The caller takes care that nothing is called meanwhile.
 *
 * `levels_out` has a byte for every function, in the order of JK_FUNCTIONS: the level that it comes from. */
EXPORT int32_t jk_select(uint32_t highest, uint8_t *levels_out) {
    if (highest >= JK_LEVELS || !(jk_levels() & BIT(highest))) return JK_BAD_INDEX;
    for (uint32_t level = 0; level <= highest; level++) {
        if (!(jk_levels() & BIT(level))) continue;
        jk_table before = chosen;
        install(level);
        size_t at = 0;
#define JK_NOTE(name, parameters, arguments)                                                                          \
    if (level == JK_SCALAR || before.name != chosen.name) levels_out[at] = (uint8_t)level;                             \
    at++;
        JK_FUNCTIONS(JK_NOTE)
#undef JK_NOTE
    }
    return JK_OK;
}

/* The names of all functions, in order, with spaces between them. */
EXPORT const char *jk_functions(void) {
#define JK_NAME(name, parameters, arguments) #name " "
    return JK_FUNCTIONS(JK_NAME);
#undef JK_NAME
}

/* A hash of the sources that the library was compiled from. */
EXPORT const char *jk_sources(void) { return JK_SOURCES; }

#define JK_THUNK(name, parameters, arguments)                                                                         \
    EXPORT int32_t jk_##name parameters { return chosen.name arguments; }
JK_FUNCTIONS(JK_THUNK)
