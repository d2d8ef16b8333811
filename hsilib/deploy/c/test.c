/* It feeds a part of a scene to the network, line by line, and compares the classes. */
#include "$name.h"
#include "${name}_scene.h"
#include <stdio.h>

static uint32_t state[${NAME}_STATE_BYTES(WIDTH) / 4];
static uint8_t classes[WIDTH];
static size_t drawn, wrong;

static void compare(void)
{
    for (size_t j = 0; j < WIDTH; j++)
        wrong += classes[j] != want[drawn * WIDTH + j];
    drawn++;
}

int main(void)
{
    ${name}_reset(state, WIDTH);
    for (size_t i = 0; i < LINES; i++)
        if (${name}_line(state, scene + i * WIDTH * ${NAME}_BANDS, classes, NULL))
            compare();
    while (${name}_flush(state, classes, NULL))
        compare();
    printf("%d of %d pixels differ\n", (int)wrong, LINES * WIDTH);
    return wrong || drawn != LINES || ${name}_refuses(${NAME}_BANDS, $low, $high);
}
