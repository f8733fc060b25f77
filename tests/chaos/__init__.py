"""The chaos run: a real appliance under load, whose processes are killed and paused at random.

`run.py` tells the run from its start to its verdict; `plan.py` makes the plan of faults out of a seed.
"""
