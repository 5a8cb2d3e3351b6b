/* SPDX-License-Identifier: MIT */
/*
 * Arrays that grow. The array, and how many elements it has room for, are two variables of the owner,
 * NULL and 0 at first; free() ends it.
 *
 *	if (array_room("lib/base/array/items", box->items, box->room, box->nr + 1, 16))
 *		return -ENOMEM;
 *	box->items[box->nr++] = item;
 *
 * The first argument names the failure point of the allocation. Where there is room, all that this
 * takes is a comparison. Sizes that overflow, be it the type of the room or the bytes of memory, are
 * no memory.
 */
#ifndef BASE_ARRAY_H
#define BASE_ARRAY_H

#include "base/failpoint.h"

#include <stddef.h>

/*
 * The slow side. Memory for at least @want elements of @each bytes: @first at first, then twice
 * *@room, never more than @most. NULL: no memory, and @array and *@room are as they were.
 */
void *array_grown(void *array, size_t *room, size_t want, size_t first, size_t most, size_t each);
/* Memory for @nr elements of @each bytes, neither of them 0. NULL: none, @array is as it was. */
void *array_resized(void *array, size_t nr, size_t each);

/* The most that an unsigned variable can hold. */
#define array_most(room) ((size_t)(__typeof__(room))-1)

/* Room for @want elements in all, twice as much as before when it is short. 0 or -ENOMEM. */
#define array_room(name, array, room, want, first)                                                 \
	({                                                                                         \
		size_t want_ = (want), room_ = (room);                                             \
		int err_ = 0;                                                                      \
		if (want_ > room_) {                                                               \
			void *grown_ =                                                             \
				fail_alloc(name, array_grown((array), &room_, want_, (first),      \
							     array_most(room), sizeof(*(array)))); \
			if (grown_) {                                                              \
				(array) = grown_;                                                  \
				(room) = (__typeof__(room))room_;                                  \
			} else {                                                                   \
				err_ = -ENOMEM;                                                    \
			}                                                                          \
		}                                                                                  \
		err_;                                                                              \
	})

/* Room for just @nr elements, at least 1. 0 or -ENOMEM. */
#define array_fit(name, array, nr)                                                                 \
	({                                                                                         \
		void *fit_ = fail_alloc(name, array_resized((array), (nr), sizeof(*(array))));     \
		if (fit_)                                                                          \
			(array) = fit_;                                                            \
		fit_ ? 0 : -ENOMEM;                                                                \
	})

#endif
