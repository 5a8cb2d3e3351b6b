#!/bin/sh
# SPDX-License-Identifier: MIT
# rename.sh write DIR COUNT	files made the careful way: written, fsynced, renamed, directory fsynced
# rename.sh check		after a power cut all that was acknowledged is there
#
# File n holds the line "content n" until it is full. What is acknowledged is marked.
content() { yes "content $1" | head -n 300; }

case $1 in
write)
	cd "$2" || exit 1
	n=1
	while [ $n -le "$3" ]; do
		content $n >new && sync new && mv new "file$n" && sync . || exit 1
		# Over the one before the last: a name that changes what it stands for.
		if [ $n -gt 2 ]; then
			content "$n again" >new && sync new && mv new "file$((n - 2))" && sync . || exit 1
		fi
		faultblk mark "renamed $n" >/dev/null || exit 1
		n=$((n + 1))
	done
	;;
check)
	dir=$(mktemp -d "${FAULTBLK_TMP:-/tmp}/rename.XXXXXX") || exit 126
	mounted=
	trap '[ -z "$mounted" ] || umount "$dir"; rmdir "$dir"' EXIT
	type=$(blkid -p -s TYPE -o value "$FAULTBLK_DEV")
	case $type in xfs) options=nouuid ;; *) options=rw ;; esac
	[ -b "$FAULTBLK_DEV" ] || options=$options,loop
	mount -t "$type" -o "$options" "$FAULTBLK_DEV" "$dir" || { echo 'cannot be mounted'; exit 1; }
	mounted=1
	acknowledged=${FAULTBLK_MARK##* }
	case $acknowledged in '' | *[!0-9]*) acknowledged=0 ;; esac
	n=1
	bad=0
	while [ $n -le "$acknowledged" ]; do
		# Files up to the last but two have been replaced; the next one after that may be.
		if content "$((n + 2)) again" | cmp -s - "$dir/file$n"; then :; elif
			[ $((n + 2)) -gt "$acknowledged" ] && content $n | cmp -s - "$dir/file$n"
		then :; else
			echo "file$n is not what was acknowledged: $(ls -l "$dir/file$n" 2>&1)"
			bad=1
		fi
		n=$((n + 1))
	done
	umount "$dir" || { echo 'cannot be unmounted'; exit 1; }
	mounted=
	[ $bad = 0 ] || exit 1
	faultblk check fsck
	;;
esac
