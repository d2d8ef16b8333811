/* The same of wavelengths: 3 if a band lies over $apart nm from where it was learnt. */
int ${name}_refuses_waves(int32_t bands, const int32_t nm[]);
