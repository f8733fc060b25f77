"""The fuzz run: malformed and hostile handshakes and streams against a real proxy, from both its sides.

`python -m tests.fuzz` (or `make fuzz`). A case is a value made from a seed and a number (`case`); it says what
the client does and what the worker that the proxy dials for it does (`steps`). Afterwards the proxy must hold
no more than before: memory, descriptors, greenlets, slots (`target`).
"""
