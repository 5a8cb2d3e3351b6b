/* SPDX-License-Identifier: MIT */
/*
 * A line of requests before so many lanes, each of which serves one request at a time. Who comes
 * first is served first, by the lane that is free first. Only times are kept, no requests: any
 * thread, without locks.
 */
#ifndef FAULTS_RULE_LANES_H
#define FAULTS_RULE_LANES_H

#include <stdbool.h>
#include <stdint.h>

#define LANES_MAX 256u

struct lanes;

/* All are free. NULL without memory. 1 to LANES_MAX (asserted). */
struct lanes *lanes_new(unsigned int nr);
struct lanes *lanes_free(struct lanes *lanes); /* NULL allowed; returns NULL */
/*
 * A request comes at @now_ns and takes a lane for @ns: after how long it is done, its time in line
 * included; at most @limit_ns. @pure: what would be answered, and nothing is taken.
 */
uint64_t lanes_take(struct lanes *lanes, uint64_t now_ns, uint64_t ns, uint64_t limit_ns,
		    bool pure);

#endif
