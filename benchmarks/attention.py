"""What attention costs a training step on a CPU: in float32 against the bfloat16 that autocast would choose.

    python benchmarks/attention.py [--rounds 9] [--threads 1]

Both ways take turns: on the tokens of `glavitu` (64 px patches, 8 x 8 tokens) and of maps twice and four
times as wide, forward and backward, as many tokens each time; and in whole steps of `glavitu`. Medians.
"""

import argparse
import time
from collections.abc import Callable
from statistics import median

import torch
import torch.nn.functional as F

from glacierseg.models import blocks
from glacierseg.models.registry import create_model
from glacierseg.training.losses import make_loss

HEADS, HEAD_CHANNELS, TOKENS = 8, 16, 2048
SIDES = (8, 16, 32)
BANDS, BATCH, PATCH_PX, WIDTH = 6, 32, 64, 0.25


def attention_seconds(side_tokens: int, dtype: torch.dtype) -> tuple[float, float]:
    """Of one forward and one backward pass, casts there and back included."""
    shape = (TOKENS // side_tokens**2, HEADS, side_tokens**2, HEAD_CHANNELS)
    parts = [torch.randn(shape, dtype=torch.bfloat16, requires_grad=True) for _ in range(3)]
    started = time.perf_counter()
    query, key, value = (part.to(dtype) for part in parts)
    mixed = F.scaled_dot_product_attention(query, key, value).to(torch.bfloat16)
    turned = time.perf_counter()
    mixed.backward(torch.ones_like(mixed))
    return turned - started, time.perf_counter() - turned


def compare_attention(side_tokens: int, rounds: int) -> str:
    times: dict[torch.dtype, list[tuple[float, float]]] = {torch.float32: [], torch.bfloat16: []}
    for _ in range(rounds + 1):
        for dtype, taken in times.items():
            taken.append(attention_seconds(side_tokens, dtype))
    exact, mixed = ([median(column) for column in zip(*taken[1:], strict=True)] for taken in times.values())
    return (
        f"{side_tokens} x {side_tokens} tokens in bfloat16: forward {mixed[0] / exact[0]:.2f}, backward "
        f"{mixed[1] / exact[1]:.2f}, both {sum(mixed) / sum(exact):.2f} times as long as in float32 "
        f"({1000 * sum(exact):.1f} ms)"
    )


def make_step() -> Callable[[], float]:
    """Returns a training step of a narrow `glavitu` in mixed precision, which says its seconds."""
    network = create_model("glavitu", BANDS, 2, WIDTH).train()
    network.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    image = torch.randn(BATCH, BANDS, PATCH_PX, PATCH_PX).contiguous(memory_format=torch.channels_last)
    target = torch.randint(0, 2, (BATCH, PATCH_PX, PATCH_PX))
    optimizer, loss_of = torch.optim.AdamW(network.parameters(), fused=True), make_loss("cross_entropy")

    def step() -> float:
        started = time.perf_counter()
        with torch.autocast("cpu", torch.bfloat16):
            loss = loss_of(network(image), target)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        return time.perf_counter() - started

    return step


def compare_steps(rounds: int) -> str:
    step, ours = make_step(), blocks.attend
    exact, mixed = [], []
    for _ in range(rounds + 1):
        blocks.attend = F.scaled_dot_product_attention
        mixed.append(step())
        blocks.attend = ours
        exact.append(step())
    ratio = median(one / other for one, other in zip(mixed[1:], exact[1:], strict=True))
    return (
        f"a step of {BATCH} patches with attention in bfloat16 takes {ratio:.2f} times as long as with it in "
        f"float32 ({median(exact[1:]):.2f} s)"
    )


def main() -> None:
    parser = argparse.ArgumentParser(description="What attention costs a training step on a CPU.")
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--threads", type=int, default=1)
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    for side_tokens in SIDES:
        print(compare_attention(side_tokens, arguments.rounds), flush=True)
    print(compare_steps(arguments.rounds))


if __name__ == "__main__":
    main()
