/* A part of $scene, and the classes that onnxruntime gives it: $model */
#define LINES $lines
#define WIDTH $width
static const $kind scene[] = {
$values};
static const uint8_t want[] = {
$labels};
