"""The NumPy level: every kernel a second time, for machines without a compiler and as a peer to test against.

The functions take arguments that were checked before, and write to `out`.
"""
