"""The models that can be asked for, and the engines that run them.

`catalog` says what exists, `policy` decides on values alone, `supervisor` leads one expert's life, and `pool` owns all
engines.
"""
