/* SPDX-License-Identifier: MIT */
/*
 * The kernel's ublk ABI: numbers and layouts, under names of our own.
 *
 * Source: <linux/ublk_cmd.h> of Linux 7.3. Debian 12 ships the header of 6.1, which knows neither
 * the ioctl encoding nor most features, so the whole of what is used here is stated; a test
 * compares it with the installed header as far as that goes.
 */
#ifndef LIB_ABI_H
#define LIB_ABI_H

#include <errno.h>
#include <linux/ioctl.h>
#include <stdint.h>

/* Control commands, on /dev/ublk-control. Numbers below 0x13 also exist in the legacy encoding. */
enum abi_ctrl {
	ABI_GET_QUEUE_AFFINITY = 0x01,
	ABI_GET_DEV_INFO = 0x02,
	ABI_ADD_DEV = 0x04,
	ABI_DEL_DEV = 0x05,
	ABI_START_DEV = 0x06,
	ABI_STOP_DEV = 0x07,
	ABI_SET_PARAMS = 0x08,
	ABI_GET_PARAMS = 0x09,
	ABI_GET_DEV_INFO2 = 0x12,
	ABI_GET_FEATURES = 0x13,
	ABI_TRY_STOP_DEV = 0x17,
};

/* Commands of a queue, on /dev/ublkcN. */
enum abi_io_nr {
	ABI_FETCH = 0x20,
	ABI_COMMIT_AND_FETCH = 0x21,
};

struct abi_ctrl_cmd {
	uint32_t dev_id;
	uint16_t queue_id; /* UINT16_MAX where there is none */
	uint16_t len;      /* of the buffer at addr */
	uint64_t addr;
	uint64_t data;
	uint16_t dev_path_len;
	uint16_t pad;
	uint32_t reserved;
};
_Static_assert(sizeof(struct abi_ctrl_cmd) == 32, "ublk ABI");

struct abi_dev_info {
	uint16_t nr_hw_queues;
	uint16_t queue_depth;
	uint16_t state;
	uint16_t io_desc_size;
	uint32_t max_io_buf_bytes;
	uint32_t dev_id; /* UINT32_MAX: any */
	int32_t server_pid;
	uint32_t pad;
	uint64_t flags;
	uint64_t server_flags; /* ours to use: who made the device, see orphan.h */
	uint32_t owner_uid;
	uint32_t owner_gid;
	uint64_t reserved[2];
};
_Static_assert(sizeof(struct abi_dev_info) == 64, "ublk ABI");

struct abi_io_desc {
	uint32_t op_flags; /* op in the low 8 bits, flags above */
	uint32_t nr_sectors;
	uint64_t start_sector;
	uint64_t addr;
};
_Static_assert(sizeof(struct abi_io_desc) == 24, "ublk ABI");

struct abi_io_cmd {
	uint16_t queue_id;
	uint16_t tag;
	int32_t result;
	uint64_t addr;
};
_Static_assert(sizeof(struct abi_io_cmd) == 16, "ublk ABI");

#define ABI_IOCTL_R(nr)  _IOR('u', nr, struct abi_ctrl_cmd)
#define ABI_IOCTL_RW(nr) _IOWR('u', nr, struct abi_ctrl_cmd)
#define ABI_IOCTL_IO(nr) _IOWR('u', nr, struct abi_io_cmd)

enum abi_kernel_op {
	ABI_OP_READ = 0,
	ABI_OP_WRITE = 1,
	ABI_OP_FLUSH = 2,
	ABI_OP_DISCARD = 3,
	ABI_OP_WRITE_ZEROES = 5,
	ABI_NR_OPS,
};
#define ABI_DESC_OP(d)    ((d)->op_flags & 0xff)
#define ABI_DESC_FLAGS(d) ((d)->op_flags >> 8)

#define ABI_RES_OK    0
#define ABI_RES_ABORT (-ENODEV)

#define ABI_F_UNPRIVILEGED_DEV  (1ull << 5)
#define ABI_F_CMD_IOCTL_ENCODE  (1ull << 6)
#define ABI_F_USER_COPY         (1ull << 7)
#define ABI_F_SAFE_STOP_DEV     (1ull << 17)
#define ABI_F_NO_AUTO_PART_SCAN (1ull << 18)

/* mmap and pread/pwrite offsets of /dev/ublkcN. */
#define ABI_DESC_OFFSET     0
#define ABI_DATA_OFFSET     0x80000000ull
#define ABI_DATA_TAG_SHIFT  25
#define ABI_DATA_QID_SHIFT  41
#define ABI_MAX_IO_BYTES    (1u << ABI_DATA_TAG_SHIFT)
#define ABI_MAX_QUEUE_DEPTH 4096u
#define ABI_MAX_QUEUES      4096u

#define ABI_ATTR_READ_ONLY      (1u << 0)
#define ABI_ATTR_ROTATIONAL     (1u << 1)
#define ABI_ATTR_VOLATILE_CACHE (1u << 2)
#define ABI_ATTR_FUA            (1u << 3)

#define ABI_PARAM_BASIC   (1u << 0)
#define ABI_PARAM_DISCARD (1u << 1)

struct abi_param_basic {
	uint32_t attrs;
	uint8_t logical_bs_shift;
	uint8_t physical_bs_shift;
	uint8_t io_opt_shift;
	uint8_t io_min_shift;
	uint32_t max_sectors;
	uint32_t chunk_sectors;
	uint64_t dev_sectors;
	uint64_t virt_boundary_mask;
};
_Static_assert(sizeof(struct abi_param_basic) == 32, "ublk ABI");

struct abi_param_discard {
	uint32_t alignment;
	uint32_t granularity;
	uint32_t max_discard_sectors;
	uint32_t max_write_zeroes_sectors;
	uint16_t max_segments;
	uint16_t reserved;
};
_Static_assert(sizeof(struct abi_param_discard) == 20, "ublk ABI");

/* The kernel takes as much of its own, longer structure as `len` says. */
struct abi_params {
	uint32_t len;
	uint32_t types;
	struct abi_param_basic basic;
	struct abi_param_discard discard;
	uint32_t pad;
};
_Static_assert(sizeof(struct abi_params) == 64, "ublk ABI");

#endif
