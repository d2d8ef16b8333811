/* From reset to main on the boards mps2-an386 and mps2-an500 under QEMU; a number printed by the emulator. */
#include <stdint.h>

extern uint32_t stack_top, data_from, data_start, data_end, bss_start, bss_end;
int main(void);
void reset(void);

static int32_t ask(int32_t what, const void *with)
{
    register int32_t r0 __asm__("r0") = what;
    register const void *r1 __asm__("r1") = with;
    __asm__ volatile("bkpt 0xab" : "+r"(r0) : "r"(r1) : "memory");
    return r0;
}

static void say(const char *text)
{
    ask(4, text);
}

void number(const char *name, uint32_t value)
{
    char text[12], *at = text + 11;
    *at = 0;
    do {
        *--at = (char)('0' + value % 10);
    } while (value /= 10);
    say(name);
    say(" ");
    say(at);
    say("\n");
}

static void stop(int status)
{
    const uint32_t words[2] = {0x20026, (uint32_t)status};
    ask(0x20, words);
    for (;;)
        ;
}

static void fault(void)
{
    say("fault\n");
    stop(99);
}

void reset(void)
{
    uint32_t *from = &data_from;
    for (uint32_t *to = &data_start; to < &data_end;)
        *to++ = *from++;
    for (uint32_t *to = &bss_start; to < &bss_end;)
        *to++ = 0;
    stop(main());
}

typedef void (*entry)(void);
__attribute__((section(".vectors"), used)) static const entry vectors[] = {
    (entry)&stack_top, reset, fault, fault, fault, fault, fault};
