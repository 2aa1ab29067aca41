#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""A pool's XAPI for tests: JSON-RPC and XML-RPC, over HTTP on a port of 127.0.0.1 or a unix socket, or HTTPS. It
keeps real state (pool.py), and takes and gives nothing that XAPI's own description does not have (spec.py): what is
wrong here is printed as "STUB BUG", and tests look for that.

Usage: stub.py [--port N] [--unix PATH] [--certificate PEM] --storage FOLDER [OPTIONS]
  --slave-of ADDRESS   every call is answered HOST_IS_SLAVE
  --hook COMMAND       run as COMMAND plug|unplug VM-UUID DEVICE XENSTORE-ID FILE
  --sr-gib N           size of the storage
  --role ROLE          who logs in has this role, and may do what XAPI's description lets that one

Tests also POST to /test: {"fail": METHOD, "error": [CODE, ...], "times": N}, {"expire": true} ends all
sessions, {"pause": METHOD, "seconds": N}, {"call": METHOD, "params": [...]} without a session, {"change": CLASS,
"fields": {...}} of all objects of it, {"log": true}, {"silent": true} guests have no tools. For faults at every call: {"save": true} and {"restore": true}
the state, {"census": true}, {"inject": WHAT, "at": N, "pid": PID} at the N'th call of now on, those of session, task
and event not counted (or N a method): "fail", "kill" (the caller, when it was executed), "lose" (executed, but the answer does not
come), "none"; {"counted": true}."""
import argparse
import http.server
import json
import os
import signal
import socketserver
import ssl
import sys
import threading
import time
import traceback
import xmlrpc.client

from pool import Pool, XapiError
from spec import FEWER_PARAMS

PASSWORD = "secret"


class Lost(Exception):
    """The answer does not come."""


class Api:
    def __init__(self, args):
        self.args, self.pool = args, Pool(args)
        self.pauses, self.log = {}, []
        self.injection, self.counted = {}, []

    def test(self, order):
        pool = self.pool
        if "fail" in order:
            pool.faults.append({"method": order["fail"], "error": order.get("error"), "times": order.get("times", 1)})
        pool.is_silent = order.get("silent", pool.is_silent)
        if order.get("expire"):
            pool.sessions.clear()
        if "pause" in order:
            self.pauses[order["pause"]] = order["seconds"]
        if "inject" in order:
            self.injection, self.counted = order, []
        if "counted" in order:
            return self.counted
        with pool.changed:
            if "save" in order:
                pool.save()
            if "restore" in order:
                pool.restore()
            if "census" in order:
                return pool.census()
        if "change" in order:
            for ref in list(pool.objects[order["change"]]):
                pool.change(order["change"], ref, **order["fields"])
        if "call" in order:
            with pool.changed:
                return self.run(order["call"], order["params"])
        return self.log if order.get("log") else ""

    def fail_if_told(self, method):
        for fault in self.pool.faults:
            if fault["method"] == method and fault["times"] > 0:
                fault["times"] -= 1
                raise XapiError(*fault["error"])

    def call(self, method, params):
        if method != "event.from":
            self.log.append(method)
        if self.args.slave_of:
            raise XapiError("HOST_IS_SLAVE", self.args.slave_of)
        if method == "session.login_with_password":
            return self.log_in(*params)
        if method == "system.listMethods":
            return list(self.pool.spec.methods())
        if not params or params[0] not in self.pool.sessions:
            raise XapiError("SESSION_INVALID", params[0] if params else "")
        if method == "event.from":
            return self.checked("event", "from", params[1:], self.events_from(*params[1:]))
        what = self.injected(method.removeprefix("Async."))
        if method.startswith("Async."):
            result = self.start_task(method[6:], params[1:], what)
        else:
            result = self.run(method, params[1:], params[0], what)
        if what == "lose":
            raise Lost
        return result

    def injected(self, method):
        """What is to happen at this call; None: nothing."""
        name, _, message = method.partition(".")
        if not self.pool.spec.may_call(self.args.role, name, message):
            raise XapiError("RBAC_PERMISSION_DENIED", method, "No permission in user session")
        if name in ("session", "task", "event"):
            return None
        self.counted.append(method)
        return self.injection.get("inject") if self.injection.get("at") in (len(self.counted), method) else None

    def log_in(self, user, password, *_):
        self.fail_if_told("session.login_with_password")
        if not self.args.unix and (user, password) != ("root", PASSWORD):
            raise XapiError("SESSION_AUTHENTICATION_FAILED", user, "Authentication failure")
        session = self.pool.add("session")
        self.pool.sessions.add(session)
        return session

    def checked(self, name, message, params, result):
        described = self.pool.spec.message(name, message)
        result = "" if result is None else result
        wrong = self.pool.spec.wrong(described["result"], result, f"{name}.{message}")
        if wrong:
            raise AssertionError(wrong)
        return result

    def run(self, method, params, session=None, what=None):
        name, _, message = method.partition(".")
        described = self.pool.spec.message(name, message)
        if not described:
            raise XapiError("MESSAGE_METHOD_UNKNOWN", method)
        kinds = [row for row in described["params"] if row[0] != "session_id"]
        if method == "session.logout":
            self.pool.sessions.discard(session)
            return ""
        if len(kinds) != len(params) and FEWER_PARAMS.get(method) != len(params):
            raise XapiError("MESSAGE_PARAMETER_COUNT_MISMATCH", method, len(kinds), len(params))
        for (label, kind), value in zip(kinds, params):
            wrong = self.pool.spec.wrong(kind, value, f"{method}({label})")
            if wrong:
                raise XapiError("FIELD_TYPE_ERROR", wrong)
        self.fail_if_told(method)
        if what == "fail":
            raise XapiError("SR_BACKEND_FAILURE_46", "", "injected", "")
        if method == "VM.snapshot":
            self.pool.change("VM", params[0], current_operations={"OpaqueRef:task": "snapshot"})
        time.sleep(self.pauses.pop(method, 0))
        if method == "event.inject":
            self.pool.tell(params[0], "mod", params[1])
            return self.token(len(self.pool.events))
        with self.pool.changed:
            special = self.pool.special().get(method)
            try:
                result = special(*params) if special else self.pool.generic(name, message, params)
            finally:
                if method == "VM.snapshot":
                    self.pool.change("VM", params[0], current_operations={})
            if what == "kill":
                os.kill(self.injection["pid"], signal.SIGKILL)
        return self.checked(name, message, params, result)

    def start_task(self, method, params, what):
        task = self.pool.add("task", name_label="Async." + method, created=now())
        threading.Thread(target=self.run_task, args=(task, method, params, what), daemon=True).start()
        return task

    def run_task(self, task, method, params, what):
        fields = {"status": "success", "progress": 1.0, "finished": now()}
        try:
            result = self.run(method, params, None, what)
            fields["result"] = f"<value>{result}</value>" if result else ""
        except XapiError as error:
            fields.update(status="failure", error_info=error.row)
        except Exception:
            say_bug()
            fields.update(status="failure", error_info=["INTERNAL_ERROR", "stub"])
        with self.pool.changed:
            if self.pool.objects["task"].get(task, {}).get("status") == "pending":
                self.pool.change("task", task, **fields)

    @staticmethod
    def token(number):
        return f"{number:020d},{0:020d}"

    def events_from(self, classes, token, timeout):
        """The newest state of each object that is wanted and has changed since token."""
        pool, end = self.pool, time.monotonic() + timeout
        since = int(token.split(",")[0]) if token else 0
        wanted = {name.lower() for name in classes}
        with pool.changed:
            while True:
                newest = {}
                for number, name, operation, ref, snapshot in pool.events[since:]:
                    if wanted & {"*", name.lower(), f"{name}/{ref}".lower()}:
                        newest.pop(ref, None)
                        newest[ref] = self.event(number, name, operation, ref, snapshot)
                left = end - time.monotonic()
                if newest or left <= 0:
                    counts = {name.lower(): len(objects) for name, objects in pool.objects.items()}
                    return {"events": list(newest.values()), "valid_ref_counts": counts,
                            "token": self.token(len(pool.events))}
                pool.changed.wait(left)

    @staticmethod
    def event(number, name, operation, ref, snapshot):
        event = {"id": number, "timestamp": now(), "class": name.lower(), "operation": operation, "ref": ref}
        if snapshot and operation != "del":
            event["snapshot"] = snapshot
        return event


def now():
    return time.strftime("%Y%m%dT%H:%M:%SZ", time.gmtime())


def say_bug():
    print("STUB BUG:", traceback.format_exc(), file=sys.stderr, flush=True)


def for_xml(value):
    """XAPI's XML-RPC has integers as texts, so that they may be larger than 32 bits."""
    if isinstance(value, dict):
        return {key: for_xml(item) for key, item in value.items()}
    if isinstance(value, list):
        return [for_xml(item) for item in value]
    return str(value) if isinstance(value, int) and not isinstance(value, bool) else value


