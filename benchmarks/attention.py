"""What attention costs a training step on a CPU: in float32 against the bfloat16 that autocast would choose.

    python benchmarks/attention.py [--rounds 9] [--threads 1]

Both ways take turns on the tokens of `glavitu` (64 px patches, 8 x 8 tokens) and of maps twice and four times
as wide; each time is a median, forward and backward, of as many tokens.
"""

import argparse
import time
from statistics import median

import torch
import torch.nn.functional as F

HEADS, HEAD_CHANNELS, TOKENS = 8, 16, 2048
SIDES = (8, 16, 32)


def seconds(side_tokens: int, dtype: torch.dtype) -> tuple[float, float]:
    """Of one forward and one backward pass, casts there and back included."""
    shape = (TOKENS // side_tokens**2, HEADS, side_tokens**2, HEAD_CHANNELS)
    parts = [torch.randn(shape, dtype=torch.bfloat16, requires_grad=True) for _ in range(3)]
    started = time.perf_counter()
    mixed = F.scaled_dot_product_attention(*(part.to(dtype) for part in parts)).to(torch.bfloat16)
    turned = time.perf_counter()
    mixed.backward(torch.ones_like(mixed))
    return turned - started, time.perf_counter() - turned


def main() -> None:
    parser = argparse.ArgumentParser(description="What attention costs a training step on a CPU.")
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--threads", type=int, default=1)
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    for side in SIDES:
        times: dict[torch.dtype, list[tuple[float, float]]] = {torch.float32: [], torch.bfloat16: []}
        for _ in range(arguments.rounds + 1):
            for dtype, taken in times.items():
                taken.append(seconds(side, dtype))
        exact, mixed = (
            [median(column) for column in zip(*taken[1:], strict=True)] for taken in times.values()
        )
        print(
            f"{side} x {side} tokens in bfloat16: forward {mixed[0] / exact[0]:.2f}, backward "
            f"{mixed[1] / exact[1]:.2f}, both {sum(mixed) / sum(exact):.2f} times as long as in float32 "
            f"({1000 * sum(exact):.1f} ms)"
        )


if __name__ == "__main__":
    main()
