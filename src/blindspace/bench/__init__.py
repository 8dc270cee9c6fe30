"""The benchmark: time, memory and accuracy of projections, ours and other libraries'.

Examples:
    >>> import torch, blindspace as bs
    >>> from blindspace.bench import run
    >>> (row,) = run.bench(run.select(["patch 8×8"]), repeats=3, baselines=(), patience=0.1)
    >>> row.dim
    2304
"""
