// SPDX-License-Identifier: MIT
/* Our statement of the ublk ABI against the installed <linux/ublk_cmd.h>, as far as that goes. */
#include "abi.h"
#include "ublkcore.h"

#include <linux/ublk_cmd.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>
#include <stdint.h>

#define SAME_FIELD(ours, theirs, a, b)                                                             \
	do {                                                                                       \
		assert_int_equal(offsetof(struct ours, a), offsetof(struct theirs, b));            \
		assert_int_equal(sizeof(((struct ours *)0)->a), sizeof(((struct theirs *)0)->b));  \
	} while (0)

static void structures_have_the_layout_of_the_installed_header(void **state)
{
	(void)state;
	SAME_FIELD(abi_ctrl_cmd, ublksrv_ctrl_cmd, dev_id, dev_id);
	SAME_FIELD(abi_ctrl_cmd, ublksrv_ctrl_cmd, queue_id, queue_id);
	SAME_FIELD(abi_ctrl_cmd, ublksrv_ctrl_cmd, len, len);
	SAME_FIELD(abi_ctrl_cmd, ublksrv_ctrl_cmd, addr, addr);
	/* 6.1 has two words there and uses the first; later headers name the second otherwise. */
	assert_int_equal(offsetof(struct abi_ctrl_cmd, data),
			 offsetof(struct ublksrv_ctrl_cmd, data));
	assert_int_equal(sizeof(struct abi_dev_info), sizeof(struct ublksrv_ctrl_dev_info));
	SAME_FIELD(abi_dev_info, ublksrv_ctrl_dev_info, state, state);
	SAME_FIELD(abi_dev_info, ublksrv_ctrl_dev_info, max_io_buf_bytes, max_io_buf_bytes);
	SAME_FIELD(abi_dev_info, ublksrv_ctrl_dev_info, dev_id, dev_id);
	SAME_FIELD(abi_dev_info, ublksrv_ctrl_dev_info, server_pid, ublksrv_pid);
	SAME_FIELD(abi_dev_info, ublksrv_ctrl_dev_info, flags, flags);
	SAME_FIELD(abi_dev_info, ublksrv_ctrl_dev_info, server_flags, ublksrv_flags);
	assert_int_equal(sizeof(struct abi_io_desc), sizeof(struct ublksrv_io_desc));
	SAME_FIELD(abi_io_desc, ublksrv_io_desc, op_flags, op_flags);
	SAME_FIELD(abi_io_desc, ublksrv_io_desc, nr_sectors, nr_sectors);
	SAME_FIELD(abi_io_desc, ublksrv_io_desc, start_sector, start_sector);
	SAME_FIELD(abi_io_cmd, ublksrv_io_cmd, queue_id, q_id);
	SAME_FIELD(abi_io_cmd, ublksrv_io_cmd, tag, tag);
	SAME_FIELD(abi_io_cmd, ublksrv_io_cmd, result, result);
	SAME_FIELD(abi_io_cmd, ublksrv_io_cmd, addr, addr);
	assert_int_equal(sizeof(struct abi_param_basic), sizeof(struct ublk_param_basic));
	SAME_FIELD(abi_param_basic, ublk_param_basic, max_sectors, max_sectors);
	SAME_FIELD(abi_param_basic, ublk_param_basic, dev_sectors, dev_sectors);
	assert_int_equal(sizeof(struct abi_param_discard), sizeof(struct ublk_param_discard));
	SAME_FIELD(abi_params, ublk_params, basic, basic);
	SAME_FIELD(abi_params, ublk_params, discard, discard);
}

static void numbers_are_those_of_the_installed_header(void **state)
{
	(void)state;
	assert_int_equal(ABI_GET_QUEUE_AFFINITY, UBLK_CMD_GET_QUEUE_AFFINITY);
	assert_int_equal(ABI_GET_DEV_INFO, UBLK_CMD_GET_DEV_INFO);
	assert_int_equal(ABI_ADD_DEV, UBLK_CMD_ADD_DEV);
	assert_int_equal(ABI_DEL_DEV, UBLK_CMD_DEL_DEV);
	assert_int_equal(ABI_START_DEV, UBLK_CMD_START_DEV);
	assert_int_equal(ABI_STOP_DEV, UBLK_CMD_STOP_DEV);
	assert_int_equal(ABI_SET_PARAMS, UBLK_CMD_SET_PARAMS);
	assert_int_equal(ABI_GET_PARAMS, UBLK_CMD_GET_PARAMS);
	assert_int_equal(ABI_FETCH, UBLK_IO_FETCH_REQ);
	assert_int_equal(ABI_COMMIT_AND_FETCH, UBLK_IO_COMMIT_AND_FETCH_REQ);
	assert_int_equal(ABI_OP_WRITE_ZEROES, UBLK_IO_OP_WRITE_ZEROES);
	assert_int_equal(ABI_DATA_OFFSET, UBLKSRV_IO_BUF_OFFSET);
	assert_int_equal(ABI_MAX_QUEUE_DEPTH, UBLK_MAX_QUEUE_DEPTH);
	assert_int_equal(UBLK_REQ_FAILFAST_DEV, UBLK_IO_F_FAILFAST_DEV >> 8);
	assert_int_equal(UBLK_REQ_META, UBLK_IO_F_META >> 8);
	assert_int_equal(UBLK_REQ_FUA, UBLK_IO_F_FUA >> 8);
	assert_int_equal(UBLK_REQ_NOUNMAP, UBLK_IO_F_NOUNMAP >> 8);
	assert_int_equal(UBLK_REQ_SWAP, UBLK_IO_F_SWAP >> 8);
	assert_int_equal(ABI_ATTR_READ_ONLY, UBLK_ATTR_READ_ONLY);
	assert_int_equal(ABI_ATTR_ROTATIONAL, UBLK_ATTR_ROTATIONAL);
	assert_int_equal(ABI_ATTR_VOLATILE_CACHE, UBLK_ATTR_VOLATILE_CACHE);
	assert_int_equal(ABI_ATTR_FUA, UBLK_ATTR_FUA);
#ifdef UBLK_U_CMD_GET_FEATURES /* since 6.5 */
	assert_int_equal(sizeof(struct abi_ctrl_cmd), sizeof(struct ublksrv_ctrl_cmd));
	assert_int_equal(ABI_IOCTL_R(ABI_GET_FEATURES), UBLK_U_CMD_GET_FEATURES);
	assert_int_equal(ABI_IOCTL_RW(ABI_ADD_DEV), UBLK_U_CMD_ADD_DEV);
	assert_int_equal(ABI_IOCTL_IO(ABI_FETCH), UBLK_U_IO_FETCH_REQ);
	assert_int_equal(ABI_F_USER_COPY, UBLK_F_USER_COPY);
	assert_int_equal(ABI_DATA_TAG_SHIFT, UBLK_TAG_OFF);
	assert_int_equal(ABI_DATA_QID_SHIFT, UBLK_QID_OFF);
#endif
#ifdef UBLK_U_CMD_TRY_STOP_DEV /* since 7.0 */
	assert_int_equal(ABI_IOCTL_RW(ABI_TRY_STOP_DEV), UBLK_U_CMD_TRY_STOP_DEV);
	assert_int_equal(ABI_F_SAFE_STOP_DEV, UBLK_F_SAFE_STOP_DEV);
#endif
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(structures_have_the_layout_of_the_installed_header),
		cmocka_unit_test(numbers_are_those_of_the_installed_header),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
