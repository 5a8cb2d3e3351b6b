# SPDX-License-Identifier: MIT
#
# The disks that are compared, for bench/run and bench/icount, which source this. All of the same
# size, with one hardware queue where that can be chosen, in memory.
#
#	target_up NAME		make it ready for a visit: 0 and $dev set, or 1 and $why_not set
#	targets_down		give everything back; the caller's trap calls it
#
# A disk stays up between visits. Needs $faultblk, $size_mib and $tmp (a directory for sockets and
# mounts). What is made notes how to undo it; what was there before is left as it was.

undo=
missing=' '

# on_exit 'COMMAND': undone in reverse order.
on_exit() {
	undo="$1
$undo"
}

targets_down() {
	commands=$undo
	undo=
	eval "$commands"
}

# The module is there; unloaded again if it was not.
load() {
	[ -d "/sys/module/$(echo "$1" | tr - _)" ] && return 0
	modprobe "$@" 2>/dev/null || {
		why_not="the kernel has no module $1"
		return 1
	}
	on_exit "modprobe -r $1 2>/dev/null"
}

tool() {
	command -v "$1" >/dev/null && return 0
	why_not="$1 is not installed"
	return 1
}

# A node may come a little later than its disk.
node() {
	for _ in 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17 18 19 20; do
		[ -b "$1" ] && return 0
		sleep 0.1
	done
	why_not="$1 did not appear"
	return 1
}

# ------------------------------------------------------------------------------ ours

up_faultblk() {
	dev_faultblk=$("$faultblk" run --daemon --size "${size_mib}M" --seed 1 \
		--name bench$$ --socket "$tmp/faultblk.sock" --json ${FAULTBLK_ARGS:-} |
		sed -n 's/.*"device": *"\([^"]*\)".*/\1/p')
	[ -n "$dev_faultblk" ] || {
		why_not='faultblk run failed'
		return 1
	}
	on_exit '"$faultblk" stop --socket "$tmp/faultblk.sock" >/dev/null'
	node "$dev_faultblk"
}

# One disk for all of ours, so that only the rules differ: the same memory, the same thread.
rules() {
	"$faultblk" rule load --socket "$tmp/faultblk.sock" "$1" >/dev/null || {
		why_not='the rules were not taken'
		return 1
	}
}

visit_faultblk() {
	echo 'faultblk-rules 1' >"$tmp/none.rules"
	rules "$tmp/none.rules"
}

# A thousand separate ranges in the last quarter, where disk.fio does nothing.
visit_faultblk_1000() {
	awk -v mib="$size_mib" 'BEGIN {
		print "faultblk-rules 1"
		sectors = mib * 2048
		step = int(sectors / 4 / 1000)
		for (i = 0; i < 1000; i++) {
			from = sectors * 3 / 4 + i * step
			printf "r%d op=read,write range=%ds..%ds do=error:EIO\n", i, from, from + step / 2
		}
	}' >"$tmp/1000.rules"
	rules "$tmp/1000.rules"
}

visit_faultblk_delay() {
	printf 'faultblk-rules 1\nslow op=read,write do=delay:1ms\n' >"$tmp/delay.rules"
	rules "$tmp/delay.rules"
}

# serve NAME OPTIONS...: one more disk of ours, of at least 4 GiB and sparse; sets $dev_served.
serve() {
	served=$1
	shift
	dev_served=$("$faultblk" run --daemon --size 4G --seed 1 --name "$served$$" \
		--socket "$tmp/$served.sock" --json "$@" | sed -n 's/.*"device": *"\([^"]*\)".*/\1/p')
	[ -n "$dev_served" ] || {
		why_not='faultblk run failed'
		return 1
	}
	on_exit "\"$faultblk\" stop --socket $tmp/$served.sock >/dev/null"
	node "$dev_served"
}

# 1,048,576 bad blocks where no job reads, and no range= that would keep the rule out of its way.
up_badblocks() {
	serve badblocks --rule 'dust do=badblock' || return 1
	dev_badblocks=$dev_served
	[ "$("$faultblk" badblock --socket "$tmp/badblocks.sock" add dust 1G..1536M)" = 1048576 ] || {
		why_not='the bad blocks were not taken'
		return 1
	}
}

# The volatile cache that a power cut would lose.
up_cached() {
	serve cached --cache && dev_cached=$dev_served
}

# Every request and decision recorded to a file in memory.
up_recorded() {
	serve recorded --record "$tmp/recorded.fbr" && dev_recorded=$dev_served
}

# And with the data of every write: a file in memory that grows by all that is written, up to where
# the recording ends. Long or many write jobs on a small machine measure the rest without it.
up_recorded_data() {
	serve recorded-data --record "$tmp/recorded-data.fbr" --record-data --record-limit 1G &&
		dev_recorded_data=$dev_served
}

# The same library and the same memory, without any engine of faults: lib/examples/mem.c.
up_bare() {
	bare=$(dirname "$faultblk")/examples/mem
	[ -x "$bare" ] || {
		why_not='make all builds it'
		return 1
	}
	# It says which disk it is only when its output is flushed: the new one is meant.
	echo "$(ls /dev/ublkb* 2>/dev/null)" >"$tmp/before"
	mkfifo "$tmp/bare.in"
	"$bare" <"$tmp/bare.in" >"$tmp/bare.out" 2>&1 &
	exec 8>"$tmp/bare.in"
	on_exit 'exec 8>&-; sleep 1'
	for _ in 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17 18 19 20; do
		dev_bare=$(ls /dev/ublkb* 2>/dev/null | grep -vxFf "$tmp/before")
		[ -z "$dev_bare" ] || break
		sleep 0.2
	done
	[ -n "$dev_bare" ] || {
		why_not="the example made no disk"
		return 1
	}
	node "$dev_bare"
}

