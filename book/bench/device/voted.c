/* It votes on lines of made-up classes, compares with counting each square anew, and counts instructions. */
#include "vote.h"

#define TICKS (*(volatile uint32_t *)0xe000e018)
#define LINES 20
#define WIDTH 64
#define CLASSES 16

void number(const char *name, uint32_t value);
static uint8_t scene[LINES][WIDTH], held[VOTE_BYTES(WIDTH)], voted[WIDTH];
static uint32_t wrong;

static void compare(int line)
{
    for (int j = 0; j < WIDTH; j++) {
        int count[CLASSES + 1] = {0}, best = 1;
        for (int y = line - VOTE_SIZE / 2; y <= line + VOTE_SIZE / 2; y++)
            for (int x = j - VOTE_SIZE / 2; x <= j + VOTE_SIZE / 2; x++)
                count[y < 0 || y >= LINES || x < 0 || x >= WIDTH ? 0 : scene[y][x]]++;
        for (int k = 2; k <= CLASSES; k++)
            best = count[k] > count[best] ? k : best;
        wrong += voted[j] != best;
    }
}

int main(void)
{
    uint32_t seed = 1, steady = 0;
    int drawn = 0;
    struct vote vote;
    for (int i = 0; i < LINES * WIDTH; i++) {
        seed = 1664525 * seed + 1013904223;
        scene[i / WIDTH][i % WIDTH] = (uint8_t)(1 + (seed >> 28));
    }
    *(volatile uint32_t *)0xe000e014 = 0xffffff;
    *(volatile uint32_t *)0xe000e010 = 5;
    vote_reset(&vote, held, WIDTH);
    for (int i = 0; i < LINES; i++) {
        const uint32_t begun = TICKS;
        if (vote_line(&vote, scene[i], voted)) {
            steady += (begun - TICKS) & 0xffffff;
            compare(drawn++);
        }
    }
    number("instructions", (uint32_t)((uint64_t)steady * 40 / ((uint32_t)drawn * WIDTH)));
    while (vote_flush(&vote, voted))
        compare(drawn++);
    number("wrong", wrong);
    return wrong || drawn != LINES;
}
