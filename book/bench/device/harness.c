/* It feeds a strip of a scene to a network, line by line, compares the classes, and counts instructions.
   QEMU's SysTick at 25 MHz, with one instruction a nanosecond (-icount shift=0), ticks every 40 instructions. */
#include "network.h"
#include "scene.h"

#define TICKS (*(volatile uint32_t *)0xe000e018)
#define PAINT 0x5a5a5a5au
#define DEEP 8192 /* words that are painted below the frame of main */

void number(const char *name, uint32_t value);
static uint32_t state[NETWORK_STATE_BYTES(WIDTH) / 4];
static uint8_t classes[WIDTH];
static uint32_t wrong, drawn;

static void compare(void)
{
    for (uint32_t j = 0; j < WIDTH; j++)
        wrong += classes[j] != want[drawn * WIDTH + j];
    drawn++;
}

int main(void)
{
    uint32_t steady = 0, pixels = 0, *top;
    volatile uint32_t *bottom; /* else a call would paint, and be painted over */
    __asm__ volatile("mov %0, sp" : "=r"(top));
    *(volatile uint32_t *)0xe000e014 = 0xffffff;
    *(volatile uint32_t *)0xe000e010 = 5;
    network_reset(state, WIDTH);
    for (bottom = top; bottom > top - DEEP;)
        *--bottom = PAINT;
    for (uint32_t i = 0; i < LINES; i++) {
        const uint32_t begun = TICKS;
        const int ready = network_line(state, scene + i * WIDTH * NETWORK_BANDS, classes, NULL);
        if (ready) {
            steady += (begun - TICKS) & 0xffffff;
            pixels += WIDTH;
            compare();
        }
    }
    while (*bottom == PAINT)
        bottom++;
    while (network_flush(state, classes, NULL))
        compare();
    number("lines", drawn);
    number("wrong", wrong);
    number("instructions", pixels ? (uint32_t)((uint64_t)steady * 40 / pixels) : 0);
    number("stack", (uint32_t)(4 * (top - bottom)));
    return drawn != LINES || wrong;
}
