/* SPDX-License-Identifier: MIT */
/*
 * A binary heap in an array: the first item is the one that comes before all others.
 *
 *	struct heap { struct item *items; uint32_t nr; };
 *	HEAP_SIFTS(struct heap, items, nr, struct item, uint32_t, before, put)
 *
 * makes sift_up() and sift_down(): place @item, for which there is a hole at @i, there or further up or
 * down, so that the array is a heap. before(a, b): does *a come before *b? put(heap, i, item) stores an
 * item, and may note where it is.
 */
#ifndef BASE_HEAP_H
#define BASE_HEAP_H

#define HEAP_SIFTS(heap_type, items, nr, item_type, index_type, before, put)                       \
	static void sift_up(heap_type *heap, index_type i, item_type item)                         \
	{                                                                                          \
		while (i > 0) {                                                                    \
			index_type parent = (i - 1) / 2;                                           \
                                                                                                   \
			if (!before(&item, &heap->items[parent]))                                  \
				break;                                                             \
			put(heap, i, heap->items[parent]);                                         \
			i = parent;                                                                \
		}                                                                                  \
		put(heap, i, item);                                                                \
	}                                                                                          \
                                                                                                   \
	static void sift_down(heap_type *heap, index_type i, item_type item)                       \
	{                                                                                          \
		for (;;) {                                                                         \
			index_type child = 2 * i + 1;                                              \
                                                                                                   \
			if (child >= heap->nr)                                                     \
				break;                                                             \
			if (child + 1 < heap->nr &&                                                \
			    before(&heap->items[child + 1], &heap->items[child]))                  \
				child++;                                                           \
			if (!before(&heap->items[child], &item))                                   \
				break;                                                             \
			put(heap, i, heap->items[child]);                                          \
			i = child;                                                                 \
		}                                                                                  \
		put(heap, i, item);                                                                \
	}

#endif
