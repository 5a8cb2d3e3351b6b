// SPDX-License-Identifier: MIT
/* Small factors meet each other before they meet a number of a thousand limbs. */
#include "faults/explore/tally.h"

#include "base/cleanup.h"
#include "base/failpoint.h"

static int apply(struct big *size, uint64_t times, uint64_t over)
{
	int err = times == 1 ? 0 : big_multiply(size, times);

	if (!err && over != 1)
		big_divide(size, over);
	return err;
}

int tally_start(struct tally *tally, const uint32_t *nr, size_t nr_units, size_t stride)
{
	uint64_t times = 1;
	int err = big_set(&tally->total, 1);

	for (size_t i = 0; i < nr_units && !err; i++) {
		uint32_t by = *(const uint32_t *)((const char *)nr + i * stride);

		if (times > UINT64_MAX / by) {
			err = apply(&tally->total, times, 1);
			times = 1;
		}
		times *= by;
	}
	return err ? err : apply(&tally->total, times, 1);
}

void tally_free(struct tally *tally)
{
	for (size_t i = 0; i < tally->nr_shares; i++)
		big_free(&tally->shares[i].states);
	free(tally->shares);
	big_free(&tally->covered);
	big_free(&tally->total);
	*tally = (struct tally){ .shares = NULL };
}

int tally_whole(const struct tally *tally, struct tally_box *box)
{
	*box = (struct tally_box){ .times = 1, .over = 1 };
	return big_copy(&box->size, &tally->total);
}

int tally_cut(struct tally_box *box, uint32_t left, uint32_t nr)
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

void tally_box_free(struct tally_box *box)
{
	big_free(&box->size);
}

static int find_share(struct tally *tally, int verdict, struct big **ret_states)
{
	struct tally_share *shares;

	for (size_t i = 0; i < tally->nr_shares; i++)
		if (tally->shares[i].verdict == verdict) {
			*ret_states = &tally->shares[i].states;
			return 0;
		}
	shares = fail_alloc("faults/explore/tally/shares",
			    reallocarray(tally->shares, tally->nr_shares + 1, sizeof(*shares)));
	if (!shares)
		return -ENOMEM;
	tally->shares = shares;
	shares[tally->nr_shares] = (struct tally_share){ .verdict = verdict };
	*ret_states = &shares[tally->nr_shares++].states;
	return 0;
}

int tally_add(struct tally *tally, struct tally_box *box, int verdict)
{
	struct big *states;
	int err = apply(&box->size, box->times, box->over);

	box->times = box->over = 1;
	if (!err)
		err = find_share(tally, verdict, &states);
	if (!err)
		err = big_add(states, &box->size);
	return err ? err : big_add(&tally->covered, &box->size);
}

bool tally_is_full(const struct tally *tally)
{
	return big_compare(&tally->covered, &tally->total) == 0;
}

double tally_covered(const struct tally *tally)
{
	return big_share(&tally->covered, &tally->total);
}

double tally_share(const struct tally *tally, int verdict)
{
	for (size_t i = 0; i < tally->nr_shares; i++)
		if (tally->shares[i].verdict == verdict)
			return big_share(&tally->shares[i].states, &tally->total);
	return 0;
}
