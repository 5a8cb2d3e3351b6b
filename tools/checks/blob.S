/* SPDX-License-Identifier: MIT */
/* The ready-made checks, carried inside the program: each a string, ended by a zero. */
	.section .rodata
	.globl checks_common, checks_fsck, checks_mount, checks_tree, checks_sqlite
checks_common:
	.incbin "tools/checks/common"
	.byte 0
checks_fsck:
	.incbin "tools/checks/fsck"
	.byte 0
checks_mount:
	.incbin "tools/checks/mount"
	.byte 0
checks_tree:
	.incbin "tools/checks/tree"
	.byte 0
checks_sqlite:
	.incbin "tools/checks/sqlite"
	.byte 0
	.section .note.GNU-stack,"",@progbits
