# SPDX-License-Identifier: GPL-2.0-or-later
"""The state of a small pool, with what the calls do to it: one host, two VMs (its control domain and a helper),
a template, storage, a network. Values are checked against XAPI's own description whenever they change."""
import copy
import json
import os
import shutil
import subprocess
import threading
import uuid

from spec import NULL, Spec

MIB = 1 << 20
VHD_MAX = 2040 << 30


class XapiError(Exception):
    def __init__(self, code, *params):
        super().__init__(code)
        self.row = [code, *(str(param) for param in params)]


class Pool:
    def __init__(self, args):
        self.args, self.spec = args, Spec()
        self.objects = {name: {} for name in self.spec.classes}
        self.sessions = set()
        self.changed = threading.Condition(threading.RLock())
        self.events = []  # (number, class, operation, ref, snapshot)
        self.is_silent = False  # guests have no tools
        self.faults = []  # dicts: method, error, times
        self.populate()

    # --- objects ---

    def add(self, name, **fields):
        record = {field: self.spec.default(kind) for field, kind in self.spec.fields(name).items()}
        record.update(fields)
        record["uuid"] = fields.get("uuid") or str(uuid.uuid4())
        ref = "OpaqueRef:" + str(uuid.uuid4())
        wrong = self.spec.wrong(name + " record", record, name)
        if wrong:
            raise AssertionError(wrong)
        self.objects[name][ref] = record
        self.tell(name, "add", ref)
        return ref

    def tell(self, name, operation, ref):
        with self.changed:
            snapshot = dict(self.objects[name][ref]) if ref in self.objects[name] else None
            self.events.append((len(self.events) + 1, name, operation, ref, snapshot))
            self.changed.notify_all()

    def get(self, name, ref):
        if ref not in self.objects[name]:
            raise XapiError("HANDLE_INVALID", name, ref)
        return self.objects[name][ref]

    def change(self, name, ref, **fields):
        record = self.get(name, ref)
        for field, value in fields.items():
            wrong = self.spec.wrong(self.spec.fields(name)[field], value, f"{name}.{field}")
            if wrong:
                raise XapiError("FIELD_TYPE_ERROR", wrong)
        record.update(fields)
        self.tell(name, "mod", ref)

    def remove(self, name, ref):
        self.get(name, ref)
        del self.objects[name][ref]
        self.tell(name, "del", ref)

    def populate(self):
        host = self.add("host", name_label="xcp1", hostname="xcp1", address="192.0.2.10", enabled=True,
                        software_version={"product_version": "8.3.0"}, memory_overhead=0)
        sr = self.add("SR", name_label="Local storage", type="ext", content_type="user",
                      physical_size=self.args.sr_gib << 30, uuid="11111111-1111-1111-1111-111111111111")
        self.add("PBD", host=host, SR=sr, currently_attached=True)
        self.add("pool", name_label="pool", master=host, default_SR=sr)
        self.add("network", name_label="Pool-wide network associated with eth0", bridge="xenbr0", MTU=1500)
        dom0 = self.add("VM", name_label="Control domain", is_control_domain=True, power_state="Running",
                        resident_on=host, uuid="22222222-2222-2222-2222-222222222222")
        self.change("host", host, control_domain=dom0)
        self.add("VM", name_label="blkferry", power_state="Running", resident_on=host,
                 uuid="33333333-3333-3333-3333-333333333333")
        self.add("VM", name_label="Other install media", is_a_template=True, is_default_template=True,
                 VCPUs_max=4, VCPUs_at_startup=4, memory_static_max=256 * MIB, memory_static_min=128 * MIB,
                 HVM_boot_policy="BIOS order", HVM_boot_params={"order": "cdn"},
                 platform={"acpi": "1", "apic": "true", "pae": "true", "device-model": "qemu-upstream-compat"},
                 other_config={"disks": "<provision><disk device=\"0\" size=\"1\" sr=\"\"/></provision>",
                               "install-methods": "cdrom"})

    def path_of(self, ref):
        return os.path.join(self.args.storage, self.get("VDI", ref)["uuid"])

    def plugged(self, vdi):
        return [ref for ref in self.get("VDI", vdi)["VBDs"] if self.objects["VBD"][ref]["currently_attached"]]

    def hook(self, *words):
        """False when it could not do it: somebody has the device open."""
        return not self.args.hook or subprocess.run([self.args.hook, *words], stdin=subprocess.DEVNULL).returncode == 0

    # --- for tests of faults: the same state again, and what there is ---

    def save(self):
        self.saved = copy.deepcopy(self.objects)

    def restore(self):
        self.objects = copy.deepcopy(self.saved)
        kept = {record["uuid"] for record in self.objects["VDI"].values()}
        for name in os.listdir(self.args.storage):
            if len(name) == 36 and name not in kept:
                os.unlink(os.path.join(self.args.storage, name))
        for ref, record in self.objects["VDI"].items():
            with open(self.path_of(ref), "ab") as file:
                file.truncate(record["virtual_size"])

    def census(self):
        """What there is, without what differs from run to run: a line for each VM and VDI."""
        lines = []
        for vm in self.objects["VM"].values():
            disks = sorted([vbd["userdevice"], self.get("VDI", vbd["VDI"])["name_label"], vbd["currently_attached"],
                            self.get("VDI", vbd["VDI"])["is_a_snapshot"]]
                           for vbd in (self.get("VBD", ref) for ref in vm["VBDs"]))
            lines.append(json.dumps(["VM", vm["name_label"], vm["power_state"], vm["is_a_snapshot"],
                                     sorted(vm["blocked_operations"]), vm["other_config"].get("blkferry-checkpoint"),
                                     len(vm["snapshots"]), len(vm["VIFs"]), disks]))
        for vdi in self.objects["VDI"].values():
            lines.append(json.dumps(["VDI", vdi["name_label"], vdi["is_a_snapshot"], len(vdi["VBDs"])]))
        return sorted(lines) + [f"VBD {len(self.objects['VBD'])} VIF {len(self.objects['VIF'])}"]

    # --- VDI ---

    def vdi_create(self, args):
        for field in ("SR", "virtual_size", "type", "sharable", "read_only", "other_config"):
            if field not in args:
                raise XapiError("FIELD_TYPE_ERROR", field)
        sr = self.get("SR", args["SR"])
        size = (args["virtual_size"] + 2 * MIB - 1) // (2 * MIB) * 2 * MIB
        is_qcow2 = args.get("sm_config", {}).get("image-format") == "qcow2"
        if size > VHD_MAX and not is_qcow2:
            raise XapiError("SR_BACKEND_FAILURE_79", "", f"VDI Invalid size [opterr=VDI size {size}]", "")
        if size > sr["physical_size"] - sr["physical_utilisation"]:
            raise XapiError("SR_BACKEND_FAILURE_44", "", "There is insufficient space", "")
        args = {**args, "virtual_size": size, "VBDs": []}
        ref = self.add("VDI", **args, location=str(uuid.uuid4()), managed=True, allowed_operations=["destroy"])
        with open(self.path_of(ref), "xb") as file:
            file.truncate(size)
        self.use_space(args["SR"], size)
        self.change("SR", args["SR"], VDIs=sr["VDIs"] + [ref])
        return ref

    def use_space(self, sr, size):
        self.change("SR", sr, physical_utilisation=self.get("SR", sr)["physical_utilisation"] + size)

    def vdi_destroy(self, ref):
        record = self.get("VDI", ref)
        if self.plugged(ref):
            raise XapiError("VDI_IN_USE", ref, "destroy")
        for vbd in list(record["VBDs"]):
            self.vbd_destroy(vbd)
        os.unlink(self.path_of(ref))
        if record["snapshot_of"] in self.objects["VDI"]:
            siblings = self.get("VDI", record["snapshot_of"])["snapshots"]
            self.change("VDI", record["snapshot_of"], snapshots=[other for other in siblings if other != ref])
        sr = record["SR"]
        self.use_space(sr, -record["virtual_size"])
        self.change("SR", sr, VDIs=[vdi for vdi in self.get("SR", sr)["VDIs"] if vdi != ref])
        self.remove("VDI", ref)

    def vdi_snapshot(self, ref, _params):
        record = self.get("VDI", ref)
        fields = {**record, "uuid": None, "VBDs": [], "is_a_snapshot": True, "snapshot_of": ref,
                  "snapshot_time": "20261121T12:00:00Z", "snapshots": [], "read_only": False}
        del fields["uuid"]
        snapshot = self.add("VDI", **fields)
        shutil.copyfile(self.path_of(ref), self.path_of(snapshot))
        self.change("VDI", ref, snapshots=record["snapshots"] + [snapshot])
        self.change("SR", record["SR"], VDIs=self.get("SR", record["SR"])["VDIs"] + [snapshot])
        self.use_space(record["SR"], record["virtual_size"])
        return snapshot

    # --- VBD, VIF ---

    def vbd_devices(self, vm):
        taken = {self.objects["VBD"][ref]["userdevice"] for ref in self.get("VM", vm)["VBDs"]}
        return [str(number) for number in range(255) if str(number) not in taken]

    def vbd_create(self, args):
        free = self.vbd_devices(args["VM"])
        device = args["userdevice"] if args["userdevice"] != "autodetect" else free[0]
        if device not in free:
            raise XapiError("DEVICE_ALREADY_EXISTS", device)
        ref = self.add("VBD", **{**args, "userdevice": device, "device": "", "currently_attached": False})
        self.change("VM", args["VM"], VBDs=self.get("VM", args["VM"])["VBDs"] + [ref])
        self.change("VDI", args["VDI"], VBDs=self.get("VDI", args["VDI"])["VBDs"] + [ref])
        return ref

    def vbd_plug(self, ref):
        vbd = self.get("VBD", ref)
        vm = self.get("VM", vbd["VM"])
        if vm["power_state"] != "Running":
            raise XapiError("VM_BAD_POWER_STATE", vbd["VM"], "running", vm["power_state"].lower())
        if vbd["currently_attached"]:
            raise XapiError("DEVICE_ALREADY_ATTACHED", ref)
        if self.plugged(vbd["VDI"]):
            raise XapiError("VDI_IN_USE", vbd["VDI"], "attach")
        self.attach(ref)

    def attach(self, ref):
        vbd = self.get("VBD", ref)
        vdi = self.get("VDI", vbd["VDI"])
        number = int(vbd["userdevice"])
        device = "xvd" + ("" if number < 26 else chr(96 + number // 26)) + chr(97 + number % 26)
        if self.get("VM", vbd["VM"])["is_control_domain"]:
            device = f"sm/backend/{self.get('SR', vdi['SR'])['uuid']}/{vdi['uuid']}"
        identity = 202 << 8 | number << 4 if number < 16 else 1 << 28 | number << 8
        if not self.hook("plug", self.get("VM", vbd["VM"])["uuid"], device, str(identity), self.path_of(vbd["VDI"])):
            raise XapiError("INTERNAL_ERROR", "hook")
        self.change("VBD", ref, currently_attached=True, device=device)

    def vbd_unplug(self, ref):
        vbd = self.get("VBD", ref)
        if not vbd["currently_attached"]:
            raise XapiError("DEVICE_ALREADY_DETACHED", ref)
        if not self.hook("unplug", self.get("VM", vbd["VM"])["uuid"], vbd["device"], "", self.path_of(vbd["VDI"])):
            raise XapiError("DEVICE_DETACH_REJECTED", "VBD", ref, "in use")
        self.change("VBD", ref, currently_attached=False)

    def vbd_destroy(self, ref):
        vbd = self.get("VBD", ref)
        if vbd["currently_attached"]:
            raise XapiError("OPERATION_NOT_ALLOWED", "VBD is still attached")
        for name, owner in (("VM", vbd["VM"]), ("VDI", vbd["VDI"])):
            if owner in self.objects[name]:
                self.change(name, owner, VBDs=[other for other in self.get(name, owner)["VBDs"] if other != ref])
        self.remove("VBD", ref)

    def vif_create(self, args):
        self.get("network", args["network"])
        ref = self.add("VIF", **args)
        self.change("VM", args["VM"], VIFs=self.get("VM", args["VM"])["VIFs"] + [ref])
        return ref

    # --- VM ---

    def vm_clone(self, ref, name):
        fields = {**self.get("VM", ref), "name_label": name, "VBDs": [], "VIFs": [], "is_default_template": False}
        del fields["uuid"]
        return self.add("VM", **fields)

    def vm_snapshot(self, ref, name, ignored=()):
        """Its disks one after the other, whoever writes to them; other_config is the VM's, what is blocked is not."""
        vm = self.get("VM", ref)
        disks = [(self.get("VBD", vbd), self.vdi_snapshot(self.get("VBD", vbd)["VDI"], {})) for vbd in vm["VBDs"]
                 if self.get("VBD", vbd)["VDI"] not in ignored]
        fields = {**vm, "name_label": name, "VBDs": [], "VIFs": [], "is_a_snapshot": True, "is_a_template": True,
                  "snapshot_of": ref, "snapshot_time": "20261121T12:00:00Z", "snapshots": [],
                  "blocked_operations": {}, "current_operations": {}, "power_state": "Halted", "resident_on": NULL}
        del fields["uuid"]
        snapshot = self.add("VM", **fields)
        for vbd, vdi in disks:
            self.vbd_create({**{key: value for key, value in vbd.items() if key != "uuid"}, "VM": snapshot, "VDI": vdi,
                             "other_config": {"owner": ""}})
        for vif in vm["VIFs"]:
            self.vif_create({**{key: value for key, value in self.get("VIF", vif).items() if key != "uuid"},
                             "VM": snapshot})
        self.change("VM", ref, snapshots=vm["snapshots"] + [snapshot])
        return snapshot

    def vm_provision(self, ref):
        if "disks" in self.get("VM", ref)["other_config"]:
            raise XapiError("SR_BACKEND_FAILURE_44", "", "the template's own disks would be made", "")
        self.change("VM", ref, is_a_template=False)

    def vm_destroy(self, ref):
        vm = self.get("VM", ref)
        if vm["power_state"] != "Halted":
            raise XapiError("VM_BAD_POWER_STATE", ref, "halted", vm["power_state"].lower())
        for vbd in list(vm["VBDs"]):
            self.vbd_destroy(vbd)
        for vif in list(vm["VIFs"]):
            self.remove("VIF", vif)
        if vm["snapshot_of"] in self.objects["VM"]:
            siblings = self.get("VM", vm["snapshot_of"])["snapshots"]
            self.change("VM", vm["snapshot_of"], snapshots=[other for other in siblings if other != ref])
        self.remove("VM", ref)

    def vm_memory_limits(self, ref, static_min, static_max, dynamic_min, dynamic_max):
        if not static_min <= dynamic_min <= dynamic_max <= static_max:
            raise XapiError("MEMORY_CONSTRAINT_VIOLATION", "order")
        self.change("VM", ref, memory_static_min=static_min, memory_static_max=static_max,
                    memory_dynamic_min=dynamic_min, memory_dynamic_max=dynamic_max)

    def vm_vcpus(self, ref, field, value):
        vm = {**self.get("VM", ref), field: value}
        if vm["VCPUs_at_startup"] > vm["VCPUs_max"]:
            raise XapiError("INVALID_VALUE", field, value)
        self.change("VM", ref, **{field: value})

    def vm_start(self, ref, _paused, _force):
        vm = self.get("VM", ref)
        if vm["is_a_template"]:
            raise XapiError("VM_IS_TEMPLATE", ref, "start")
        if "start" in vm["blocked_operations"]:
            raise XapiError("OPERATION_BLOCKED", ref, vm["blocked_operations"]["start"])
        if vm["power_state"] != "Halted":
            raise XapiError("VM_BAD_POWER_STATE", ref, "halted", vm["power_state"].lower())
        for vbd in vm["VBDs"]:
            vdi = self.objects["VBD"][vbd]["VDI"]
            if self.plugged(vdi):
                raise XapiError("VDI_IN_USE", vdi, "start")
        for vbd in vm["VBDs"]:
            self.attach(vbd)
        metrics = NULL if self.is_silent else self.add("VM_guest_metrics", PV_drivers_detected=True, live=True,
                                                       networks={"0/ip": "192.0.2.7"})
        self.change("VM", ref, power_state="Running", resident_on=next(iter(self.objects["host"])),
                    guest_metrics=metrics)

    def vm_shutdown(self, ref):
        if self.get("VM", ref)["power_state"] != "Running":
            raise XapiError("VM_BAD_POWER_STATE", ref, "running", self.get("VM", ref)["power_state"].lower())
        for vbd in self.get("VM", ref)["VBDs"]:
            self.vbd_unplug(vbd)
        self.change("VM", ref, power_state="Halted", guest_metrics=NULL)

    def vif_devices(self, ref):
        taken = {self.objects["VIF"][vif]["device"] for vif in self.get("VM", ref)["VIFs"]}
        return [str(number) for number in range(7) if str(number) not in taken]

    # --- the calls by name ---

    def special(self):
        return {
            "VDI.create": self.vdi_create, "VDI.destroy": self.vdi_destroy, "VDI.snapshot": self.vdi_snapshot,
            "VBD.create": self.vbd_create, "VBD.plug": self.vbd_plug, "VBD.unplug": self.vbd_unplug,
            "VBD.destroy": self.vbd_destroy, "VIF.create": self.vif_create,
            "VM.clone": self.vm_clone, "VM.snapshot": self.vm_snapshot, "VM.provision": self.vm_provision, "VM.destroy": self.vm_destroy,
            "VM.start": self.vm_start, "VM.hard_shutdown": self.vm_shutdown, "VM.clean_shutdown": self.vm_shutdown,
            "VM.set_memory_limits": self.vm_memory_limits,
            "VM.set_VCPUs_max": lambda ref, value: self.vm_vcpus(ref, "VCPUs_max", value),
            "VM.set_VCPUs_at_startup": lambda ref, value: self.vm_vcpus(ref, "VCPUs_at_startup", value),
            "VM.get_allowed_VBD_devices": self.vbd_devices, "VM.get_allowed_VIF_devices": self.vif_devices,
            "VM.get_possible_hosts": lambda ref: self.get("VM", ref) and list(self.objects["host"]),
            "task.create": lambda label, text: self.add("task", name_label=label, name_description=text),
            "task.cancel": lambda ref: self.change("task", ref, status="cancelled"),
            "task.destroy": lambda ref: self.remove("task", ref),
            "host.get_API_version_major": lambda ref: 2, "host.get_API_version_minor": lambda ref: 21,
        }

    def generic(self, name, message, args):
        fields = self.spec.fields(name)
        if message == "get_all":
            return list(self.objects[name])
        if message == "get_all_records":
            return self.objects[name]
        if message == "get_record":
            return self.get(name, args[0])
        if message == "get_by_uuid":
            found = [ref for ref, record in self.objects[name].items() if record["uuid"] == args[0]]
            if not found:
                raise XapiError("UUID_INVALID", name, args[0])
            return found[0]
        if message == "get_by_name_label":
            return [ref for ref, record in self.objects[name].items() if record["name_label"] == args[0]]
        verb, _, field = message.partition("_")
        if verb == "get" and field in fields:
            return self.get(name, args[0])[field]
        if verb == "set" and field in fields:
            return self.change(name, args[0], **{field: args[1]})
        for prefix in ("add_to_", "remove_from_"):
            field = message[len(prefix):]
            if message.startswith(prefix) and field in fields:
                value = dict(self.get(name, args[0])[field])
                if prefix == "remove_from_":
                    value.pop(args[1], None)
                elif args[1] in value:
                    raise XapiError("MAP_DUPLICATE_KEY", name, field, args[0], args[1])
                else:
                    value[args[1]] = args[2]
                return self.change(name, args[0], **{field: value})
        raise NotImplementedError(f"{name}.{message}")
