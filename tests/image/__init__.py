"""The image, booted: `make image-test`. Slow machines are allowed for, here alone (tests/image/machine.py)."""
