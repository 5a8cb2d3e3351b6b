/* SPDX-License-Identifier: MIT */
/* The guest's first process and the script that fetches packages, carried inside the program. */
	.section .rodata
	.balign 16
	.globl vm_init_blob, vm_init_blob_end, vm_fetch_blob, vm_fetch_blob_end
vm_init_blob:
	.incbin "vm/init"
vm_init_blob_end:
vm_fetch_blob:
	.incbin "tools/vm/fetch"
vm_fetch_blob_end:
	.section .note.GNU-stack,"",@progbits
