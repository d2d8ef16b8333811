/* Lens in the int8 kernels of CMSIS-NN, layer by layer and random: instructions a pixel of a line. */
#include <arm_nnfunctions.h>

#define TICKS (*(volatile uint32_t *)0xe000e018)
#define WIDTH 64
#define MARGIN 8 /* columns more at most */
#define COUNT(name, call) \
    do { \
        const uint32_t begun = TICKS; \
        const int failed = call; \
        number(name, failed ? 99999999 : ((begun - TICKS) & 0xffffff) * 40 / WIDTH); \
    } while (0)

void number(const char *name, uint32_t value);
static int8_t in[5 * (WIDTH + MARGIN) * 200], out[WIDTH * 200], weights[200 * 22];
static int32_t bias[256], times[256], shift[256], room[16384];

static const cmsis_nn_context context = {room, sizeof room};
static const cmsis_nn_per_channel_quant_params steps = {times, shift};

static void point(const char *name, int from, int to)
{
    const cmsis_nn_conv_params how = {.input_offset = 128, .output_offset = -128, .stride = {1, 1},
                                      .dilation = {1, 1}, .activation = {-128, 127}};
    const cmsis_nn_dims given = {1, 1, WIDTH, from}, kernel = {to, 1, 1, from}, each = {1, 1, 1, to},
                        made = {1, 1, WIDTH, to};
    COUNT(name, arm_convolve_wrapper_s8(&context, &how, &steps, &given, in, &kernel, weights, &each, bias, &made, out));
}

static void depth(const char *name, int size)
{
    const cmsis_nn_dw_conv_params how = {.input_offset = 128, .output_offset = -128, .ch_mult = 1, .stride = {1, 1},
                                         .dilation = {1, 1}, .activation = {-128, 127}};
    const cmsis_nn_dims given = {1, size, WIDTH + size - 1, 22}, kernel = {1, size, size, 22}, each = {1, 1, 1, 22},
                        made = {1, 1, WIDTH, 22};
    COUNT(name, arm_depthwise_conv_wrapper_s8(&context, &how, &steps, &given, in, &kernel, weights, &each, bias, &made,
                                              out));
}

static void pool(const char *name, int size, int mean)
{
    const cmsis_nn_pool_params how = {.stride = {1, 1}, .activation = {-128, 127}};
    const cmsis_nn_dims given = {1, size, WIDTH + size - 1, 22}, kernel = {1, size, size, 1}, made = {1, 1, WIDTH, 22};
    COUNT(name, mean ? arm_avgpool_s8(&context, &how, &given, in, &kernel, &made, out)
                     : arm_max_pool_s8(&context, &how, &given, in, &kernel, &made, out));
}

int main(void)
{
    *(volatile uint32_t *)0xe000e014 = 0xffffff;
    *(volatile uint32_t *)0xe000e010 = 5;
    for (size_t i = 0; i < sizeof in; i++)
        in[i] = (int8_t)(i * 2654435761u >> 24);
    for (size_t i = 0; i < sizeof weights; i++)
        weights[i] = (int8_t)(i * 2246822519u >> 24);
    for (size_t i = 0; i < 256; i++) {
        times[i] = 0x50000000;
        shift[i] = -7;
    }
    point("project", 200, 22);
    depth("depth", 5);
    point("point", 22, 22);
    pool("pool", 2, 0);
    depth("depth_2", 3); /* not dilated, which is faster */
    point("point_2", 22, 22);
    depth("depth_3", 3);
    pool("mean", 3, 1);
    pool("most", 3, 0);
    point("spot", 22, 22);
    point("head", 66, 16);
    return 0;
}
