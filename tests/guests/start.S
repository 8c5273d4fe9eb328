/* SPDX-License-Identifier: Apache-2.0 */
	.section .note.pvh, "a"
	.align 4
	.long 4, 4, 18
	.asciz "Xen"
	.long start

	.section .text.start, "ax"
	.globl start
start:
	cld
	mov $stack_top, %esp
	mov $bss_begin, %edi
	push %ebx
	call test
	call power_off

	.bss
	.align 16
bss_begin:
	.skip 16384
stack_top:
	.section .note.GNU-stack, "", @progbits
