"""Workers: one process, one Playwright driver, one browser. `worker.py` tells a worker's life."""
