/* SPDX-License-Identifier: Apache-2.0 */
/* The setup header (Documentation/arch/x86/boot.rst) and the 64-bit entry of a kernel that is none. */
	.section .header, "a"
	.org 0x1f1
	.byte 1                 /* setup_sects */
	.org 0x1fe
	.word 0xaa55
	.org 0x202
	.ascii "HdrS"
	.word 0x020f            /* version */
	.org 0x211
	.byte 1                 /* loadflags: loaded high */
	.org 0x22c
	.long 0x3ffffff         /* initrd_addr_max */
	.org 0x236
	.word 1                 /* xloadflags: 64-bit entry */
	.org 0x258
	.quad 0x1000000         /* pref_address */
	.long 0x200000          /* init_size */

	.section .text.start, "ax"
	.org 0x200, 0xcc
	.globl start
start:
	cld
	lea stack_top(%rip), %rsp
	mov %rsi, %rdi
	call test64
	mov $0x600, %edx
	mov $0x34, %al
	out %al, %dx
1:	hlt
	jmp 1b

	.bss
	.align 16
	.skip 8192
stack_top:
	.section .note.GNU-stack, "", @progbits
