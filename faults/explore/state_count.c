// SPDX-License-Identifier: MIT
/* Small factors meet each other before they meet a number of a thousand limbs. */
#include "faults/explore/state_count.h"

#include "base/array.h"
#include "base/cleanup.h"
#include "base/failpoint.h"

static int apply(struct bignum *size, uint64_t times, uint64_t over)
{
	int err = times == 1 ? 0 : bignum_multiply(size, times);

	if (!err && over != 1)
		bignum_divide(size, over);
	return err;
}

int state_count_start(struct state_count *count, const uint32_t *nr, size_t nr_units, size_t stride)
{
	uint64_t times = 1;
	int err = bignum_set(&count->total, 1);

	for (size_t i = 0; i < nr_units && !err; i++) {
		uint32_t by = *(const uint32_t *)((const char *)nr + i * stride);

		if (times > UINT64_MAX / by) {
			err = apply(&count->total, times, 1);
			times = 1;
		}
		times *= by;
	}
	return err ? err : apply(&count->total, times, 1);
}

void state_count_free(struct state_count *count)
{
	for (size_t i = 0; i < count->nr_shares; i++)
		bignum_free(&count->shares[i].states);
	free(count->shares);
	bignum_free(&count->covered);
	bignum_free(&count->total);
	*count = (struct state_count){ .shares = NULL };
}

int state_count_whole(const struct state_count *count, struct state_box *box)
{
	*box = (struct state_box){ .times = 1, .over = 1 };
	return bignum_copy(&box->size, &count->total);
}

int state_box_constrain(struct state_box *box, uint32_t left, uint32_t nr)
{
	int err = 0;

	/* What is left is never more. */
	if (box->over > UINT64_MAX / nr) {
		err = apply(&box->size, box->times, box->over);
		box->times = box->over = 1;
	}
	box->times *= left;
	box->over *= nr;
	return err;
}

void state_box_free(struct state_box *box)
{
	bignum_free(&box->size);
}

static int find_share(struct state_count *count, int verdict, struct bignum **ret_states)
{
	for (size_t i = 0; i < count->nr_shares; i++)
		if (count->shares[i].verdict == verdict) {
			*ret_states = &count->shares[i].states;
			return 0;
		}
	if (array_fit("faults/explore/state_count/shares", count->shares, count->nr_shares + 1))
		return -ENOMEM;
	count->shares[count->nr_shares] = (struct state_share){ .verdict = verdict };
	*ret_states = &count->shares[count->nr_shares++].states;
	return 0;
}

int state_count_add(struct state_count *count, struct state_box *box, int verdict)
{
	struct bignum *states;
	int err = apply(&box->size, box->times, box->over);

	box->times = box->over = 1;
	if (!err)
		err = find_share(count, verdict, &states);
	if (!err)
		err = bignum_add(states, &box->size);
	return err ? err : bignum_add(&count->covered, &box->size);
}

bool state_count_is_full(const struct state_count *count)
{
	return bignum_compare(&count->covered, &count->total) == 0;
}

double state_count_covered(const struct state_count *count)
{
	return bignum_share(&count->covered, &count->total);
}

double state_count_share(const struct state_count *count, int verdict)
{
	for (size_t i = 0; i < count->nr_shares; i++)
		if (count->shares[i].verdict == verdict)
			return bignum_share(&count->shares[i].states, &count->total);
	return 0;
}
