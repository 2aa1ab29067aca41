#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""A small NBD server with the ways of tapdisk, the server of XCP-ng's disks.

It drops clients that send an option it does not know, advertises neither flush nor zeroes, says that
blocks of 1 byte are fine and then ignores the low nine bits of offsets and lengths, takes 2 MiB at most,
closes the connection on any other command or flag, reports every error as a negative number, and
answers DISC with a new greeting.

Usage: tapdisk_server.py SOCKET FILE [--full-at OFFSET] [--refuse-zeroes]
  --full-at OFFSET   writes at or after OFFSET fail: no space
  --refuse-zeroes    advertises write-zeroes (as tapdisk does not) and answers them with ENOTSUP
"""
import argparse
import errno
import os
import socket
import struct
import threading

MAX_BYTES = 2 << 20
EXPORT_NAME, ABORT, INFO, GO, STRUCTURED_REPLY, SET_META_CONTEXT = 1, 2, 6, 7, 8, 10
READ, WRITE, DISC, WRITE_ZEROES = 0, 1, 2, 6
REP_ACK, REP_INFO, REP_ERR_UNSUP = 1, 3, 0x80000001


def receive(conn, size):
    data = bytearray()
    while len(data) < size:
        piece = conn.recv(size - len(data))
        if not piece:
            raise ConnectionError
        data += piece
    return bytes(data)


def greet(conn):
    conn.sendall(b"NBDMAGICIHAVEOPT" + struct.pack(">H", 3))


def reply(conn, option, kind, data=b""):
    conn.sendall(struct.pack(">QIII", 0x3E889045565A9, option, kind, len(data)) + data)


def negotiate(conn, size, flags):
    greet(conn)
    receive(conn, 4)
    while True:
        _, option, length = struct.unpack(">QII", receive(conn, 16))
        receive(conn, length)
        if option == EXPORT_NAME:
            conn.sendall(struct.pack(">QH", size, flags))
            return
        if option in (INFO, GO):
            reply(conn, option, REP_INFO, struct.pack(">HQH", 0, size, flags))
            reply(conn, option, REP_INFO, struct.pack(">HIII", 3, 1, 4096, MAX_BYTES))
            reply(conn, option, REP_ACK)
            if option == GO:
                return
        elif option in (STRUCTURED_REPLY, SET_META_CONTEXT):
            reply(conn, option, REP_ERR_UNSUP)
        else:
            raise ConnectionError


def serve(conn, args, fd):
    size = os.fstat(fd).st_size
    negotiate(conn, size, 1 | (64 if args.refuse_zeroes else 0))
    while True:
        magic, kind, handle, offset, length = struct.unpack(">IIQQI", receive(conn, 28))
        data = receive(conn, length) if kind == WRITE else b""
        error, answer = 0, b""
        offset, length = offset >> 9 << 9, length >> 9 << 9
        if magic != 0x25609513 or length > MAX_BYTES and kind != WRITE_ZEROES:
            return
        if kind == DISC:
            greet(conn)
            return
        if kind == READ:
            answer = os.pread(fd, length, offset)
        elif kind == WRITE and offset >= args.full_at:
            error = errno.ENOSPC
        elif kind == WRITE:
            os.pwrite(fd, data[:length], offset)
        elif kind == WRITE_ZEROES and args.refuse_zeroes:
            error = -errno.ENOTSUP  # sent as the NBD protocol wants it
        else:
            return
        conn.sendall(struct.pack(">IIQ", 0x67446698, -error & 0xFFFFFFFF, handle) + answer)


def client(conn, args, fd):
    try:
        serve(conn, args, fd)
    except (ConnectionError, struct.error):
        pass
    conn.close()


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("socket")
    parser.add_argument("file")
    parser.add_argument("--full-at", type=int, default=1 << 62)
    parser.add_argument("--refuse-zeroes", action="store_true")
    args = parser.parse_args()
    fd = os.open(args.file, os.O_RDWR)
    listener = socket.socket(socket.AF_UNIX)
    listener.bind(args.socket)
    listener.listen(8)
    while True:
        conn, _ = listener.accept()
        threading.Thread(target=client, args=(conn, args, fd), daemon=True).start()


main()
