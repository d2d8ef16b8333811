//// rows before
const uint8_t *const row[] = {
    $rows};
//// depth inside
int32_t sums$i[4 * $channels];
for (size_t k = 0; k < 4; k++)
    depth(row, (j + k) * $channels, $weights, sums$i + k * $channels, $size, $apart, $channels);
//// taps inside
int16_t x$i[4 * $count]$zero;
int32_t sums$i[4 * $channels] = {0};
for (size_t k = 0; k < $size; k++) {
    gather(row[k] + j * $taken, x$i, $size, $apart, $taken, $count);
    product(x$i, $weights + k * $channels * $count, sums$i, $count, $channels);
}
//// spectra inside
int16_t x$i[4 * $count]$zero;
for (size_t k = 0; l->spectra && k < 4; k++) {
    const $kind *from = l->spectra + (k < n ? j + k : j) * $taken;
    for (size_t b = 0; b < $taken; b++)
        x$i[k * $count + b] = (int16_t)(from[b] - $middle);
}
int32_t sums$i[4 * $channels] = {0};
if (l->spectra)
    product(x$i, $weights, sums$i, $count, $channels);
//// beside inside
int16_t x$i[4 * $count]$zero;
//// from before
const uint8_t *const from$p = $row;
//// from inside
gather(from$p + j * $stride, $to, 1, 1, $channels, $count);
//// look before
int32_t total[$columns * $channels], most[$columns * $channels];
//// look inside
int32_t mean[4 * $channels], max[4 * $channels];
for (size_t k = j ? $ahead : 0; k < $columns; k++)
    for (int p = 0; p < $pool; p++) {
        int32_t sums$i[$channels];
        depth(row + p, (j + k) * $channels, $weights, sums$i, $size, $apart, $channels);
        collect(sums$i, $bias, total + k * $channels, most + k * $channels, p, 1, $channels);
    }
join(total, most, mean, max, $pooled, $channels, $pool);
//// mix before
int32_t total[8 * $channels], most[8 * $channels];
//// mix inside
int32_t mean[4 * $channels], max[4 * $channels];
int16_t x$i[4 * $count]$zero;
for (size_t k = j ? 4 : 0; k < 8; k += 4)
    for (int p = 0; p < $pool; p++) {
        int32_t sums$i[4 * $channels] = {0};
        gather(row[p] + (j + k) * $taken, x$i, 1, 1, $taken, $count);
        product(x$i, $weights, sums$i, $count, $channels);
        collect(sums$i, $bias, total + k * $channels, most + k * $channels, p, 4, $channels);
    }
join(total, most, mean, max, $pooled, $channels, $pool);
//// product inside
int32_t sums$i[4 * $channels] = {0};
product($x, $weights, sums$i, $count, $channels);
//// choose inside
choose(sums$i, $times, $plus, l->classes + j, l->scores ? l->scores + j * $channels : l->scores, n, $channels);
//// part inside
int16_t y$p[4 * $count]$zero;
//// fit inside
fit($sums, $times, $plus, $to, $shift, $channels, $count);
//// outside inside
if (!l->spectra)
    same($edge, y$p, $channels, $count);
//// keep before
uint8_t *const to$p = $row;
//// keep inside
keep(y$p, to$p + j * $stride, n, $channels, $count, $stride);
//// largest before
uint8_t *const to$p = $row;
uint8_t *const above$p = $above, last$p[$channels];
fill(last$p, $edge, 1, $channels);
//// largest inside
largest(y$p, above$p + j * $channels, last$p, to$p + j * $stride, n, $channels, $count, $stride);
//// largest behind
larger(last$p, $edge, to$p + cells * $stride, $channels);
