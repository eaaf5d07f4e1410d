/* start.S - from GRUB (multiboot 2, 32 bits) to bare_main() in 64 bits: the first GiB mapped to
 * itself, vector registers and tiles enabled, interrupts off.
 * source  Multiboot2 specification 2.0; Intel SDM volume 3, 9.8.5 (IA-32e mode), 13.3 (XCR0) */
    .section .multiboot, "a"
    .align 8
header:
    .long 0xE85250D6, 0, header_end - header, -(0xE85250D6 + header_end - header)
    .short 0, 0
    .long 8
header_end:

    .bss
    .align 4096
level4: .skip 4096
level3: .skip 4096
level2: .skip 4096
    .skip 8 << 20
stack:

    .data
    .align 8
gdt: .quad 0, 0x00AF9A000000FFFF, 0x00CF92000000FFFF
gdt_pointer:
    .short . - gdt - 1
    .long gdt

    .text
    .code32
    .globl _start
_start:
    cli
    movl $level3 + 3, level4
    movl $level2 + 3, level3
    xorl %ecx, %ecx
1:  movl %ecx, %eax
    shll $21, %eax
    orl $0x83, %eax             /* 2 MiB, writable, present */
    movl %eax, level2(, %ecx, 8)
    incl %ecx
    cmpl $512, %ecx
    jne 1b
    movl $level4, %eax
    movl %eax, %cr3
    movl %cr4, %eax
    orl $0x40620, %eax          /* PAE, OSFXSR, OSXMMEXCPT, OSXSAVE */
    movl %eax, %cr4
    movl $0xC0000080, %ecx
    rdmsr
    orl $0x100, %eax            /* EFER.LME */
    wrmsr
    movl %cr0, %eax
    andl $~4, %eax              /* EM */
    orl $0x80000002, %eax       /* PG, MP */
    movl %eax, %cr0
    lgdt gdt_pointer
    ljmp $8, $long_mode

    .code64
long_mode:
    movw $16, %ax
    movw %ax, %ds
    movw %ax, %es
    movw %ax, %ss
    movq $stack, %rsp
    xorl %ecx, %ecx
    xgetbv
    orl $0x600E7, %eax          /* x87, SSE, AVX, AVX-512, tiles */
    xsetbv
    call bare_main
1:  hlt
    jmp 1b

    .section .note.GNU-stack, "", @progbits
