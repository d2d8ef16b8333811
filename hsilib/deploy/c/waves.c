
int ${name}_refuses_waves(int32_t bands, const $number nm[])
{
    static const $number learnt[] = {
$waves};
    if (bands != $bands)
        return 1;
    for (int32_t i = 0; i < bands; i++)
        if (nm[i] < learnt[i] - $apart || nm[i] > learnt[i] + $apart)
            return 3;
    return 0;
}
