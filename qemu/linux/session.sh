#!/bin/sh
# The ancestor's sessions, in sh, through the kernel's 9P client.
m=/mnt
fails=0
ok() { if [ "$2" = "$3" ]; then echo "PASS $1"; else echo "FAIL $1: '$2', not '$3'"; fails=1; fi; }
has() { case $2 in *"$3"*) echo "PASS $1" ;; *) echo "FAIL $1: no '$3' in '$2'"; fails=1 ;; esac; }

# Over TCP the server is on the host; over a unix socket it is the same program, in the guest.
mount_tcp() { mount -t 9p -o trans=tcp,port=5640,version=9p2000,cache=none 10.0.2.102 $m; }
mount_unix() { mount -t 9p -o trans=unix,version=9p2000,cache=none /tmp/llm $m; }

local_use() {
	echo 'load stories15M.bin tokenizer.bin' >$m/ctl && echo "PASS $1 load"
	has "$1 model" "$(cat $m/model)" 'n_layers 6'
	s=$(cat $m/clone)
	echo 'temp 0.0' >$m/$s/ctl && echo 'steps 50' >$m/$s/ctl && echo "PASS $1 configure"
	echo 'Once upon a time' >$m/$s/prompt
	echo 'generate' >$m/$s/ctl
	first=$(cat $m/$s/output)
	has "$1 output" "$first" 'Once upon a time'
	has "$1 status" "$(cat $m/$s/status)" 'tok/s'
	ok "$1 stream" "$(cat $m/$s/stream)" "$first"
	has "$1 info" "$(cat $m/$s/info)" 'status: done'
}

control() {
	s=$(cat $m/clone)
	for line in 'temp 0.5' 'topp 0.8' 'seed 7' 'steps 20'; do echo "$line" >$m/$s/ctl || fails=1; done
	has "$1 knobs" "$(cat $m/$s/ctl)" 'seed 7'
	if echo 'temp abc' >$m/$s/ctl 2>/dev/null; then echo "FAIL $1 bad number taken"; fails=1; else echo "PASS $1 bad number refused"; fi
	echo One >$m/$s/prompt; echo ' day' >>$m/$s/prompt; echo generate >$m/$s/ctl
	a=$(cat $m/$s/output)
	echo generate >$m/$s/ctl
	ok "$1 the same again" "$(cat $m/$s/output)" "$a"
	echo reset >$m/$s/ctl
	ok "$1 reset" "$(cat $m/$s/status)" idle
	echo close >$m/$s/ctl
	if [ -d $m/$s ]; then echo "FAIL $1 close"; fails=1; else echo "PASS $1 close"; fi
}

multi() {
	echo 'pool-load small stories15M.bin tokenizer.bin' >$m/ctl
	echo 'pool-load large llama2-7b.bin tokenizer.bin' >$m/ctl
	ok "$1 count" "$(cat $m/pool/count)" 2
	ok "$1 list" "$(cat $m/pool/list)" small,large
	[ "$(cat $m/pool/memory)" -gt 1000000 ] && echo "PASS $1 memory"
	s=$(cat $m/clone)
	echo large >$m/$s/model
	echo 'Once upon a time' >$m/$s/prompt
	echo generate >$m/$s/ctl
	has "$1 output" "$(cat $m/$s/output)" 'Once upon a time'
	ok "$1 bound" "$(cat $m/$s/model)" large
	if echo 'pool-unload large' >$m/ctl 2>/dev/null; then echo "FAIL $1 unloaded in use"; fails=1; else echo "PASS $1 in use"; fi
	echo close >$m/$s/ctl
	echo 'pool-unload small' >$m/ctl; echo 'pool-unload large' >$m/ctl
	ok "$1 unloaded" "$(cat $m/pool/count)" 0
}

# A reader that is interrupted: the kernel flushes, and the mount lives on.
interrupted() {
	s=$(cat $m/clone)
	cat $m/$s/stream >/dev/null 2>&1 &
	reader=$!
	cat $m/$s/status >/dev/null
	kill -INT $reader; kill $reader 2>/dev/null; wait $reader 2>/dev/null
	ok "$1 after an interrupt" "$(cat $m/$s/status)" idle
	echo close >$m/$s/ctl
	ok "$1 listing" "$(ls $m | tr '\n' ' ')" "${2}"
}

all() {
	local_use $1; control $1; multi $1
	interrupted $1 "$2"
	if umount $m; then echo "PASS $1 umount"; else echo "FAIL $1 umount"; fails=1; fi
}

mount_tcp && echo 'PASS tcp mount' || fails=1
all tcp '0 clone ctl event info model models pool '
/nine serve llmfs --models /models --srv '' --listen 'unix!/tmp/llm' >/tmp/log 2>&1 &
until grep -q ^listening /tmp/log; do sleep 0.1; done
mount_unix && echo 'PASS unix mount' || { fails=1; cat /tmp/log; }
all unix '0 clone ctl event info model models pool '
[ $fails = 0 ] && echo 'ALL PASS'
