// SPDX-License-Identifier: MIT
/* Tests wait for what they mean; what takes longer than this is held to take for ever. As in tests/await. */
#ifndef TESTS_PATIENCE_H
#define TESTS_PATIENCE_H

#include "base/clock.h"

#define PATIENCE_MS 300000
#define PATIENCE_NS (PATIENCE_MS * NSEC_PER_MSEC)

#endif
