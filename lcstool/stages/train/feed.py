"""The batches of an epoch: gathered and augmented on the device that holds the images, without waiting for it."""

import torch

from lcstool.data.augment import Draw, build_augmentation
from lcstool.data.dataset import Split
from lcstool.devices import send
from lcstool.randomness import stream

# Shape suffixes: S steps of an epoch, B images of a rank's share of a batch.

# How many bytes of images are augmented together, by kind of device. An augmentation launches hundreds of small kernels
# whatever the number of images, so a GPU gains from several batches at once. A CPU would only fall out of its caches.
_BLOCK_BYTES = {"cuda": 1 << 24}


class Feed:
    """The batches that one rank sees; they depend on the seed, the epoch and the step alone.

    The host draws order and augmentation for whole batches, so they are the same on every device and for any number of
    ranks.

    Args:
        train: Images and labels, on the device.
        batch_size: Images of a batch, over all ranks.
        share: This rank's part of a batch.
        augment: Name of the augmentation.
        seed: Of the run.
        steps_ahead: Batches augmented together; None for as many as suit the device.
    """

    def __init__(
        self,
        train: Split,
        batch_size: int,
        share: slice,
        augment: str,
        seed: int,
        steps_ahead: int | None = None,
    ) -> None:
        self.train, self.batch_size, self.share, self.seed = train, batch_size, share, seed
        self.augment = build_augmentation(augment)
        self.num_steps = len(train) // batch_size
        if steps_ahead is None:
            room = _BLOCK_BYTES.get(train.images.device.type, 0)
            steps_ahead = max(1, room // max(1, batch_size * train.images[0].nbytes))
        self.steps_ahead = steps_ahead
        self._epoch = 0
        self._order_SB = torch.empty(0)
        self._first, self._block = 0, Split(train.images[:0], train.labels[:0])

    def start(self, epoch: int) -> None:
        """Draw the order of an epoch."""
        order = torch.randperm(len(self.train), generator=stream(self.seed, "order", epoch))
        order_SB = order[: self.num_steps * self.batch_size].view(self.num_steps, self.batch_size)
        self._order_SB = send(order_SB[:, self.share], self.train.images.device)
        self._epoch, self._first = epoch, 0
        self._block = Split(self.train.images[:0], self.train.labels[:0])

    def batch(self, step: int) -> Split:
        """This rank's share of a step's batch, augmented."""
        size = self._order_SB.shape[1]
        if not self._first <= step < self._first + len(self._block) // size:
            self._fill(step)
        begin = (step - self._first) * size
        images, labels = self._block.images, self._block.labels
        return Split(images[begin : begin + size], labels[begin : begin + size])

    def _fill(self, first: int) -> None:
        steps = range(first, min(first + self.steps_ahead, self.num_steps))
        batch = self.train.take(self._order_SB[first : steps.stop].flatten())
        draw = Draw.join([self._draw(step) for step in steps])
        self._first, self._block = first, Split(self.augment.apply(batch.images, draw), batch.labels)

    def _draw(self, step: int) -> Draw:
        generator = stream(self.seed, "augment", self._epoch, step)
        height, width = self.train.images.shape[2:]
        return self.augment.draw(self.batch_size, height, width, generator)[self.share]
