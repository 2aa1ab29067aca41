#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""A small NBD server with the ways of tapdisk, the server of XCP-ng's disks (8.3, blktap 3.54 to 3.55).

- Fixed newstyle; drops clients that send an option it does not know, such as extended headers. Any export name
  will do.
- Says neither flush, nor zeroes, trim, FUA, several connections, nor read-only, not even when it is.
- Says that blocks of 1 byte are fine, and then ignores the low nine bits of offsets and lengths.
- READ, WRITE, BLOCK_STATUS of 2 MiB at most; any other command, or a command flag, ends the connection.
- Takes 8 requests of a connection at a time, and answers them in any order.
- Reports every error as a negative number. In structured replies, it sends a buffer of garbage instead.
- Answers DISC with a new greeting.
- Stands still while the host takes a snapshot: from SIGUSR1 to SIGUSR2, new connections too.

Usage: tapdisk_server.py SOCKET FILE [OPTIONS]
  --old-style         the handshake of XCP-ng 8.2: no options, no export name, no flags
  --newer             blktap 4.0.6 and later: options that it does not know are answered
  --read-only         the VDI is: writes fail, and nothing says so before
  --full-at OFFSET    writes at or after OFFSET fail: no space
  --bad-at OFFSET     reads at or after OFFSET fail
  --refuse-zeroes     advertises write-zeroes (as tapdisk does not) and answers them with ENOTSUP
