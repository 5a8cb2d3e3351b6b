/* SPDX-License-Identifier: MIT */
/*
 * Where a request is torn, for the kinds that do so: between two units. Units are aligned to the
 * disk, and nothing to do with its blocks: a disk of smaller sectors, or one that writes several
 * blocks at once, tears there.
 */
#ifndef FAULTS_RULE_TEAR_H
#define FAULTS_RULE_TEAR_H

#include "base/diag.h"
#include "faults/io.h"
#include "faults/rule/rule.h"

/* @unit is whole sectors; it must divide the disk's logical block, or be whole blocks. -EINVAL. */
int tear_check_unit(uint64_t unit, const struct rule_geometry *geometry, struct diag *diag);
/* The size after @param ("keep=") is whole units; @given: unit= says so. -EINVAL. */
int tear_check_size(const char *param, uint64_t size, uint64_t unit, bool given, struct diag *diag);
/* How many bytes of the request come before the last boundary in its first @keep bytes; all, if it
 * has no more. */
uint32_t tear_prefix(const struct io *io, uint64_t keep, uint64_t unit);

#endif
