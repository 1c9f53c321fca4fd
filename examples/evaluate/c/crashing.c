#include <stdio.h>

int main(void)
{
    int *nowhere = NULL;
    printf("%d\n", *(volatile int *)nowhere);
    return 0;
}
