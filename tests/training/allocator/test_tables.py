"""What a cost of 1 stands for, by hand."""

import torch

from napari_pathreason.training.allocator import Scored, gated, native_flops


def test_a_flop_costs_the_same_wherever_it_is_spent():
    """Native size brings a small and a large region from 0.6 to 1: it pays for the small one."""
    table = [
        [Scored(0.6, 4, 4.0, n, float(n)), Scored(1.0, n, float(n), n, float(n))] for n in (9, 991)
    ]
    assert native_flops(table, "share") == [9.0, 991.0]
    assert native_flops(table, "flops") == [500.0, 500.0]
    scores = torch.tensor([[one.score for one in row] for row in table])
    flops = torch.tensor([[one.flops for one in row] for row in table])
    ones = torch.tensor(native_flops(table, "flops"))[:, None]
    assert gated(scores, flops / ones, 0.5).argmax(1).tolist() == [1, 0]
