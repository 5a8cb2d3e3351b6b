// SPDX-License-Identifier: MIT
/* The table of kinds, and the parser and printer that it drives. */
#include "faults/rule/kind.h"

#include "base/cleanup.h"
#include "base/near.h"
#include "faults/rule/lanes.h"

#include <errno.h>
#include <string.h>

#define KIND(kind, text, ops, role, doc, example) extern const struct kind_ops kind_##kind##_ops;
#define PARAM(...)
#define KIND_END(kind) _Static_assert(kind##_NR_PARAMS <= KIND_PARAMS_MAX, "room in kind_args");
#include "faults/kinds/kinds.def"
#undef KIND
#undef PARAM
#undef KIND_END

static const struct kind kinds[] = {
/* clang-format off */
#define KIND(k_, name_, ops_, role_, doc_, example_)                                               \
	{ .name = (name_), .op_bits = (ops_), .role = (role_), .doc = (doc_),                          \
	  .example = (example_), .ops = &kind_##k_##_ops, .nr_params = k_##_NR_PARAMS,             \
	  .params = {
#define PARAM(k_, id_, text_, type_, form_, bare_, min_, max_, doc_)                               \
	[k_##_##id_] = { .name = (text_), .type = (type_), .form = (form_), .bare = (bare_),       \
			 .min = (min_), .max = (max_), .doc = (doc_) },
#define KIND_END(k_) } },
#include "faults/kinds/kinds.def"
#undef KIND
#undef PARAM
#undef KIND_END
	/* clang-format on */
};

static const char *const names[] = {
#define KIND(kind, text, ops, role, doc, example) text,
#define PARAM(...)
#define KIND_END(kind)
#include "faults/kinds/kinds.def"
#undef KIND
#undef PARAM
#undef KIND_END
	NULL,
};

const struct kind *kind_at(size_t index)
{
	return index < array_size(kinds) ? &kinds[index] : NULL;
}

size_t kind_index(const struct kind *kind)
{
	return (size_t)(kind - kinds);
}

const struct kind *kind_find(struct text name)
{
	for (size_t i = 0; i < array_size(kinds); i++)
		if (text_is(name, kinds[i].name))
			return &kinds[i];
	return NULL;
}

const char *const *kind_names(void)
{
	return names;
}

/* A parameter without a name? */
static bool is_first(const struct param *param)
{
	return param->form == PARAM_FIRST || param->form == PARAM_LEAD;
}

/* As one would type them: "keep=SIZE, random, fail=ERRNO". */
static const char *list_params(const struct kind *kind, char *buf, size_t size)
{
	size_t at = 0;

	buf[0] = '\0';
	for (unsigned int i = 0; i < kind->nr_params && at < size; i++) {
		const struct param *param = &kind->params[i];
		bool plain = is_first(param) || param->type == VALUE_MARK;

		at += (size_t)snprintf(buf + at, size - at, "%s%s%s%s", i ? ", " : "", param->name,
				       plain ? "" : "=", plain ? "" : param_placeholder(param));
	}
	return buf;
}

static bool has_names(const struct kind *kind, const struct kind_args *args)
{
	for (unsigned int i = 0; i < kind->nr_params; i++)
		if (kind->params[i].type == VALUE_NAMES && kind_has(args, i))
			return true;
	return false;
}

static int unknown_param(const struct place *place, const struct kind *kind, struct text got,
			 const struct kind_args *args)
{
	const char *words[KIND_PARAMS_MAX + 1] = { NULL };
	unsigned int nr = 0;
	char list[400];

	if (!kind->nr_params)
		return place_fail(place, got.at, "rule.unknown-parameter",
				  "%s takes no parameters, got '%s'", kind->name, QUOTE(got));
	place_fail(place, got.at, "rule.unknown-parameter", "%s has no parameter '%s', wanted %s",
		   kind->name, QUOTE(got), list_params(kind, list, sizeof(list)));
	for (unsigned int i = 0; i < kind->nr_params; i++)
		if (!is_first(&kind->params[i]))
			words[nr++] = kind->params[i].name;
	place_suggest(place, got, words);
	if (place->diag && !place->diag->hint[0] && has_names(kind, args))
		diag_hint(place->diag, "names of disks have a + between two: b+c");
	return -EINVAL;
}

/* One parameter other than the first: name, or name=VALUE. */
static int parse_named(const struct place *place, const struct kind *kind, struct text arg,
		       struct kind_args *args)
{
	bool has_value = arg.len && memchr(arg.at, '=', arg.len);
	struct text name = text_cut(&arg, '=');
	const struct param *param;
	unsigned int i = 0;

	while (i < kind->nr_params &&
	       (is_first(&kind->params[i]) || !text_is(name, kind->params[i].name)))
		i++;
	if (i == kind->nr_params)
		return unknown_param(place, kind, name, args);
	param = &kind->params[i];
	if (kind_has(args, i))
		return place_fail(place, name.at, "rule.duplicate-parameter",
				  "%s is given twice in do=%s", param->name, kind->name);
	args->given |= 1u << i;
	if (param->type == VALUE_MARK) {
		if (has_value)
			return place_fail(place, name.at, "rule.unwanted-value",
					  "%s takes no value", param->name);
		return 0;
	}
	if (!has_value && param->form == PARAM_EITHER)
		arg = (struct text){ param->bare, strlen(param->bare) };
	else if (!has_value)
		return place_fail(place, name.at, "rule.missing-value", "%s wants a value: %s=%s",
				  param->name, param->name, param_placeholder(param));
	return value_parse(place, param, arg, &args->value[i]);
}

/* A leading value may be left out: what stands there is then a name. */
static bool names_param(const struct kind *kind, struct text word)
{
	struct text name = text_cut(&word, '=');

	for (unsigned int i = 0; i < kind->nr_params; i++)
		if (!is_first(&kind->params[i]) && text_is(name, kind->params[i].name))
			return true;
	return false;
}

/* The value right after the kind. *ret_more: parameters follow. */
static int parse_first(const struct place *place, const struct kind *kind, struct text *rest,
		       bool has_args, struct kind_args *args, bool *ret_more)
{
	const struct param *first = &kind->params[0];
	bool more = rest->len && memchr(rest->at, ',', rest->len);
	struct text word = *rest;

	if (more)
		word.len = (size_t)((const char *)memchr(rest->at, ',', rest->len) - rest->at);
	*ret_more = has_args;
	if (first->form == PARAM_LEAD && (!has_args || names_param(kind, word)))
		return 0;
	if (word.len == 0) {
		place_fail(place, word.at, "rule.missing-parameter", "%s wants %s: do=%s:%s",
			   kind->name, first->name, kind->name, param_placeholder(first));
		diag_hint(place->diag, "for example: %s", kind->example);
		return -EINVAL;
	}
	text_cut(rest, ',');
	*ret_more = more;
	args->given |= 1u;
	return value_parse(place, first, word, &args->value[0]);
}

static int parse_args(const struct place *place, const struct kind *kind, struct text rest,
		      bool has_args, struct kind_args *args)
{
	int err = 0;

	if (kind->nr_params && is_first(&kind->params[0]))
		err = parse_first(place, kind, &rest, has_args, args, &has_args);
	while (!err && has_args) {
		has_args = rest.len && memchr(rest.at, ',', rest.len);
		err = parse_named(place, kind, text_cut(&rest, ','), args);
	}
	return err;
}

void kind_args_clear(struct kind_args *args)
{
	for (unsigned int i = 0; i < KIND_PARAMS_MAX; i++)
		value_clear(&args->value[i]);
	args->given = 0;
}

int kind_parse(const struct place *place, struct text text, const struct kind **ret_kind,
	       struct kind_args *ret_args)
{
	bool has_args = text.len && memchr(text.at, ':', text.len);
	struct kind_args args = { .given = 0 };
	struct text name = text_cut(&text, ':');
	const struct kind *kind = kind_find(name);
	char list[240] = "";
	int err;

	if (!kind) {
		for (size_t i = 0, at = 0; names[i] && at < sizeof(list); i++)
			at += (size_t)snprintf(list + at, sizeof(list) - at, "%s%s", i ? ", " : "",
					       names[i]);
		place_fail(place, name.at, "rule.unknown-kind",
			   "do= wants a kind of fault (%s), got %s%s%s", list, name.len ? "'" : "",
			   name.len ? QUOTE(name) : "nothing", name.len ? "'" : "");
		place_suggest(place, name, names);
		return -EINVAL;
	}
	err = parse_args(place, kind, text, has_args, &args);
	if (!err && kind->ops->validate && kind->ops->validate(&args, place->diag) < 0)
		err = place_mark(place, name.at);
	if (err) {
		kind_args_clear(&args);
		return err;
	}
	*ret_kind = kind;
	*ret_args = args;
	return 0;
}

/* Is this the value that the bare name of a PARAM_EITHER stands for? */
static bool is_bare_value(const struct param *param, const struct value *value)
{
	const struct place nowhere = { .line = NULL, .diag = NULL };
	struct text bare = { param->bare, strlen(param->bare) };
	struct value meant = { .text = NULL };
	bool equal = value_parse(&nowhere, param, bare, &meant) == 0 &&
		     value_equal(param, &meant, value);

	value_clear(&meant);
	return equal;
}

void kind_print(FILE *out, const struct kind *kind, const struct kind_args *args)
{
	char separator = ':';

	fputs(kind->name, out);
	for (unsigned int i = 0; i < kind->nr_params; i++) {
		const struct param *param = &kind->params[i];

		if (!kind_has(args, i))
			continue;
		fputc(separator, out);
		separator = ',';
		if (!is_first(param))
			fputs(param->name, out);
		if (param->type == VALUE_MARK ||
		    (param->form == PARAM_EITHER && is_bare_value(param, &args->value[i])))
			continue;
		if (!is_first(param))
			fputc('=', out);
		value_print(out, param, &args->value[i]);
	}
}

bool kind_args_equal(const struct kind *kind, const struct kind_args *a, const struct kind_args *b)
{
	if (a->given != b->given)
		return false;
	for (unsigned int i = 0; i < kind->nr_params; i++)
		if (kind_has(a, i) && !value_equal(&kind->params[i], &a->value[i], &b->value[i]))
			return false;
	return true;
}
