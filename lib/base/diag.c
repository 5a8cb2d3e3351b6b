// SPDX-License-Identifier: MIT
#include "base/diag.h"

#include "base/limits.h"

#include <stdio.h>

int diag_set(struct diag *d, int err, const char *id, const char *fmt, ...)
{
	va_list ap;

	if (!d)
		return err;
	*d = (struct diag){ 0 };
	snprintf(d->id, sizeof(d->id), "%s", id);
	va_start(ap, fmt);
	vsnprintf(d->message, sizeof(d->message), fmt, ap);
	va_end(ap);
	limits_words(err, d->hint, sizeof(d->hint));
	return err;
}

void diag_hint(struct diag *d, const char *fmt, ...)
{
	va_list ap;

	if (!d)
		return;
	va_start(ap, fmt);
	vsnprintf(d->hint, sizeof(d->hint), fmt, ap);
	va_end(ap);
}

void diag_at(struct diag *d, unsigned int line, unsigned int column)
{
	if (!d)
		return;
	d->line = line;
	d->column = column;
}
