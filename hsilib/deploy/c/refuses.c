
/* C99; link it with the library of mathematics, -lm.
   What is asked of a scene: $bands bands of values between $low and $high, give or take as much again.
   It returns 0 if the header of a file promises that, else which of bands (1) and values (2) is wrong. */
int ${name}_refuses(int bands, double least, double most) {
    if (bands != $bands)
        return 1;
    return least >= $below && most <= $above && most - least >= $narrow ? 0 : 2; /* NaN: 2 */
}

/* The same of values themselves, such as those of a pixel: 2 if one is NaN, infinite or far off that scale.
   What is refused is not to be classified: its class would mean nothing. */
int ${name}_refuses_values(int count, const float values[]) {
    int i;
    for (i = 0; i < count; i++)
        if (!(values[i] >= $below && values[i] <= $above))
            return 2;
    return 0;
}
