/* From camera to class: spectra come line by line on standard input, classes leave as a PGM on standard output.

   onboard scene.hdr < scene.img > map.pgm

   scene.hdr is the header of an ENVI file whose pixels lie by lines (BIP or BIL), in this machine's byte order.
   Compiled with -DVOTE_SIZE=9, each class becomes the most frequent one of the 9 x 9 pixels around it. */
#ifndef VOTE_SIZE
#define VOTE_SIZE 1
#endif
#include "network.h"
#include "vote.h"
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static void stop(const char *says)
{
    fprintf(stderr, "onboard: %s\n", says);
    exit(2);
}

/* What the header says of a name at the beginning of a line, or NULL. */
static const char *said(const char *header, const char *name)
{
    const size_t length = strlen(name);
    for (const char *at = header; at; at = strchr(at, '\n'), at += at != NULL)
        if (!strncmp(at, name, length) && at[length + strspn(at + length, " \t")] == '=')
            return at + length + strspn(at + length, " \t=");
    return NULL;
}

/* A whole number of the header, or what it is where the header is silent. */
static long number(const char *header, const char *name, long silent)
{
    const char *at = said(header, name);
    return at ? strtol(at, NULL, 10) : silent;
}

/* Band by band becomes pixel by pixel. */
static void turn(const NETWORK_RAW *from, NETWORK_RAW *to, size_t width)
{
    for (size_t j = 0; j < width; j++)
        for (size_t b = 0; b < NETWORK_BANDS; b++)
            to[j * NETWORK_BANDS + b] = from[b * width + j];
}

int main(int count, char **words)
{
    static char header[1 << 16];
    FILE *file = count == 2 ? fopen(words[1], "r") : NULL;
    if (!file || !fread(header, 1, sizeof header - 1, file))
        stop("give the header of an ENVI file: onboard scene.hdr < scene.img > map.pgm");
    const long columns = number(header, "samples", 0), lines = number(header, "lines", 0);
    const char *order = said(header, "interleave");
    const int by_band = order && (!strncmp(order, "bil", 3) || !strncmp(order, "BIL", 3));
    if (!by_band && !(order && (!strncmp(order, "bip", 3) || !strncmp(order, "BIP", 3))))
        stop("its interleave must be bip or bil");
    if (columns < 1 || columns > 1 << 20 || lines < 1)
        stop("its samples and lines must be numbers above zero");
    if (number(header, "bands", 0) != NETWORK_BANDS)
        stop("it has other bands than the network takes");
    if (number(header, "data type", 0) != NETWORK_ENVI_TYPE || number(header, "byte order", 0))
        stop("its values are of another type than the network takes");
    for (long skip = number(header, "header offset", 0); skip > 0; skip--)
        getchar();

    const size_t width = (size_t)columns, values = width * NETWORK_BANDS;
    NETWORK_RAW *line = malloc(2 * values * sizeof *line), *turned = line + values;
    uint8_t *classes = malloc(2 * width), *voted = classes + width, *held = malloc(VOTE_BYTES(width));
    struct vote vote;
    void *state = malloc(NETWORK_STATE_BYTES(width));
    if (!line || !classes || !held || !state)
        stop("not enough memory");
    printf("P5\n%ld %ld\n255\n", columns, lines);
    network_reset(state, width);
    vote_reset(&vote, held, width);
    for (long i = 0; i < lines; i++) {
        if (fread(line, sizeof *line, values, stdin) != values)
            stop("the scene ends before its last line");
        if (by_band)
            turn(line, turned, width);
        if (network_line(state, by_band ? turned : line, classes, NULL) &&
            vote_line(&vote, classes, voted))
            fwrite(voted, 1, width, stdout);
    }
    while (network_flush(state, classes, NULL))
        if (vote_line(&vote, classes, voted))
            fwrite(voted, 1, width, stdout);
    while (vote_flush(&vote, voted))
        fwrite(voted, 1, width, stdout);
    return ferror(stdout) || fflush(stdout);
}
