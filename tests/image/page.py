"""The site: reads one request from standard input, and answers it on standard output. QEMU starts it."""

import sys

_PAGE = b"<!doctype html><title>A page outside</title><p>Hello, \xe4\xb8\x96\xe7\x95\x8c \xf0\x9f\x8c\x8d"

while sys.stdin.buffer.readline().strip():
    pass
head = f"HTTP/1.1 200 OK\r\nContent-Type: text/html; charset=utf-8\r\nContent-Length: {len(_PAGE)}\r\n"
sys.stdout.buffer.write(f"{head}Access-Control-Allow-Origin: *\r\nConnection: close\r\n\r\n".encode() + _PAGE)
sys.stdout.buffer.flush()
