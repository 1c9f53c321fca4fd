#include <stdio.h>

int main(void)
{
    volatile long sum = 0;
    for (;;)
        sum += 1;
}
