/* $model: a line of raw spectra in, a line of classes out.
   Whole numbers alone, C99, no library. How to call it stands in $name.h. */
#include "$name.h"
#if defined(__ARM_FEATURE_SIMD32) && !defined(__ARM_BIG_ENDIAN)
#define PAIRS /* of products in one instruction */
#include <arm_acle.h>
#include <string.h>

static inline uint32_t word(const void *from)
{
    uint32_t held;
    memcpy(&held, from, sizeof held);
    return held;
}

/* The first and the third byte as numbers of 16 bits. */
static inline uint32_t extend(uint32_t bytes)
{
    return (uint32_t)__sxtb16((int8x4_t)bytes);
}

/* Two pairs of products. */
static inline int32_t twice(const int16_t *x, int16x2_t left, int16x2_t right, int32_t sum)
{
    return __smlad((int16x2_t)word(x + 2), right, __smlad((int16x2_t)word(x), left, sum));
}
#endif

$tables

struct state {
    uint32_t width, row, seen, flushed;
    uint8_t rows[];
};

/* The row of a ring from so many lines ago. */
static inline uint8_t *ring(struct state *s, size_t fixed, size_t each, uint32_t rows, size_t margin,
                            size_t channels, int32_t age)
{
    const uint32_t slot = (s->row + 2 * rows - (uint32_t)age) % rows;
    return s->rows + fixed + each * s->width + slot * (s->width + margin) * channels;
}

/* What a step is given: the spectra of a line, or none of one outside of the scene; where its answer goes. */
struct line {
    struct state *state;
    const $kind *spectra;
    uint8_t *classes;
    int32_t *scores;
};

$kernels

$steps
static int step(struct state *s, const $kind *spectra, uint8_t *classes, int32_t *scores)
{
    const struct line l = {s, spectra, classes, scores};
    const int ready = s->seen == $lag;
$calls    s->row = (s->row + 1) % $period;
    s->seen += !ready;
    return ready;
}

void ${name}_reset(void *state, size_t width)
{
    struct state *s = state;
    s->width = (uint32_t)width;
    s->row = s->seen = s->flushed = 0;
    for (size_t i = 0; i < $rows + $each * width; i++)
        s->rows[i] = 0;
$fills}

int ${name}_line(void *state, const $kind *spectra, uint8_t *classes, int32_t *scores)
{
    return step(state, spectra, classes, scores);
}

int ${name}_flush(void *state, uint8_t *classes, int32_t *scores)
{
    struct state *s = state;
    while (s->flushed != $lag) {
        s->flushed++;
        if (step(s, NULL, classes, scores))
            return 1;
    }
    return 0;
}

int ${name}_refuses(int32_t bands, int32_t least, int32_t most)
{
    if (bands != $bands)
        return 1;
    return least < $below || most > $above || most - least < $narrow ? 2 : 0;
}
