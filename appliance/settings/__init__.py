"""The settings by their subjects; `config` makes one class of them and reads it.

Validating them reads no file and asks no socket; what depends on the machine is checked in appliance/checks/.
"""
