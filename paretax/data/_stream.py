"""Batches of records from the disk, for sets that memory does not hold."""

import os
from collections.abc import Callable, Sequence
from typing import Any

from paretax._checks import check_count
from paretax.data._contents import SPLITS
from paretax.data._registry import prepare

__all__ = ["records", "stream"]


def records(
    name: str,
    split: str,
    *,
    data_dir: str | os.PathLike | None = None,
    manual_dir: str | os.PathLike | None = None,
) -> Sequence[dict[str, Any]]:
    """A split of a prepared data set as records on the disk, read one by one.

    Args:
      name: one of `paretax.data.names()`.
      split: "train", "validation" or "test".
      data_dir: where data sets lie, as in `paretax.data.load`.
      manual_dir: a folder with sources of one's own, as in `paretax.data.prepare`.

    Returns:
      A sequence of n records: dictionaries with the fields of `load`'s splits, an array
      each.

    Raises:
      ValueError: another split; and as `paretax.data.prepare`.

    Example:
      >>> from paretax import data
      >>> rooms = data.records("nyuv2", "train")  # doctest: +SKIP
      >>> rooms[0]["depth"].shape  # doctest: +SKIP
      (288, 384, 1)

    Cost: no memory; a read from the disk a record.
    """
    if split not in SPLITS:
        raise ValueError(f"split: expected one of {SPLITS}, got {split!r}.")
    folder = prepare(name, data_dir=data_dir, manual_dir=manual_dir)
    import tensorflow_datasets as tfds

    builder: Any = tfds.builder_from_directory(str(folder))
    return builder.as_data_source(split=split)


def stream(
    source: Sequence[Any],
    batch_size: int,
    *,
    seed: int,
    epochs: int | None = None,
    transform: Callable[[Any], Any] | None = None,
    threads: int = 8,
) -> Any:
    """Shuffled batches of records, read ahead by threads, that go on where they were.

    As `loader`, for what lies on the disk: every record comes once an epoch, those that
    fill no batch are left out of it, and the order depends on seed and epoch only.

    Args:
      source: a sequence of n records, as `records` gives it, or any other.
      batch_size: records a batch, from 1 to n.
      seed: of all shuffles, at least 0.
      epochs: how many; None for no end.
      transform: a function of a record, applied by the threads: augmentation, say.
      threads: that read ahead.

    Returns:
      An iterator over batches, pytrees of NumPy arrays with a leading axis. Its
      `get_state()` is a small dictionary for JSON, and `set_state` goes on from it,
      within an epoch too, to the same batches.

    Raises:
      ImportError: the extra `data-stream` is not installed.
      ValueError: `batch_size` below 1 or above n, a negative seed.

    Example:
      >>> from paretax import data
      >>> batches = data.stream(range(6), 2, seed=0, epochs=1)
      >>> first = next(batches)
      >>> state = batches.get_state()
      >>> rest = [int(x) for batch in batches for x in batch]
      >>> sorted([*map(int, first), *rest])
      [0, 1, 2, 3, 4, 5]
      >>> batches.set_state(state)
      >>> [int(x) for batch in batches for x in batch] == rest
      True

    Cost: some hundred microseconds of Python a record; for what fits into memory,
    `loader` is faster by orders of magnitude.
    """
    check_count("batch_size", batch_size)
    check_count("seed", seed, 0)
    if batch_size > len(source):
        raise ValueError(
            f"batch_size: expected at most the {len(source)} records, got {batch_size}."
        )
    try:
        import grain
    except ImportError as error:
        raise ImportError(
            "reading from the disk in batches needs grain: pip install "
            f"'paretax[data-stream]' ({error})"
        ) from error
    whole = len(source) // batch_size * batch_size
    chain = grain.MapDataset.source(source).seed(seed).shuffle()[:whole]
    chain = chain.repeat(epochs)
    if transform is not None:
        chain = chain.map(transform)
    options = grain.ReadOptions(num_threads=check_count("threads", threads))
    batches = chain.batch(batch_size, drop_remainder=True)
    return iter(batches.to_iter_dataset(options))
