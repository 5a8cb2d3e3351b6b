// SPDX-License-Identifier: MIT
/* A disk in memory, until Enter is pressed: the smallest complete ublk server. */
#include <stdio.h>
#include <stdlib.h>
#include <ublkcore.h>

static int mem_read(void *memory, struct ublk_req *req)
{
	return ublk_req_put(req, 0, (char *)memory + req->sector * 512, req->len_bytes);
}

static int mem_write(void *memory, struct ublk_req *req)
{
	return ublk_req_get(req, 0, (char *)memory + req->sector * 512, req->len_bytes);
}

int main(void)
{
	static const struct ublk_backend mem = { .name = "mem",
						 .read = mem_read,
						 .write = mem_write };
	struct ublk_options options;
	struct ublk_dev *dev;

	ublk_options_init(&options);
	options.size_bytes = 64 << 20;
	options.log = ublk_log_stderr;
	if (ublk_dev_open(&mem, calloc(1, options.size_bytes), &options, &dev))
		return 1;
	printf("%s is there; press Enter to end it\n", ublk_dev_path(dev));
	getchar();
	ublk_dev_free(dev);
}
