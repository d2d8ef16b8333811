#ifndef ${NAME}_H
#define ${NAME}_H
/* $model
   A line of raw spectra in, pixel by pixel with all bands of each; a line of classes out, $later.

       static uint32_t state[${NAME}_STATE_BYTES(145) / 4];
       ${name}_reset(state, 145);
       while (...)                                          each line of 145 spectra that comes
           if (${name}_line(state, spectra, classes, NULL))  145 classes, from 1, of the line $back
               ...
       while (${name}_flush(state, classes, NULL))           $rest
           ...

   Values: $kind, $low to $high where it learnt; a value of the scene times $gain.
   Pixels without data must be given ${NAME}_MEAN, the mean spectrum where it learnt, or that of your scene, which
   is to it as if the scene ended there; their classes mean nothing.
   Scores: NULL, or room for ${NAME}_CLASSES numbers a pixel: the highest is of the class, and each times
   ${NAME}_SCORE_STEP is what a softmax takes.
   Sizes in bytes: constants $constants, code with constants $flash; state $state145 at 145 pixels a line,
   $state64 at 64; stack $stack ($by). Your line of spectra comes on top. No static memory, no allocation, no
   float; of the C library memcpy and memset, which compilers call by themselves.
   Lines of more than ${NAME}_STRIP pixels can be classified in strips of so many columns: give those from
   ${NAME}_FROM(first) to ${NAME}_TO(first, width), all lines of them, and drop the classes of the halo. One
   strip after the other needs a scene that can be read again; side by side, each keeps a state of its own. */
#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

#define ${NAME}_BANDS $bands
#define ${NAME}_CLASSES $classes
#define ${NAME}_NAMES {$names}
#define ${NAME}_GAIN $gain
#define ${NAME}_MEAN {$mean}
#define ${NAME}_SCORE_STEP $step
#define ${NAME}_RAW $kind
#define ${NAME}_ENVI_TYPE $envi /* what the header of an ENVI file calls that type */
#define ${NAME}_LAG $lag /* lines that classes come behind spectra */
#define ${NAME}_HALO $margin /* a class depends on so many columns on its left and lines before it at most,
    and on $lag to its right and after it */
#define ${NAME}_STATE_BYTES(width) (((size_t)$fixed + (size_t)$each * (width) + 3) / 4 * 4)
#ifndef ${NAME}_STRIP /* nothing else depends on it: define another where there is less memory, or more */
#define ${NAME}_STRIP $strip /* with its halo it takes $ram bytes of state and stack */
#endif
#define ${NAME}_STRIP_BYTES ${NAME}_STATE_BYTES(${NAME}_STRIP + $margin + $lag) /* of its state */
#define ${NAME}_FROM(first) ((first) > $margin ? (first) - $margin : 0)
#define ${NAME}_TO(first, width) \
    ((first) + ${NAME}_STRIP + $lag < (width) ? (first) + ${NAME}_STRIP + $lag : (width))

/* The state has ${NAME}_STATE_BYTES(width) bytes, aligned as uint32_t is; width: pixels of a line. Call it before
   each scene. */
void ${name}_reset(void *state, size_t width);
/* It takes width x bands values, and returns whether it wrote the classes, and the scores, of a line. */
int ${name}_line(void *state, const $kind *spectra, uint8_t *classes, int32_t *scores);
/* It writes the classes of a line that no spectra follow, and returns 0 when all are written. */
int ${name}_flush(void *state, uint8_t *classes, int32_t *scores);
/* 0 if a scene is like the one that it learnt, 1 if its number of bands is not, 2 if its values are not. Call
   it once, with the least and the greatest value of some typical lines, as the sensor gives them, before any
   cast to ${NAME}_RAW. It finds another scale, from about twice as high or 1/$part as wide, and no smaller
   error.$unknown */
int ${name}_refuses(int32_t bands, int32_t least, int32_t most);
$also
#ifdef __cplusplus
}
#endif
#endif
