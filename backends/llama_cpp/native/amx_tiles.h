/* Included before every C++ file of llama.cpp; it changes what two of GCC's intrinsics for Intel AMX tell the optimiser.
 *
 * GCC (12, for one) says of `_tile_loadconfig` that it reads 8 bytes, of a configuration that has 64, and of
 * `_tile_loadd` that it reads no memory at all. So the optimiser drops what nobody seems to read, the processor meets a
 * configuration that is not valid, and llama.cpp ends with a general protection fault in its first evaluation.
 */
#if defined(__AMX_TILE__) && defined(__GNUC__) && !defined(__clang__)
#include <immintrin.h>

#undef _tile_loadconfig
#define _tile_loadconfig(config) __asm__ volatile("ldtilecfg %0" : : "m"(*(const char (*)[64])(config)))

#undef _tile_loadd
#define _tile_loadd(tile, base, stride) jarvis_tile_loadd(tile, base, stride)
/* Another one, so that the name of a tile is expanded before # makes a string of it. */
#define jarvis_tile_loadd(tile, base, stride)                     \
    __asm__ volatile("tileloadd (%0,%1,1), %%tmm" #tile           \
                     :                                            \
                     : "r"((const void *)(base)), "r"((long)(stride)) \
                     : "memory")
#endif
