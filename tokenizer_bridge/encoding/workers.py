"""Several worker processes on one machine, each with its own shard of an EncodeJob."""

import multiprocessing
import os
import threading
from collections.abc import Callable
from dataclasses import dataclass, replace
from multiprocessing.connection import Connection, wait

from tokenizer_bridge.devices import default_threads, device_of_worker
from tokenizer_bridge.encoding.job import EncodeJob, encode_shard
from tokenizer_bridge.memory import keep_freed_memory
from tokenizer_bridge.token_dataset.errors import UserError, explain
from tokenizer_bridge.wavtokenizer.registry import load_codec


@dataclass(frozen=True)
class CodecChoice:
    """The codec that a worker loads."""

    name: str
    codec_dir: str | None
    device: str


def run_workers(
    job: EncodeJob,
    choice: CodecChoice,
    shards: list[tuple[int, int]],
    batch_size: int,
    on_tracks: Callable[[int], None],
    on_audio: Callable[[float], None],
) -> None:
    """Encode (index, count) shards, one process each; the callbacks are called in this one. With
    the device "cuda" they share out this machine's GPUs.

    Raises UserError with what a worker says or, if it dies without a word, with its exit code. The
    others are stopped then: what they have done is kept.
    """
    context = multiprocessing.get_context("spawn")  # CUDA and thread pools survive no fork
    # A pipe each: a worker that is killed cannot leave a lock behind that others wait for.
    receivers, workers = {}, []
    for worker, shard in enumerate(shards):
        receiver, sender = context.Pipe(duplex=False)
        own_choice = replace(choice, device=device_of_worker(choice.device, worker))
        arguments = (job, own_choice, shard, len(shards), batch_size, sender)
        workers.append(context.Process(target=_work, args=arguments, daemon=True))
        workers[-1].start()
        sender.close()  # so that the worker's end is the only one, and its death is seen
        receivers[receiver] = workers[-1]
    try:
        while receivers:
            for receiver in wait(list(receivers)):
                try:
                    kind, value = receiver.recv()
                except (EOFError, OSError):
                    _require_success(receivers.pop(receiver))
                else:
                    _receive(kind, value, on_tracks, on_audio)
    finally:
        for worker in workers:
            worker.terminate()


def _receive(kind: str, value, on_tracks: Callable, on_audio: Callable) -> None:
    if kind == "error":
        raise UserError(value)
    (on_tracks if kind == "tracks" else on_audio)(value)


def _require_success(worker) -> None:
    worker.join()
    if worker.exitcode:
        raise UserError(
            f"a worker process ended with code {worker.exitcode}: run the same command again to go "
            "on from there"
        )


def _work(
    job: EncodeJob,
    choice: CodecChoice,
    shard: tuple[int, int],
    num_processes: int,
    batch_size: int,
    sender: Connection,
) -> None:
    """A worker process."""
    keep_freed_memory()
    threading.Thread(target=_die_with_parent, daemon=True).start()
    try:
        codec, _ = load_codec(choice.name, codec_dir=choice.codec_dir, device=choice.device)
        encode_shard(
            job,
            codec,
            *shard,
            batch_size,
            lambda count: sender.send(("tracks", count)),
            lambda seconds: sender.send(("audio", seconds)),
            num_threads=default_threads(num_processes),
        )
    except KeyboardInterrupt:  # the parent has had the Ctrl-C too, and says so
        os._exit(130)
    except Exception as error:
        if (explained := explain(error)) is None:
            raise
        sender.send(("error", explained[1]))


def _die_with_parent() -> None:
    """A parent that is killed stops no child: an orphan would go on holding its shard."""
    multiprocessing.parent_process().join()
    os._exit(1)
