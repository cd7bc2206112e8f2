"""A copy of this process."""

from __future__ import annotations

import os

import torch


def fork() -> int:
    """`os.fork` for a child whose threads use torch.

    torch renews its pool of threads when a child first uses it. Two threads that do so at the
    same time end in torch's "Invalid thread pool!", so it is done here.
    """
    child = os.fork()
    if child == 0:
        torch.set_num_threads(torch.get_num_threads())
    return child
