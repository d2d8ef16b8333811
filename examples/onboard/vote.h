/* A vote: the class of a pixel becomes the most frequent one in the square around it, line by line.

   Give it the classes of a network as they leave it.  Voted lines come VOTE_SIZE / 2 lines behind them.  Of
   equally frequent classes the one of lowest number wins; 0 is no class, and what lies outside of the scene
   does not count.  It needs VOTE_SIZE lines of classes; no library, no allocation. */
#include <stddef.h>
#include <stdint.h>

#ifndef VOTE_SIZE
#define VOTE_SIZE 9 /* odd, at most 15; with 1 the classes stay as they are */
#endif
#define VOTE_BYTES(width) (VOTE_SIZE * (width)) /* of the lines that it holds */

struct vote {
    size_t width, line, flushed;
    uint8_t *lines;
};

static inline void vote_reset(struct vote *v, uint8_t *lines, size_t width)
{
    v->width = width;
    v->line = v->flushed = 0;
    v->lines = lines;
    for (size_t i = 0; i < VOTE_BYTES(width); i++)
        lines[i] = 0;
}

/* It takes a line of classes from 1, or NULL for one below the scene; it returns whether it wrote a line. */
static inline int vote_line(struct vote *v, const uint8_t *classes, uint8_t *voted)
{
    uint8_t *const row = v->lines + v->line % VOTE_SIZE * v->width, count[256] = {0};
    for (size_t j = 0; j < v->width; j++)
        row[j] = classes ? classes[j] : 0;
    uint8_t highest = 0;
    if (++v->line <= VOTE_SIZE / 2)
        return 0;
    for (size_t j = 0; j < v->width + VOTE_SIZE / 2; j++) { /* a column enters the square, and one leaves it */
        for (const uint8_t *at = v->lines + j; at < v->lines + VOTE_BYTES(v->width) + j; at += v->width) {
            if (j < v->width && ++count[*at] && *at > highest)
                highest = *at;
            if (j >= VOTE_SIZE)
                count[at[-VOTE_SIZE]]--;
        }
        if (j + 1 <= VOTE_SIZE / 2)
            continue;
        uint8_t best = 1;
        for (uint8_t k = 2; k <= highest; k++)
            if (count[k] > count[best])
                best = k;
        voted[j - VOTE_SIZE / 2] = best;
    }
    return 1;
}

/* It writes a line that no classes follow, and returns 0 when all are written. */
static inline int vote_flush(struct vote *v, uint8_t *voted)
{
    while (++v->flushed <= VOTE_SIZE / 2)
        if (vote_line(v, NULL, voted))
            return 1;
    return 0;
}
