"""A full Chromium, in pools beside the headless shell: `make full-chromium`, because its package is large."""
