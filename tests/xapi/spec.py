# SPDX-License-Identifier: GPL-2.0-or-later
"""XAPI's own description of its classes (xenapi.json), and whether a value is of a type in it."""
import json
import os
import re

NULL = "OpaqueRef:NULL"
ROLES = ["read-only", "vm-operator", "vm-admin", "vm-power-admin", "pool-operator", "pool-admin"]
# How many parameters a call had before newer versions gave it more, which have defaults.
FEWER_PARAMS = {"VM.snapshot": 2}


class Spec:
    def __init__(self):
        path = os.path.join(os.path.dirname(os.path.abspath(__file__)), "xenapi.json")
        with open(path, encoding="utf-8") as file:
            self.classes = json.load(file)
        self.enums = {}
        for described in self.classes.values():
            self.enums.update(described["enums"])

    def fields(self, name):
        return {field: row[0] for field, row in self.classes[name]["fields"].items()}

    def is_writable(self, name, field):
        return self.classes[name]["fields"][field][1] == "RW"

    def message(self, name, message):
        return self.classes.get(name, {}).get("messages", {}).get(message)

    def may_call(self, role, name, message):
        needed = (self.message(name, message) or {}).get("role", ROLES[0])
        return ROLES.index(role) >= ROLES.index(needed)

    def methods(self):
        for name, described in self.classes.items():
            for message in described["messages"]:
                yield f"{name}.{message}"

    def default(self, kind):
        if kind.endswith(" set"):
            return []
        if kind.endswith((" map", " record")):
            return {}
        if kind.endswith(" ref"):
            return NULL
        if kind.startswith("enum "):
            return self.enums.get(kind[5:], [""])[0]
        simple = {"string": "", "int": 0, "bool": False, "float": 0.0, "datetime": "19700101T00:00:00Z"}
        return simple[kind]

    def wrong(self, kind, value, where):
        """What is wrong with a value of that type; None when nothing is."""
        if kind == "void":
            return None if value in (None, "") else f"{where}: {value!r} is not void"
        if kind.startswith("(") and kind.endswith(") map"):
            return self.wrong_map(kind[1:-5], value, where)
        if kind.endswith(" set"):
            if not isinstance(value, list):
                return f"{where}: {value!r} is no set"
            return self.first(self.wrong(kind[:-4], item, where + "[]") for item in value)
        if kind.endswith(" record"):
            return self.wrong_record(kind[:-7], value, where)
        if kind == "an event batch":
            keys = {"events", "valid_ref_counts", "token"}
            return None if isinstance(value, dict) and set(value) == keys else f"{where}: {value!r}"
        return None if self.is_simple(kind, value) else f"{where}: {value!r} is not of type {kind}"

    @staticmethod
    def first(complaints):
        return next((complaint for complaint in complaints if complaint), None)

    def wrong_map(self, kinds, value, where):
        depth, at = 0, 0
        for at in range(len(kinds)):
            depth += {"(": 1, ")": -1}.get(kinds[at], 0)
            if depth == 0 and kinds[at:at + 4] == " -> ":
                break
        key_kind, value_kind = kinds[:at], kinds[at + 4:]
        if not isinstance(value, dict):
            return f"{where}: {value!r} is no map"
        return self.first(self.wrong(key_kind, key, where + " key") or self.wrong(value_kind, item, f"{where}[{key}]")
                          for key, item in value.items())

    def wrong_record(self, name, value, where):
        if name not in self.classes:
            return None
        fields = self.fields(name)
        if not isinstance(value, dict):
            return f"{where}: {value!r} is no record"
        unknown = set(value) - set(fields)
        if unknown:
            return f"{where}: {name} has no field {unknown}"
        return self.first(self.wrong(fields[field], item, f"{where}.{field}") for field, item in value.items())

    def is_simple(self, kind, value):
        if kind == "bool":
            return isinstance(value, bool)
        if kind == "int":
            return isinstance(value, int) and not isinstance(value, bool)
        if kind == "float":
            return isinstance(value, (int, float)) and not isinstance(value, bool)
        if kind == "datetime":
            return isinstance(value, str) and re.fullmatch(r"\d{8}T\d\d:\d\d:\d\dZ", value) is not None
        if kind.startswith("enum "):
            return value in self.enums.get(kind[5:], [value])
        return isinstance(value, str)
