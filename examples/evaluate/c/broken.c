#include <stdio.h>

int main(void)
{
    long sum = nothing;
    printf("%ld\n", sum)
}
