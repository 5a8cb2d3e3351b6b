/* SPDX-License-Identifier: MIT */
/*
 * Rules as JSON objects: the same keys as the text. Whole plain numbers may be JSON numbers, enabled a
 * boolean, op, flags and range arrays. A rule as rules.list answers it, with its "text", is one, too.
 */
#ifndef FAULTS_RULE_JSON_H
#define FAULTS_RULE_JSON_H

#include "faults/rule/rule.h"

#include <jansson.h>

/*
 * @value: an object {"name":..., "op":..., ..., "do":...} or {"text":..., ...}, or a string in text
 * form. Counters, "matches" and "hits", are passed over.
 */
int rule_from_json(json_t *value, struct diag *diag, struct rule **ret_rule);
/* New reference, or NULL without memory. rule_from_json() of it gives an equal rule. */
json_t *rule_to_json(const struct rule *rule);
/* Those of a recorded write: a list of words. New reference. */
json_t *value_flags_json(uint32_t flags);

#endif
