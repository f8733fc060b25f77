"""The relay beside HAProxy and nginx, in front of the same echo server: `make bench-relay`."""
