
int ${name}_refuses_waves(int32_t bands, const int32_t nm[])
{
    static const int32_t learnt[] = {
$waves};
    if (bands != $bands)
        return 1;
    for (int32_t i = 0; i < bands; i++)
        if (nm[i] < learnt[i] - $apart || nm[i] > learnt[i] + $apart)
            return 3;
    return 0;
}
