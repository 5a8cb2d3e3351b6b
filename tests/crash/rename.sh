#!/bin/sh
# SPDX-License-Identifier: MIT
# rename.sh sums COUNT		the checksums that check wants
# rename.sh write DIR COUNT	files made the careful way: written, fsynced, renamed, directory fsynced
# rename.sh check SUMS		after a power cut all that was acknowledged is there
#
# File n is new content, and two rounds later replaced by other content. Each round is marked once
# it is done. Few processes: they are slow where this runs.
content() { yes "content $1" | head -n 300; }

case $1 in
sums)
	n=1
	while [ $n -le "$2" ]; do
		echo "$n new $(content $n | md5sum)"
		echo "$n again $(content "$n again" | md5sum)"
		n=$((n + 1))
	done
	;;
write)
	cd "$2" || exit 1
	n=1
	while [ $n -le "$3" ]; do
		content $n >new && sync new && mv new "file$n" && sync . || exit 1
		if [ $n -gt 2 ]; then
			content "$((n - 2)) again" >new && sync new && mv new "file$((n - 2))" && sync . || exit 1
		fi
		faultblk mark "renamed $n" >/dev/null || exit 1
		n=$((n + 1))
	done
	;;
check)
	dir=$FAULTBLK_TMP/rename
	mkdir -p "$dir" || exit 126
	type=$(blkid -p -s TYPE -o value "$FAULTBLK_DEV")
	case $type in xfs) options=nouuid ;; *) options=rw ;; esac
	[ -b "$FAULTBLK_DEV" ] || options=$options,loop
	mount -t "$type" -o "$options" "$FAULTBLK_DEV" "$dir" || { echo 'cannot be mounted'; exit 1; }
	md5sum "$dir"/file* >"$FAULTBLK_TMP/got" 2>/dev/null
	umount "$dir" || { echo 'cannot be unmounted'; exit 1; }
	# A round that was acknowledged is there; of the one that was under way each file may be.
	awk -v done="${FAULTBLK_MARK##* }" '
		FNR == NR { sum[$1 " " $2] = $3; next }
		{ name = $2; sub(/.*\/file/, "", name); got[name] = $1 }
		END {
			for (n = 1; n <= done + 0; n++) {
				if (got[n] == sum[n " again"] && n <= done - 1) continue
				if (got[n] == sum[n " new"] && n > done - 2) continue
				print "file" n ": got " got[n] ", wanted what was acknowledged in round " done
				bad = 1
			}
			exit bad
		}' "$2" "$FAULTBLK_TMP/got" || exit 1
	case $type in
	ext4) e2fsck -fn "$FAULTBLK_DEV" ;;
	xfs) xfs_repair -n "$FAULTBLK_DEV" ;;
	btrfs) btrfs check --readonly "$FAULTBLK_DEV" ;;
	esac
	;;
esac
