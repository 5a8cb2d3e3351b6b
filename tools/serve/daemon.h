/* SPDX-License-Identifier: MIT */
/* Going to the background, and telling a service manager that we are ready. */
#ifndef TOOLS_SERVE_DAEMON_H
#define TOOLS_SERVE_DAEMON_H

/*
 * Continue in a process of its own session; call it before any thread exists. The original process
 * waits here until daemon_ready(), or until the new one ends, and exits with its code. -errno.
 */
int daemon_detach(void);
/* The work is done: the original process exits with 0; from here on messages go to syslog. */
void daemon_ready(void);

/* sd_notify(3): "READY=1" to $NOTIFY_SOCKET, if there is one. */
void notify_manager(const char *state);

#endif
