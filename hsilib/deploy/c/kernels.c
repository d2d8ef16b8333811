/* Four cells of a row with their taps, as products take them. */
static inline void gather(const uint8_t *from, int16_t *to, int taps, int apart, int channels, int stride)
{
    for (int cell = 0; cell < 4; cell++, from += channels, to += stride)
        for (int tap = 0; tap < taps; tap++)
            for (int c = 0; c < channels; c++)
                to[tap * channels + c] = from[tap * apart * channels + c];
}

/* sums[cell][output] += the product of a cell and the weights of an output; a weight is read once for four.
   Some processors have an instruction for two products. */
static inline void product(const int16_t *x, const int8_t *weight, int32_t *sums, int count, int outputs)
{
    for (int o = 0; o < outputs; o++, weight += count) {
        int32_t a = 0, b = 0, c = 0, d = 0;
#ifdef PAIRS
        for (int i = 0; i < count; i += 4) {
            const uint32_t w = word(weight + i), even = extend(w), odd = extend(w >> 8 | w << 24);
            const int16x2_t left = (int16x2_t)((even & 0xffff) | odd << 16);
            const int16x2_t right = (int16x2_t)((odd & 0xffff0000) | even >> 16);
            a = twice(x + i, left, right, a);
            b = twice(x + count + i, left, right, b);
            c = twice(x + 2 * count + i, left, right, c);
            d = twice(x + 3 * count + i, left, right, d);
        }
#else
        for (int i = 0; i < count; i++) {
            const int16_t w = weight[i];
            a += x[i] * w;
            b += x[count + i] * w;
            c += x[2 * count + i] * w;
            d += x[3 * count + i] * w;
        }
#endif
        sums[o] += a;
        sums[outputs + o] += b;
        sums[2 * outputs + o] += c;
        sums[3 * outputs + o] += d;
    }
}

/* A kernel of its own for every channel: size x size taps that lie apart, from the rows of a ring.  Of the
   last four cells of a line some may lie behind it: what is read there, within the state, is not used. */
static inline void depth(const uint8_t *const row[], size_t at, const int8_t *weight, int32_t *sums, int size,
                         int apart, int channels)
{
    for (int c = 0; c < channels; c++) {
        int32_t sum = 0;
        for (int i = 0; i < size; i++)
            for (int j = 0; j < size; j++)
                sum += row[i][at + (size_t)(j * apart * channels + c)] * weight[(i * size + j) * channels + c];
        sums[c] = sum;
    }
}

/* A row of a pool's sums: to the sum of their positive values, and the largest; the first begins anew. */
static inline void collect(const int32_t *sums, const int32_t *bias, int32_t *total, int32_t *most, int row,
                           int cells, int channels)
{
    for (int cell = 0; cell < cells; cell++)
        for (int c = 0; c < channels; c++, total++, most++) {
            const int32_t with = *sums++ + bias[c], sum = with < 0 ? 0 : with;
            *total = row ? *total + sum : sum;
            *most = row && *most > sum ? *most : sum;
        }
}

/* The pool's columns of four cells are joined; the last columns are the next cells' first. */
static inline void join(int32_t *total, int32_t *most, int32_t *mean, int32_t *top, int apart, int channels, int pool)
{
    const int span = (pool - 1) * apart * channels;
    for (int i = 0; i < 4 * channels; i++) {
        mean[i] = total[i];
        top[i] = most[i];
        for (int p = 1; p < pool; p++) {
            const int at = i + p * apart * channels;
            mean[i] += total[at];
            top[i] = most[at] > top[i] ? most[at] : top[i];
        }
    }
    for (int i = 0; i < span; i++) {
        total[i] = total[4 * channels + i];
        most[i] = most[4 * channels + i];
    }
}

/* Sums become 0 to 255: times a multiplier of 31 bits in 64, plus bias and half, shifted. */
static inline void fit(const int32_t *sums, const int32_t *times, const int64_t *plus, int16_t *to, int shift,
                       int channels, int stride)
{
    for (int cell = 0; cell < 4; cell++, to += stride)
        for (int c = 0; c < channels; c++) {
            const int64_t wide = (int64_t)sums[cell * channels + c] * times[c] + plus[c];
            const int32_t value = (int32_t)((uint64_t)(wide < 0 ? 0 : wide) >> shift);
            to[c] = (int16_t)(value > 255 ? 255 : value);
        }
}

/* The first cells of four go into a row. */
static inline void keep(const int16_t *from, uint8_t *row, size_t cells, int channels, int step, int stride)
{
    for (size_t cell = 0; cell < cells; cell++, from += step, row += stride)
        for (int c = 0; c < channels; c++)
            row[c] = (uint8_t)from[c];
}

/* The largest of 2 x 2 go into a row, each a column to the right of the last pixel that it covers. */
static inline void largest(const int16_t *from, uint8_t *above, uint8_t *before, uint8_t *row, size_t cells,
                           int channels, int step, int stride)
{
    for (size_t cell = 0; cell < cells; cell++, from += step, row += stride)
        for (int c = 0; c < channels; c++) {
            const uint8_t new = (uint8_t)from[c], old = *above, most = new > old ? new : old;
            *above++ = new;
            row[c] = most > before[c] ? most : before[c];
            before[c] = most;
        }
}

/* The class of the highest score, from 1; and the scores where they are asked for. */
static inline void choose(const int32_t *sums, const int32_t *times, const int64_t *plus, uint8_t *classes,
                          int32_t *scores, size_t cells, int channels)
{
    for (size_t cell = 0; cell < cells; cell++) {
        int64_t best = 0;
        for (int c = 0; c < channels; c++) {
            const int64_t score = (int64_t)*sums++ * times[c] + plus[c];
            if (scores)
                *scores++ = (int32_t)(score < 0 ? ~(~score >> 31) : score >> 31);
            if (c == 0 || score > best) {
                best = score;
                classes[cell] = (uint8_t)(c + 1);
            }
        }
    }
}

/* The same cell all along a row: what lies outside of the scene. */
static inline void fill(uint8_t *row, const uint8_t *edge, size_t cells, int channels)
{
    for (size_t cell = 0; cell < cells; cell++)
        for (int c = 0; c < channels; c++)
            *row++ = edge[c];
}

/* Four times the same cell. */
static inline void same(const uint8_t *edge, int16_t *to, int channels, int stride)
{
    for (int cell = 0; cell < 4; cell++, to += stride)
        for (int c = 0; c < channels; c++)
            to[c] = edge[c];
}

/* The larger of two cells: the last pool of a row ends outside of the scene. */
static inline void larger(const uint8_t *before, const uint8_t *edge, uint8_t *row, int channels)
{
    for (int c = 0; c < channels; c++)
        row[c] = before[c] > edge[c] ? before[c] : edge[c];
}
