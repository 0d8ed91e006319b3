#!/usr/bin/env bash
# The first process of a host that is a namespace: gives it a disk, a name and ssh, and outlives
# what runs there.
#   fake_host.sh NAME FOLDER SHARED [SEEN...]
# FOLDER holds its /root and /tmp, SHARED is what all hosts see at /mnt/emotion; the SEEN of this
# machine's folders stay where they are though /root or /tmp cover them.
set -eu
name=$1 folder=$2 shared=$3
shift 3
hostname "$name"
mount --make-rprivate /
for seen in "$@"; do
    case $seen in
        /root/*) inside=$folder/root/${seen#/root/} ;;
        /tmp/*) inside=$folder/tmp/${seen#/tmp/} ;;
        *) continue ;;
    esac
    mkdir -p "$inside"
    mount --bind "$seen" "$inside"
done
mount -t tmpfs -o size=16m tmpfs /mnt
mkdir /mnt/emotion
mount --bind "$shared" /mnt/emotion
mount --rbind "$folder/root" /root
mount --rbind "$folder/tmp" /tmp
mount -t tmpfs -o size=1g tmpfs /dev/shm
ip link set lo up
mkdir -p /run/sshd
/usr/sbin/sshd -f "$folder/sshd_config" -E "$folder/sshd.log"
# Orphans are this process' own: it collects them.
while :; do
    sleep 3600 &
    wait $! || true
done
