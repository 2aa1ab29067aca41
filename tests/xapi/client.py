#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""Debian's python3-os-xenapi, the XenAPI.py of the SDK, drives the stub. Usage: client.py URL"""
import importlib.util
import sys
import time

# The file itself: its package wants modules of OpenStack that have nothing to do with it.
spec = importlib.util.spec_from_file_location(
    "XenAPI", "/usr/lib/python3/dist-packages/os_xenapi/client/XenAPI.py")
XenAPI = importlib.util.module_from_spec(spec)
spec.loader.exec_module(XenAPI)

session = XenAPI.Session(sys.argv[1])
try:
    session.xenapi.login_with_password("root", "wrong")
    sys.exit("a wrong password was taken")
except XenAPI.Failure as failure:
    assert failure.details[0] == "SESSION_AUTHENTICATION_FAILED"
session.xenapi.login_with_password("root", "secret")
api = session.xenapi
sr = api.pool.get_default_SR(api.pool.get_all()[0])
template = api.VM.get_by_name_label("Other install media")[0]
vm = api.VM.clone(template, "web1")
api.VM.remove_from_other_config(vm, "disks")
api.VM.provision(vm)
assert not api.VM.get_is_a_template(vm)
api.VM.set_blocked_operations(vm, {"start": "not yet"})
try:
    api.VM.start(vm, False, False)
    sys.exit("a blocked machine was started")
except XenAPI.Failure as failure:
    assert failure.details[0] == "OPERATION_BLOCKED"
api.VM.set_blocked_operations(vm, {})
task = api.Async.VM.start(vm, False, False)
deadline = time.monotonic() + 30
token = ""
while api.task.get_status(task) == "pending":
    assert time.monotonic() < deadline
    token = getattr(api.event, "from")(["task/" + task], token, 5.0)["token"]
assert api.task.get_status(task) == "success", api.task.get_error_info(task)
assert api.VM.get_power_state(vm) == "Running"
api.VM.hard_shutdown(vm)
api.VM.destroy(vm)
print("XenAPI.py: all as with a real pool")
