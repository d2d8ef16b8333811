/* What a flipped bit in weights that are held in RAM is found and mended with: CRC-32, and a golden copy. */
#include <stddef.h>
#include <stdint.h>

static const uint32_t table[16] = {
    0x00000000, 0x1db71064, 0x3b6e20c8, 0x26d930ac, 0x76dc4190, 0x6b6b51f4, 0x4db26158, 0x5005713c,
    0xedb88320, 0xf00f9344, 0xd6d6a3e8, 0xcb61b38c, 0x9b64c2b0, 0x86d3d2d4, 0xa00ae278, 0xbdbdf21c};

/* It returns whether the weights were not what their CRC says, and were copied anew. */
int mend(uint8_t *held, const uint8_t *golden, size_t size, uint32_t want)
{
    uint32_t crc = 0xffffffff;
    for (size_t i = 0; i < size; i++) {
        crc ^= held[i];
        crc = crc >> 4 ^ table[crc & 15];
        crc = crc >> 4 ^ table[crc & 15];
    }
    if (~crc == want)
        return 0;
    for (size_t i = 0; i < size; i++)
        held[i] = golden[i];
    return 1;
}
