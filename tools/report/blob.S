/* SPDX-License-Identifier: MIT */
/* The report's page, carried inside the program. */
	.section .rodata
	.globl report_page_blob, report_page_blob_end
report_page_blob:
	.incbin "report/page.html"
report_page_blob_end:
	.byte 0
	.section .note.GNU-stack,"",@progbits
