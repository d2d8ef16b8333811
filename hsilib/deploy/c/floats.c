/* It classifies a tile of $scene and compares the classes with those of onnxruntime: $model */
#include <math.h>
#include <stdint.h>
#include <stdio.h>

void $name(const float cube[$h][$w][$bands], uint8_t map[$rows][$columns],
            float scores[$classes][$rows][$columns]);
int ${name}_refuses(int bands, double least, double most);
int ${name}_refuses_values(int count, const float values[]);
static const float cube[] = {
$values};
static const uint8_t want[] = {
$labels};
static uint8_t map[$rows][$columns];
static float scores[$classes][$rows][$columns];

int main(void) {
    int i, j, wrong = 0;
    $name((const float (*)[$w][$bands])cube, map, scores);
    for (i = 0; i < $rows; i++)
        for (j = 0; j < $columns; j++)
            wrong += map[i][j] != want[i * $columns + j];
    printf("%d of %d pixels differ\n", wrong, $rows * $columns);
    if (!${name}_refuses($bands, NAN, NAN) || ${name}_refuses_values($bands, cube + ($h / 2 * $w + $w / 2) * $bands))
        return 2;
    if (${name}_refuses($bands, $low, $high) || !${name}_refuses($bands + 1, $low, $high))
        return 2;
    return wrong != 0;
}
