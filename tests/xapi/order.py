#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""Sends an order to the stub's /test, and prints the answer. Usage: order.py unix:PATH|http[s]://HOST:PORT JSON"""
import http.client
import socket
import ssl
import sys
import urllib.parse


class Unix(http.client.HTTPConnection):
    def __init__(self, path):
        super().__init__("localhost")
        self.path = path

    def connect(self):
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.connect(self.path)


where = sys.argv[1]
url = urllib.parse.urlparse(where)
if where.startswith("unix:"):
    connection = Unix(where[5:])
elif url.scheme == "https":
    connection = http.client.HTTPSConnection(url.netloc, context=ssl._create_unverified_context())
else:
    connection = http.client.HTTPConnection(url.netloc)
connection.request("POST", "/test", sys.argv[2])
answer = connection.getresponse()
print(answer.read().decode())
sys.exit(answer.status != 200)