class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    api = None

    def log_message(self, *_):
        pass

    def address_string(self):
        return "client"

    def answer(self, text, kind, status=200):
        data = text.encode()
        self.send_response(status)
        self.send_header("content-type", kind)
        self.send_header("content-length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def do_POST(self):
        body = self.rfile.read(int(self.headers.get("content-length", 0)))
        try:
            if self.path == "/test":
                self.answer(json.dumps(self.api.test(json.loads(body))), "application/json")
            elif self.path == "/jsonrpc":
                self.answer(self.json(json.loads(body)), "application/json")
            else:
                self.answer(self.xml(body), "text/xml")
        except XapiError as error:
            self.answer(json.dumps({"error": error.row}), "application/json", 500)
        except (Lost, BrokenPipeError, ConnectionResetError, ssl.SSLError):  # the latter: who asked was killed
            self.close_connection = True
        except Exception:
            say_bug()
            self.answer("<html>500</html>", "text/html", 500)

    def json(self, request):
        answer = {"jsonrpc": "2.0", "id": request["id"]}
        try:
            answer["result"] = self.api.call(request["method"], request.get("params", []))
        except XapiError as error:
            answer["error"] = {"code": 1, "message": error.row[0], "data": error.row[1:]}
        return json.dumps(answer)

    def xml(self, body):
        params, method = xmlrpc.client.loads(body)
        try:
            answer = {"Status": "Success", "Value": for_xml(self.api.call(method, list(params)))}
        except XapiError as error:
            answer = {"Status": "Failure", "ErrorDescription": error.row}
        return xmlrpc.client.dumps((answer,), methodresponse=True)


class Server(socketserver.ThreadingMixIn, http.server.HTTPServer):
    daemon_threads = True


class UnixServer(socketserver.ThreadingMixIn, socketserver.UnixStreamServer):
    daemon_threads = True


def main():
    parser = argparse.ArgumentParser()
    for name in ("unix", "certificate", "storage", "slave-of", "hook"):
        parser.add_argument("--" + name)
    parser.add_argument("--port", type=int)
    parser.add_argument("--sr-gib", type=int, default=100)
    parser.add_argument("--role", default="pool-admin")
    args = parser.parse_args()
    Handler.api = Api(args)
    if args.unix:
        server = UnixServer(args.unix + ".new", Handler)
        os.rename(args.unix + ".new", args.unix)  # it listens by now
    else:
        server = Server(("127.0.0.1", args.port or 0), Handler)
    if args.certificate:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(args.certificate)
        server.socket = context.wrap_socket(server.socket, server_side=True)
    if not args.unix:
        with open(os.path.join(args.storage, "port.new"), "w", encoding="utf-8") as file:
            file.write(f"{server.server_address[1]}\n")
        os.rename(os.path.join(args.storage, "port.new"), os.path.join(args.storage, "port"))
    server.serve_forever()


main()
