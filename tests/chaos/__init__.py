"""The chaos run: real appliances under load, of which everything is killed, paused and starved at random.

`run.py` tells the run from its start to its verdict; `plan.py` makes the plan of faults out of a seed.
"""
