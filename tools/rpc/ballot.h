/* SPDX-License-Identifier: MIT */
/*
 * One decision that several processes share: will the disks that stand still be cut, or all go on?
 *
 * A sealed memfd, so that it lives as long as anybody has a part in it, and nobody's end or silence can
 * take it away. It is decided once, by whoever comes first, and never again: who asks for the cut
 * decides for it when all disks stand still; a server that has waited for long enough, or whose asker
 * is gone, decides against it, and obeys what was decided before.
 */
#ifndef TOOLS_RPC_BALLOT_H
#define TOOLS_RPC_BALLOT_H

#include <stdbool.h>

struct ballot;

enum ballot_word { BALLOT_OPEN, BALLOT_CUT, BALLOT_GO_ON };

/* -errno. */
int ballot_create(struct ballot **ret_ballot);
/* That of somebody else; @fd stays the caller's. -EINVAL: it is none. */
int ballot_open(int fd, struct ballot **ret_ballot);
/* NULL allowed; returns NULL. */
struct ballot *ballot_free(struct ballot *ballot);
/* For who is to have a part in it; borrowed. */
int ballot_fd(const struct ballot *ballot);
/* Decide for @word, if nothing is decided yet; what is decided now. */
enum ballot_word ballot_decide(struct ballot *ballot, enum ballot_word word);
enum ballot_word ballot_look(const struct ballot *ballot);
/* Of two that stand in each other's way the older one has precedence; all see the same one so. */
bool ballot_is_older(const struct ballot *a, const struct ballot *b);

#endif
