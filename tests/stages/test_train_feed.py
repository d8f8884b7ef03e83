"""What a step sees depends on seed, epoch and step alone: not on ranks, resuming, or batches augmented together."""

import pytest
import torch
from amounts import examples
from hypothesis import given
from hypothesis import strategies as st

from lcstool.data.augment import AUGMENTATIONS, build_augmentation
from lcstool.data.dataset import Split
from lcstool.distributed import Group
from lcstool.randomness import stream
from lcstool.stages.train.feed import Feed

SEED, BATCH, STEPS = 5, 7, 6


def split() -> Split:
    generator = torch.Generator().manual_seed(1)
    count = BATCH * STEPS + 3
    images = torch.randint(256, (count, 3, 9, 12), dtype=torch.uint8, generator=generator)
    return Split(images, torch.arange(count))


def by_hand(epoch: int, step: int, augment: str) -> Split:
    """As one would write it: shuffle, take, augment."""
    train = split()
    order = torch.randperm(len(train), generator=stream(SEED, "order", epoch))
    batch = train.take(order[step * BATCH : (step + 1) * BATCH])
    images = build_augmentation(augment)(batch.images, stream(SEED, "augment", epoch, step))
    return Split(images, batch.labels)


def assert_same(found: Split, expected: Split) -> None:
    assert found.images.equal(expected.images)
    assert found.labels.equal(expected.labels)


@pytest.mark.parametrize("steps_ahead", [1, 2, 4, 100])
@pytest.mark.parametrize("augment", AUGMENTATIONS)
def test_batches_are_those_made_by_hand(augment: str, steps_ahead: int) -> None:
    feed = Feed(split(), BATCH, slice(0, BATCH), augment, SEED, steps_ahead)
    assert feed.num_steps == STEPS
    for epoch in (0, 3):
        feed.start(epoch)
        for step in range(STEPS):
            assert_same(feed.batch(step), by_hand(epoch, step, augment))


@examples(25)
@given(
    steps=st.lists(st.integers(0, STEPS - 1), max_size=8), size=st.integers(1, BATCH), ahead=st.integers(1, 5)
)
def test_ranks_share_batches_at_any_steps_in_any_order(steps: list[int], size: int, ahead: int) -> None:
    shares = [Group(rank, size).share(BATCH) for rank in range(size)]
    feeds = [Feed(split(), BATCH, share, "fast-autoaugment", SEED, ahead) for share in shares]
    for feed in feeds:
        feed.start(2)
    for step in steps:
        parts = [feed.batch(step) for feed in feeds]
        whole = Split(torch.cat([p.images for p in parts]), torch.cat([p.labels for p in parts]))
        assert_same(whole, by_hand(2, step, "fast-autoaugment"))


def test_another_epoch_step_or_seed_is_another_batch() -> None:
    """The comparisons above can fail."""
    expected = by_hand(0, 0, "crop-flip")
    for epoch, step in ((1, 0), (0, 1)):
        with pytest.raises(AssertionError):
            assert_same(by_hand(epoch, step, "crop-flip"), expected)
    feed = Feed(split(), BATCH, slice(0, BATCH), "crop-flip", SEED + 1)
    feed.start(0)
    with pytest.raises(AssertionError):
        assert_same(feed.batch(0), expected)


def test_a_cpu_augments_one_batch_after_the_other() -> None:
    assert Feed(split(), BATCH, slice(0, BATCH), "none", SEED).steps_ahead == 1
