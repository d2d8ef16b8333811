static void step_$i(const struct line *l)
{
    struct state *const s = l->state;
    const size_t cells = s->width + $margin;
$before
    for (size_t j = 0; j < cells; j += 4) {
        const size_t n = cells - j < 4 ? cells - j : 4;
$inside    }
$behind}