"""
import argparse
import errno
import os
import select
import signal
import socket
import struct
import threading

MAX_BYTES = 2 << 20
SLOTS = 8
EXPORT_NAME, ABORT, LIST, STARTTLS, INFO, GO, STRUCTURED_REPLY, LIST_META, SET_META = 1, 2, 3, 5, 6, 7, 8, 9, 10
READ, WRITE, DISC, WRITE_ZEROES, BLOCK_STATUS = 0, 1, 2, 6, 7
REP_ACK, REP_SERVER, REP_INFO, REP_META, REP_ERR_UNSUP = 1, 2, 3, 4, 0x80000001
CHUNK_DATA, CHUNK_STATUS, CHUNK_ERROR, CHUNK_DONE = 1, 5, 0x8001, 1

running = threading.Event()


class Connection:
    def __init__(self, conn, args, fd):
        self.conn, self.args, self.fd = conn, args, fd
        self.size = os.lseek(fd, 0, os.SEEK_END)
        self.flags = 0 if args.old_style else 1 | (64 if args.refuse_zeroes else 0)
        self.is_structured = False

    def receive(self, size):
        data = bytearray()
        while len(data) < size:
            piece = self.conn.recv(size - len(data))
            if not piece:
                raise ConnectionError
            data += piece
        return bytes(data)

    def greet(self):
        if self.args.old_style:
            head = b"NBDMAGIC" + struct.pack(">QQI", 0x00420281861253, self.size, self.flags)
            self.conn.sendall(head + bytes(124))
        else:
            self.conn.sendall(b"NBDMAGICIHAVEOPT" + struct.pack(">H", 3))

    def option_reply(self, option, kind, data=b""):
        self.conn.sendall(struct.pack(">QIII", 0x3E889045565A9, option, kind, len(data)) + data)

    def negotiate(self):
        self.greet()
        if self.args.old_style:
            return True
        no_zeroes = struct.unpack(">I", self.receive(4))[0] & 2
        while True:
            _, option, length = struct.unpack(">QII", self.receive(16))
            self.receive(length)
            if option == EXPORT_NAME:
                self.conn.sendall(struct.pack(">QH", self.size, self.flags) + bytes(0 if no_zeroes else 124))
                return True
            if option in (INFO, GO):
                self.option_reply(option, REP_INFO, struct.pack(">HQH", 0, self.size, self.flags))
                self.option_reply(option, REP_INFO, struct.pack(">HIII", 3, 1, 4096, MAX_BYTES))
                self.option_reply(option, REP_ACK)
                if option == GO:
                    return True
            elif option == ABORT:
                self.option_reply(option, REP_ACK)
                return False
            elif option == LIST:
                self.option_reply(option, REP_SERVER, struct.pack(">I", 14) + b"tapdisk_client")
                self.option_reply(option, REP_ACK)
            elif option == STRUCTURED_REPLY:
                self.is_structured = True
                self.option_reply(option, REP_ACK)
            elif option == SET_META:
                self.option_reply(option, REP_META, struct.pack(">I", 1) + b"base:allocation")
                self.option_reply(option, REP_ACK)
            elif option in (STARTTLS, LIST_META) or self.args.newer:
                self.option_reply(option, REP_ERR_UNSUP)
            else:
                raise ConnectionError

    def is_waiting(self):
        return bool(select.select([self.conn], [], [], 0)[0])

    def receive_request(self):
        magic, kind, handle, offset, length = struct.unpack(">IIQQI", self.receive(28))
        if magic != 0x25609513 or length > MAX_BYTES and kind != WRITE_ZEROES:
            raise ConnectionError
        data = self.receive(length) if kind == WRITE else b""
        return kind, handle, offset >> 9 << 9, length >> 9 << 9, data

    def extents(self, offset, length):
        """Pairs of length and state (3: a hole that reads as zeroes)."""
        at, end, pairs = offset, offset + length, []
        while at < end:
            try:
                data = min(os.lseek(self.fd, at, os.SEEK_DATA), end)
            except OSError:
                data = end
            if data > at:
                pairs.append((data - at, 3))
                at = data
                continue
            hole = min(os.lseek(self.fd, at, os.SEEK_HOLE), end)
            pairs.append((hole - at, 0))
            at = hole
        return b"".join(struct.pack(">II", *pair) for pair in pairs)

    def chunk(self, kind, handle, data):
        return struct.pack(">IHHQI", 0x668E33EF, CHUNK_DONE, kind, handle, len(data)) + data

    def execute(self, kind, handle, offset, length, data):
        args, error, answer = self.args, 0, b""
        if kind == READ:
            answer = os.pread(self.fd, length, offset)
            error = errno.EIO if offset >= args.bad_at else 0
            if error:
                answer = b"garbage!" * (length // 8) if self.is_structured else b""
            if self.is_structured:
                return self.chunk(CHUNK_DATA, handle, struct.pack(">Q", offset) + answer)
        elif kind == WRITE:
            if args.read_only:
                error = errno.EROFS
            elif offset >= args.full_at:
                error = errno.ENOSPC
            else:
                os.pwrite(self.fd, data[:length], offset)
        elif kind == BLOCK_STATUS and self.is_structured:
            return self.chunk(CHUNK_STATUS, handle, struct.pack(">I", 1) + self.extents(offset, length))
        elif kind == WRITE_ZEROES and args.refuse_zeroes:
            error = -errno.ENOTSUP  # sent as the NBD protocol wants it
        else:
            raise ConnectionError
        return struct.pack(">IIQ", 0x67446698, -error & 0xFFFFFFFF, handle) + answer

    def wait_while_paused(self):
        if not running.is_set():
            print("a client waits for the end of a pause", flush=True)
            running.wait()

    def serve(self):
        self.wait_while_paused()
        if not self.negotiate():
            return
        while True:
            requests = [self.receive_request()]
            while len(requests) < SLOTS and self.is_waiting():
                requests.append(self.receive_request())
            self.wait_while_paused()
            for request in reversed(requests):
                if request[0] == DISC:
                    self.greet()
                    return
                self.conn.sendall(self.execute(*request))


def client(conn, args, fd):
    try:
        Connection(conn, args, fd).serve()
    except (ConnectionError, struct.error):
        pass
    conn.close()


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("socket")
    parser.add_argument("file")
    for name in ("old-style", "newer", "read-only", "refuse-zeroes"):
        parser.add_argument("--" + name, action="store_true")
    for name in ("full-at", "bad-at"):
        parser.add_argument("--" + name, type=int, default=1 << 62)
    args = parser.parse_args()
    fd = os.open(args.file, os.O_RDWR)
    running.set()
    signal.signal(signal.SIGUSR1, lambda *_: running.clear())
    signal.signal(signal.SIGUSR2, lambda *_: running.set())
    listener = socket.socket(socket.AF_UNIX)
    listener.bind(args.socket + ".new")
    listener.listen(8)
    os.rename(args.socket + ".new", args.socket)
    while True:
        conn, _ = listener.accept()
        threading.Thread(target=client, args=(conn, args, fd), daemon=True).start()


main()
