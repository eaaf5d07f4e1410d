/* tiles_amx.h - the tile registers of Intel's AMX: 8 of 16 lines of 64 bytes. Private to kern/.
 *
 * In assembly, since gcc 12 does not know that tile instructions read and write memory.
 * source  Intel's SDM, volume 2: ldtilecfg, tileloadd, tilestored, tdpbssd */
#ifndef KERN_TILES_AMX_H
#define KERN_TILES_AMX_H

#include <assert.h>
#include <stddef.h>
#include <stdint.h>

enum { TILE_LINES = 16, TILE_LINE = 64, TILE_BYTES = TILE_LINES * TILE_LINE };

#define TILE_ZERO(TILE) __asm__ volatile("tilezero %%tmm" #TILE : : : "memory")
#define TILE_LOAD(TILE, P, STRIDE)                                                                 \
    __asm__ volatile("tileloadd (%0,%1,1), %%tmm" #TILE                                            \
                     :                                                                             \
                     : "r"(P), "r"((size_t)(STRIDE))                                               \
                     : "memory")
#define TILE_STORE(TILE, P)                                                                        \
    __asm__ volatile("tilestored %%tmm" #TILE ", (%0,%1,1)"                                        \
                     :                                                                             \
                     : "r"(P), "r"((size_t)TILE_LINE)                                              \
                     : "memory")
#define TILE_DOT(SUMS, ACT, WEIGHTS)                                                               \
    __asm__ volatile("tdpbssd %%tmm" #WEIGHTS ", %%tmm" #ACT ", %%tmm" #SUMS : : : "memory")

/* A thread's tiles can be used from here .. (palette 1) */
static inline void tiles_begin(void)
{
    static const struct {
        uint8_t palette, start_row, unused[14];
        uint16_t line_bytes[16];
        uint8_t rows[16];
    } config = {.palette = 1,
                .line_bytes = {64, 64, 64, 64, 64, 64, 64, 64},
                .rows = {16, 16, 16, 16, 16, 16, 16, 16}};
    static_assert(sizeof config == 64, "as ldtilecfg reads it");
    __asm__ volatile("ldtilecfg %0" : : "m"(config));
}

/* .. to here; the system then has no tiles to keep for it. */
static inline void tiles_end(void)
{
    __asm__ volatile("tilerelease" : : : "memory");
}

#endif
