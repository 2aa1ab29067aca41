#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""Speaks to qemu-guest-agent in a guest, over the socket of its virtio-serial port.

  guest_agent.py SOCKET wait SECONDS      until it answers
  guest_agent.py SOCKET run COMMAND       by the guest's sh; its output, its exit status
  guest_agent.py SOCKET put FILE PATH     copies a file into the guest, with its mode
  guest_agent.py SOCKET get PATH FILE     copies one out

Exit status 125: the guest does not answer. What a command leaves in the background must have given up its standard
output, or `run` waits for its end."""
import base64
import json
import os
import random
import socket
import sys
import time

ANSWER_S = 60
COMMAND_S = 900
CHUNK_BYTES = 1 << 20
NAP_MAX_S = 0.5


class Guest:
    def __init__(self, path, timeout_s):
        self.rest = b""
        self.socket = socket.socket(socket.AF_UNIX)
        self.socket.connect(path)
        self.synchronize(time.monotonic() + timeout_s)

    def synchronize(self, deadline):
        """Whatever an earlier client left in the channel is dropped: 0xff begins anew, the number tells our answer."""
        number = random.randrange(1 << 40)
        request = {"execute": "guest-sync-delimited", "arguments": {"id": number}}
        self.socket.sendall(b"\xff" + json.dumps(request).encode() + b"\n")
        while True:
            line = self.line(deadline).rsplit(b"\xff", 1)[-1]
            try:
                if json.loads(line).get("return") == number:
                    return
            except ValueError:
                pass

    def line(self, deadline):
        while b"\n" not in self.rest:
            left = deadline - time.monotonic()
            if left <= 0:
                raise TimeoutError("no answer")
            self.socket.settimeout(left)
            data = self.socket.recv(1 << 16)
            if not data:
                raise ConnectionError("the guest is gone")
            self.rest += data
        line, self.rest = self.rest.split(b"\n", 1)
        return line

    def call(self, command, **arguments):
        self.socket.sendall(json.dumps({"execute": command, "arguments": arguments}).encode() + b"\n")
        answer = json.loads(self.line(time.monotonic() + ANSWER_S).lstrip(b"\xff"))
        if "error" in answer:
            raise RuntimeError(f"{command}: {answer['error'].get('desc')}")
        return answer["return"]


def wait(path, seconds):
    deadline = time.monotonic() + seconds
    while True:
        try:
            return Guest(path, min(3, seconds))
        except OSError:  # TimeoutError is one, too
            if time.monotonic() > deadline:
                raise
            time.sleep(0.2)


def run(guest, command):
    environment = ["PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", "HOME=/root", "LC_ALL=C.UTF-8",
                   "DEBIAN_FRONTEND=noninteractive"]
    pid = guest.call("guest-exec", path="/bin/sh", arg=["-c", command], env=environment,
                     **{"capture-output": True})["pid"]
    deadline, nap = time.monotonic() + COMMAND_S, 0.02
    while not (state := guest.call("guest-exec-status", pid=pid))["exited"]:
        if time.monotonic() > deadline:
            raise TimeoutError(f"the command still runs: {command}")
        time.sleep(nap)
        nap = min(nap * 1.5, NAP_MAX_S)
    sys.stdout.buffer.write(base64.b64decode(state.get("out-data", "")))
    sys.stdout.flush()
    sys.stderr.buffer.write(base64.b64decode(state.get("err-data", "")))
    return state["exitcode"] if "exitcode" in state else 128 + state.get("signal", 0)


def put(guest, source, path):
    handle = guest.call("guest-file-open", path=path, mode="w")
    with open(source, "rb") as file:
        while data := file.read(CHUNK_BYTES):
            guest.call("guest-file-write", handle=handle, **{"buf-b64": base64.b64encode(data).decode()})
    guest.call("guest-file-close", handle=handle)
    return run(guest, f"chmod {os.stat(source).st_mode & 0o777:o} '{path}'")


def get(guest, path, destination):
    handle = guest.call("guest-file-open", path=path, mode="r")
    with open(destination, "wb") as file:
        while True:
            part = guest.call("guest-file-read", handle=handle, count=CHUNK_BYTES)
            file.write(base64.b64decode(part["buf-b64"]))
            if part["eof"]:
                break
    guest.call("guest-file-close", handle=handle)
    return 0


def main():
    path, command, *arguments = sys.argv[1:]
    try:
        if command == "wait":
            wait(path, float(arguments[0]))
            return 0
        return {"run": run, "put": put, "get": get}[command](Guest(path, 20), *arguments)
    except (OSError, RuntimeError) as error:
        print(f"guest agent: {error}", file=sys.stderr)
        return 125


sys.exit(main())