# ------------------------------------------------------------------------------ the kernel's

# null_blk ATTRIBUTE=VALUE...: sets $dev_null to a new one.
null_blk() {
	load null_blk nr_devices=0 || return 1
	[ -d /sys/kernel/config/nullb ] || {
		mount -t configfs none /sys/kernel/config && on_exit 'umount /sys/kernel/config'
	}
	null_name=bench$$-$null_nr
	null_dir=/sys/kernel/config/nullb/$null_name
	null_nr=$((null_nr + 1))
	mkdir "$null_dir" || {
		why_not='null_blk takes no new device'
		return 1
	}
	on_exit "rmdir $null_dir"
	for setting in size=$size_mib submit_queues=1 hw_queue_depth=128 blocksize=512 "$@" power=1; do
		echo "${setting#*=}" >"$null_dir/${setting%%=*}" || {
			why_not="null_blk does not take $setting"
			return 1
		}
	done
	on_exit "echo 0 >$null_dir/power"
	dev_null=/dev/$null_name
	# Kernels before 6.9 number their names.
	[ -d "/sys/block/$null_name" ] || dev_null=/dev/nullb$(cat "$null_dir/index")
	node "$dev_null"
}
null_nr=0

up_null_blk() {
	null_blk memory_backed=0 && dev_null_blk=$dev_null
}

up_null_blk_mem() {
	null_blk memory_backed=1 && dev_null_blk_mem=$dev_null
}

up_brd() {
	[ ! -d /sys/module/brd ] || {
		why_not='brd is loaded already, with a size of its own'
		return 1
	}
	load brd rd_nr=1 rd_size=$((size_mib * 1024)) && node /dev/ram0 && dev_brd=/dev/ram0
}

up_loop() {
	tool losetup && load loop || return 1
	mkdir -p "$tmp/tmpfs"
	mount -t tmpfs -o "size=$((size_mib + 8))M" none "$tmp/tmpfs" || {
		why_not='tmpfs was not mounted'
		return 1
	}
	on_exit 'umount "$tmp/tmpfs"'
	truncate -s "${size_mib}M" "$tmp/tmpfs/disk"
	dev_loop=$(losetup -f --show "$tmp/tmpfs/disk") || {
		why_not='losetup failed'
		return 1
	}
	on_exit "losetup -d $dev_loop"
	node "$dev_loop"
}

# dm MODULE NAME TABLE: over brd, which must be up; sets $dev_dm.
dm() {
	tool dmsetup && load "$1" || return 1
	target_up brd || return 1
	dmsetup create --noudevsync "$2" --table "$3" || {
		why_not="dmsetup did not take: $3"
		return 1
	}
	on_exit "dmsetup remove --noudevsync $2"
	dev_dm=/dev/dm-$(dmsetup info -c --noheadings -o minor "$2" | tr -d ' ')
	node "$dev_dm"
}

# Always up: 60 seconds up, 0 down.
up_dm_flakey() {
	dm dm-flakey "bench-flakey$$" "0 $((size_mib * 2048)) flakey /dev/ram0 0 60 0" &&
		dev_dm_flakey=$dev_dm
}

up_dm_delay() {
	dm dm-delay "bench-delay$$" "0 $((size_mib * 2048)) delay /dev/ram0 0 0" &&
		dev_dm_delay=$dev_dm
}

# ------------------------------------------------------------------------------ nbdkit

# nbdkit's memory disk through the kernel's nbd driver, as a disk of the system like the others
# (fio's own nbd engine would leave the block layer out).
up_nbdkit() {
	tool nbdkit && tool nbd-client && load nbd max_part=0 || return 1
	nbdkit -U "$tmp/nbd.sock" -P "$tmp/nbd.pid" memory "${size_mib}M" || {
		why_not='nbdkit did not start'
		return 1
	}
	on_exit 'kill "$(cat "$tmp/nbd.pid")"'
	for sys in /sys/block/nbd*; do
		[ "$(cat "$sys/size" 2>/dev/null)" = 0 ] && [ ! -e "$sys/pid" ] && break
	done
	dev_nbdkit=/dev/${sys##*/}
	nbd-client -unix "$tmp/nbd.sock" "$dev_nbdkit" -b 512 >/dev/null 2>"$tmp/nbd.log" || {
		why_not="nbd-client: $(tail -n 1 "$tmp/nbd.log")"
		return 1
	}
	on_exit "nbd-client -d $dev_nbdkit >/dev/null"
	for _ in 1 2 3 4 5 6 7 8 9 10; do
		[ "$(cat "$sys/size")" = 0 ] || break
		sleep 0.1
	done
}

# ------------------------------------------------------------------------------ any

# The same for all, where the device has it: no scheduler, no merging. Written once.
prepare() {
	queue=/sys/block/${dev##*/}/queue
	echo none >"$queue/scheduler"
	echo 2 >"$queue/nomerges"
	fio --name=fill --allow_file_create=0 --filename="$dev" --rw=write --bs=1M --direct=1 --ioengine=psync \
		--size="${size_mib}M" --randseed=1 >/dev/null
} 2>/dev/null

target_up() {
	local key disk

	key=$(echo "$1" | tr - _)
	case $key in
	faultblk_*) disk=faultblk ;;
	*) disk=$key ;;
	esac
	case $missing in
	*" $disk "*) return 1 ;;
	esac
	eval "dev=\${dev_$disk:-}"
	if [ -z "$dev" ]; then
		why_not=
		"up_$disk" || {
			missing="$missing$disk "
			return 1
		}
		eval "dev=\$dev_$disk"
		prepare
	fi
	case $key in
	faultblk | faultblk_*) "visit_$key" ;;
	esac
}
