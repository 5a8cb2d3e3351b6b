/* SPDX-License-Identifier: MIT */
/* Signals on their way to COMMAND: a pipe wakes poll(), the numbers wait here. */
#include "tools/vm/vm.h"

#include "base/cleanup.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <unistd.h>

static int wake[2] = { -1, -1 };
static volatile sig_atomic_t last_signal, nr_signals, window_changed;

static void on_signal(int sig)
{
	int saved = errno;

	if (sig == SIGWINCH) {
		window_changed = 1;
	} else {
		last_signal = sig;
		nr_signals = nr_signals + 1;
	}
	(void)!write(wake[1], "", 1);
	errno = saved;
}

void vm_signals_catch(void)
{
	static const int caught[] = { SIGHUP, SIGINT, SIGQUIT, SIGTERM, SIGWINCH };
	struct sigaction sa = { .sa_handler = on_signal }, old;

	if (pipe2(wake, O_CLOEXEC | O_NONBLOCK))
		return;
	for (size_t i = 0; i < array_size(caught); i++) {
		/* What our parent ignores (nohup, a background job) stays ignored. */
		if (!sigaction(caught[i], NULL, &old) && old.sa_handler == SIG_IGN)
			continue;
		sigaction(caught[i], &sa, NULL);
	}
	signal(SIGPIPE, SIG_IGN);
}

int vm_signals_pending(void)
{
	return last_signal;
}

unsigned int vm_signals_count(void)
{
	return (unsigned int)nr_signals;
}

int vm_signals_fd(void)
{
	return wake[0];
}

bool vm_signals_take_window(void)
{
	char drain[64];
	bool changed;

	while (read(wake[0], drain, sizeof(drain)) > 0)
		;
	changed = window_changed;
	window_changed = 0;
	return changed;
}
