"""Which patches an epoch draws, in which order, and which of several processes gets them."""

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray
from torch.utils.data import Sampler


class EpochSampler(Sampler[int]):
    """Draws patches in an order that depends on seed and epoch only.

    The number drawn is ``turn * count + index``. It seeds the augmentation: a patch is changed again in
    every turn, and alike in whichever process it is read. Of ``world`` processes each takes every
    ``world``-th draw: batch by batch they see together what one process would see alone.
    """

    def __init__(
        self,
        count: int,
        per_epoch: int | None,
        seed: int,
        rank: int = 0,
        world: int = 1,
        *,
        glacier: NDArray[np.bool_] | None = None,
        glacier_share: float | None = None,
    ) -> None:
        """Sets up the order.

        Args:
            count: Number of patches.
            per_epoch: How many to draw per epoch, over all processes; None for each once.
            seed: Seed of the order.
            rank: Number of this process.
            world: Number of processes. What cannot be shared out evenly is not drawn.
            glacier: `(count,)`, whether a patch holds glacier; needed for `glacier_share`.
            glacier_share: Share of the draws that hold glacier; None for as they come. Without patches of
                one kind it has no effect.
        """
        self.count = count
        self.per_epoch = per_epoch or count
        self.seed = seed
        self.rank = rank
        self.world = world
        self.epoch = 0
        everything = np.arange(count)
        self._pools: tuple[tuple[NDArray[np.int64], int], ...] = ((everything, self.per_epoch),)
        if glacier is not None and glacier_share is not None and 0 < glacier.sum() < count:
            rich = round(self.per_epoch * glacier_share)
            pools = (everything[glacier], rich), (everything[~glacier], self.per_epoch - rich)
            self._pools = tuple((pool, drawn) for pool, drawn in pools if drawn)

    def set_epoch(self, epoch: int) -> None:
        """Called by Lightning before each epoch."""
        self.epoch = epoch

    def __len__(self) -> int:
        return self.per_epoch // self.world

    def __iter__(self) -> Iterator[int]:
        rng = np.random.default_rng((self.seed, self.epoch))
        # Each epoch takes as many turns as the pool that repeats most, so that no turn comes again later.
        rounds = max(-(-drawn // len(pool)) for pool, drawn in self._pools)
        draws = []
        for pool, drawn in self._pools:
            for turn in range(-(-drawn // len(pool))):
                chosen = rng.permutation(pool)[: drawn - turn * len(pool)]
                draws.append((self.epoch * rounds + turn) * self.count + chosen)
        order = np.concatenate(draws)
        if len(self._pools) > 1:
            order = rng.permutation(order)
        end = len(self) * self.world
        return iter(order[self.rank : end : self.world].tolist())


class SharedBatches(Sampler[list[int]]):
    """Batches of a whole set in order, dealt out to several processes.

    Batch number `b` goes to process `b % world`. Every process gets as many: what is missing at the end is
    repeated from the start, so the `i`-th batch of a process counts only if `i * world + rank` is below
    `total`.
    """

    def __init__(self, count: int, batch_size: int, rank: int = 0, world: int = 1) -> None:
        """Sets up the batches.

        Args:
            count: Size of the set.
            batch_size: Of a batch.
            rank: Number of this process.
            world: Number of processes.
        """
        self.total = -(-count // batch_size)
        self._batches = [
            list(range(start, min(start + batch_size, count))) for start in range(0, count, batch_size)
        ]
        self._own = [(i * world + rank) % self.total for i in range(-(-self.total // world))]

    def __len__(self) -> int:
        return len(self._own)

    def __iter__(self) -> Iterator[list[int]]:
        return (self._batches[number] for number in self._own)
